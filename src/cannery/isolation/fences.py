"""What a worker takes away from itself before it opens anything; standard library only.

Every fence is raised by the process that it holds, can't be lowered again, and is inherited.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterable
from contextlib import suppress

from cannery.isolation.syscalls import assemble

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_SECCOMP_MODE_FILTER = 2
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITY_VERSION_3 = 0x20080522
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3


def _syscall(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def forgo_privileges() -> None:
    """Give up every capability and the right to gain one; raises OSError when the kernel declines."""
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs was declined")
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    number = _SYS_CAPSET.get(platform.machine())
    if number is not None:
        header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
        _syscall(number, header, ctypes.create_string_buffer(bytes(24)))


def limit_resources(memory: int, cpu: int | None) -> None:
    """Bound the address space to `memory` bytes and CPU time to `cpu` seconds; no files, cores, children."""
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if cpu is not None:
        limits[resource.RLIMIT_CPU] = cpu
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with suppress(ValueError):
            resource.setrlimit(kind, (value, value))


def leave_network() -> None:
    """Move to a network namespace of one's own, with nothing in it; raises OSError when declined."""
    for flags in (_CLONE_NEWUSER | _CLONE_NEWNET, _CLONE_NEWNET):
        if _libc.unshare(flags) == 0:
            return
    raise OSError(ctypes.get_errno(), "a network namespace was declined")


def landlock_version() -> int:
    """Return the kernel's Landlock ABI, or 0 where there is none."""
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict_files(readable: Iterable[str]) -> None:
    """Let Landlock allow reading beneath `readable`, and nothing else; raises OSError when declined."""
    version = landlock_version()
    if version < 1:
        raise OSError("this kernel has no Landlock")
    # The rights grew with the ABI: refer (2), truncate (3), TCP (4), ioctl (5), scopes (6).
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack(
        "=QQQ", rights, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _syscall(
        _CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(size), ctypes.c_uint32(0)
    )
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "a Landlock ruleset was declined")
    try:
        for path in readable:
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow_reading(ruleset, path)
        if _syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), "Landlock was declined")
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        access = _READ_FILE | (_READ_DIR if os.path.isdir(path) else 0)  # noqa: PTH112 - runs first
        rule = ctypes.c_char_p(struct.pack("=Qi", access, place))
        if _syscall(_ADD_RULE, ctypes.c_int(ruleset), 1, rule, ctypes.c_uint32(0)) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock declined '{path}'")
    finally:
        os.close(place)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def filter_calls() -> bool:
    """Install the filter of system calls; False where this machine has no table or the kernel no filters."""
    steps = assemble(platform.machine())
    if steps is None:
        return False
    program = _Program(len(steps) // 8, steps)
    done = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0)
    return bool(done == 0)
