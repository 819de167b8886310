"""Start one program in an image's folder, by system calls alone: for hosts without bubblewrap.

A program of its own, run as `python -I -S jail.py SPECIFICATION [STATUS_FD]` with a JSON specification
(see `Specification`). It makes new user, mount, PID, IPC and host name namespaces, sees nothing of the
host's files but what is named, holds no capabilities and can't gain any. It writes the pid of the
program, as the host knows it, to the status descriptor, waits, and ends with the program's status.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn, TypedDict

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x1000_0000, 0x2000_0000, 0x4000_0000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 1, 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
DEVICES = ("null", "zero", "full", "random", "urandom")

_libc = ctypes.CDLL(None, use_errno=True)


class Specification(TypedDict):
    """What to run, and where."""

    root: str
    argv: list[str]
    environment: dict[str, str]
    folder: str
    uid: int
    gid: int
    network: bool
    """False: a network of its own, without any interface up."""
    binds: list[list[str]]
    """Pairs of a host's path and a path in the root that exists; read-only."""


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {target}")


def _bind(source: str, target: str) -> None:
    """Bind `source` read-only; flags that the host has locked must be repeated."""
    _mount(source, target, "none", MS_BIND | MS_REC)
    known = os.statvfs(target).f_flag
    locked = known & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME)
    relative = known & getattr(os, "ST_RELATIME", 4096)
    flags = locked | ((1 << 21) if relative else 0)
    _mount("none", target, "none", MS_BIND | MS_REMOUNT | MS_RDONLY | flags)


def _become(spec: Specification, own: int, group: int) -> None:
    """Map the caller, `own` and `group` outside, to what the specification says inside."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{spec['uid']} {own} 1")
    Path("/proc/self/gid_map").write_text(f"{spec['gid']} {group} 1")


def _build(root: str, binds: list[list[str]]) -> None:
    """Make `root` the whole of what can be seen, read-only but for /tmp."""
    _mount("none", "/", "none", MS_REC | MS_PRIVATE)
    _bind(root, root)
    _mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    _mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in DEVICES:
        Path(f"{root}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{root}/dev/{name}", "none", MS_BIND)
    Path(f"{root}/dev/shm").mkdir()
    _mount("tmpfs", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        Path(f"{root}/dev/{name}").symlink_to(f"/proc/self/fd{target}")
    for source, target in binds:
        _bind(source, root + target)
    _mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)


def _enter(root: str) -> None:
    """Swap the host's root for `root` and let go of the former."""
    os.chdir(root)
    _check(_libc.pivot_root(b".", b"."), "pivot_root")
    _check(_libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def _disarm() -> None:
    """Drop every capability for good."""
    for capability in range(64):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")

    class Header(ctypes.Structure):
        _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))

    header = Header(0x2008_0522, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(none)), "capset")


def _inside(spec: Specification, ready: int) -> NoReturn:
    """Become the program; what fails is said on stderr."""
    try:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        os.read(ready, 1)
        _build(spec["root"], spec["binds"])
        _enter(spec["root"])
        _check(_libc.sethostname(b"cannery", 7), "sethostname")
        os.chdir(spec["folder"] or "/")
        _disarm()
        os.setsid()
        os.execve(_find(spec), spec["argv"], spec["environment"])
    except FileNotFoundError:
        sys.stderr.write(f"jail: no program '{spec['argv'][0]}'\n")
        status = 127
    except OSError as error:
        sys.stderr.write(f"jail: {error}\n")
        status = 126
    sys.stderr.flush()
    raise SystemExit(status)


def _find(spec: Specification) -> str:
    name = spec["argv"][0]
    if "/" in name:
        return name
    for folder in spec["environment"].get("PATH", "/usr/bin:/bin").split(":"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise FileNotFoundError(name)


def main() -> NoReturn:
    """Read the specification, start the program, and end as it ends."""
    spec: Specification = json.loads(sys.argv[1])
    status = int(sys.argv[2]) if len(sys.argv) > 2 else None
    own, group = os.geteuid(), os.getegid()  # inside they are nobody until they are mapped
    flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
    try:
        _check(_libc.unshare(flags | (0 if spec["network"] else CLONE_NEWNET)), "unshare")
        _become(spec, own, group)
        ready, go = os.pipe()
        child = os.fork()
        if child == 0:
            if status is not None:
                os.close(status)
            _inside(spec, ready)
        if status is not None:
            os.write(status, f'{{"child-pid": {child}}}\n'.encode())
            os.close(status)
        os.write(go, b"!")
        _, outcome = os.waitpid(child, 0)
    except OSError as error:
        sys.stderr.write(f"jail: {error}\n")
        raise SystemExit(126) from None
    code = os.waitstatus_to_exitcode(outcome)
    raise SystemExit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
