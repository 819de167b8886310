"""A seccomp filter as data: the system calls that a worker never needs, refused by the kernel.

Sources: `seccomp(2)`, `linux/filter.h`, and the kernel's system call tables of both architectures.
Standard library only: it runs before anything else in the worker.
"""

from __future__ import annotations

import errno
import os
import struct

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH = 0, 4
_X32 = 0x40000000
_CLONE_THREAD = 0x00010000
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_MISSING = {"clone3": 435, "openat2": 437}
"""Their flags lie behind a pointer: answered "no such call", so that libraries use the older ones."""

_COMMON = {
    "pidfd_send_signal": 424,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "mount_setattr": 442,
    "fchmodat2": 452,
    "setxattrat": 463,
    "removexattrat": 466,
}
"""Numbers that are the same on both architectures."""

_X86_64 = {
    "socket": 41,
    "fork": 57,
    "vfork": 58,
    "execve": 59,
    "kill": 62,
    "truncate": 76,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "creat": 85,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "chmod": 90,
    "fchmod": 91,
    "chown": 92,
    "fchown": 93,
    "lchown": 94,
    "ptrace": 101,
    "rt_sigqueueinfo": 129,
    "utime": 132,
    "mknod": 133,
    "personality": 135,
    "pivot_root": 155,
    "adjtimex": 159,
    "chroot": 161,
    "acct": 163,
    "settimeofday": 164,
    "mount": 165,
    "umount2": 166,
    "swapon": 167,
    "swapoff": 168,
    "reboot": 169,
    "sethostname": 170,
    "setdomainname": 171,
    "iopl": 172,
    "ioperm": 173,
    "init_module": 175,
    "delete_module": 176,
    "quotactl": 179,
    "setxattr": 188,
    "lsetxattr": 189,
    "fsetxattr": 190,
    "removexattr": 197,
    "lremovexattr": 198,
    "fremovexattr": 199,
    "tkill": 200,
    "clock_settime": 227,
    "tgkill": 234,
    "utimes": 235,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "mkdirat": 258,
    "mknodat": 259,
    "fchownat": 260,
    "futimesat": 261,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "fchmodat": 268,
    "unshare": 272,
    "utimensat": 280,
    "rt_tgsigqueueinfo": 297,
    "perf_event_open": 298,
    "name_to_handle_at": 303,
    "open_by_handle_at": 304,
    "clock_adjtime": 305,
    "setns": 308,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "finit_module": 313,
    "renameat2": 316,
    "kexec_file_load": 320,
    "bpf": 321,
    "execveat": 322,
    "userfaultfd": 323,
}

_AARCH64 = {
    "setxattr": 5,
    "lsetxattr": 6,
    "fsetxattr": 7,
    "removexattr": 14,
    "lremovexattr": 15,
    "fremovexattr": 16,
    "mknodat": 33,
    "mkdirat": 34,
    "unlinkat": 35,
    "symlinkat": 36,
    "linkat": 37,
    "renameat": 38,
    "umount2": 39,
    "mount": 40,
    "pivot_root": 41,
    "truncate": 45,
    "chroot": 51,
    "fchmod": 52,
    "fchmodat": 53,
    "fchownat": 54,
    "fchown": 55,
    "quotactl": 60,
    "utimensat": 88,
    "acct": 89,
    "personality": 92,
    "unshare": 97,
    "kexec_load": 104,
    "init_module": 105,
    "delete_module": 106,
    "clock_settime": 112,
    "ptrace": 117,
    "kill": 129,
    "tkill": 130,
    "tgkill": 131,
    "rt_sigqueueinfo": 138,
    "reboot": 142,
    "sethostname": 161,
    "setdomainname": 162,
    "settimeofday": 170,
    "adjtimex": 171,
    "socket": 198,
    "add_key": 217,
    "request_key": 218,
    "keyctl": 219,
    "execve": 221,
    "swapon": 224,
    "swapoff": 225,
    "rt_tgsigqueueinfo": 240,
    "perf_event_open": 241,
    "name_to_handle_at": 264,
    "open_by_handle_at": 265,
    "clock_adjtime": 266,
    "setns": 268,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "finit_module": 273,
    "renameat2": 276,
    "bpf": 280,
    "execveat": 281,
    "userfaultfd": 282,
    "kexec_file_load": 294,
}

_ARCHITECTURES: dict[str, tuple[int, dict[str, int], dict[int, int], int]] = {
    "x86_64": (0xC000003E, _X86_64, {2: 1, 257: 2}, 56),
    "aarch64": (0xC00000B7, _AARCH64, {56: 2}, 220),
}
"""Machine → audit architecture, refused calls, open calls with the place of their flags, clone."""


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    """Return one instruction of the kernel's filter machine; jumps count from the next one."""
    return struct.pack("=HBBI", code, then, otherwise, value)


def _argument(index: int) -> int:
    """Return the offset of the low half of an argument (both architectures are little-endian)."""
    return 16 + 8 * index


def assemble(machine: str) -> bytes | None:
    """Return the filter for `machine` (`x86_64`, `aarch64`), or None where no table is known."""
    if machine not in _ARCHITECTURES:
        return None
    architecture, refused, opens, clone = _ARCHITECTURES[machine]
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    missing = _step(_RETURN, _ERRNO | errno.ENOSYS)
    allow = _step(_RETURN, _ALLOW)
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, architecture, 1, 0), refuse]
    steps += [_step(_LOAD, _NUMBER), _step(_AT_LEAST, _X32, 0, 1), missing]
    for number in sorted({*refused.values(), *_COMMON.values()}):
        steps += [_step(_EQUAL, number, 0, 1), refuse]
    for number in sorted(_MISSING.values()):
        steps += [_step(_EQUAL, number, 0, 1), missing]
    for number, flags in opens.items():
        steps += [_step(_EQUAL, number, 0, 4), _step(_LOAD, _argument(flags))]
        steps += [_step(_ANY_BIT, _WRITES, 0, 1), refuse, allow]
    steps += [_step(_EQUAL, clone, 0, 3), _step(_LOAD, _argument(0))]
    steps += [_step(_ANY_BIT, _CLONE_THREAD, 1, 0), refuse, allow]
    return b"".join(steps)
