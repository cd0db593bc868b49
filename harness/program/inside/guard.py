"""Keep an evaluation from the network, from processes, and from files that are not the program's."""

from __future__ import annotations

import _posixsubprocess
import os
import posix
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from .landlock import restrict
from .places import Line, Owners

NETWORK = "use the network"
PROCESS = "use another process"
WRITE = "write a file outside its scratch directory"
READ = "read a file that is not part of the program"
LIBRARY = "call a library past Python"

EVENTS = {
    **dict.fromkeys(
        (
            "socket.bind",
            "socket.connect",
            "socket.getaddrinfo",
            "socket.gethostbyaddr",
            "socket.gethostbyname",
            "socket.getnameinfo",
            "socket.sendmsg",
            "socket.sendto",
            "urllib.Request",
        ),
        NETWORK,
    ),
    **dict.fromkeys(
        (
            "os.exec",
            "os.fork",
            "os.forkpty",
            "os.kill",
            "os.killpg",
            "os.posix_spawn",
            "os.spawn",
            "os.startfile",
            "os.system",
            "pty.spawn",
            "signal.pthread_kill",
            "subprocess.Popen",
        ),
        PROCESS,
    ),
}
"""Audit events that are refused, and what each is an attempt at."""
LIBRARIES = ("ctypes.call_function", "ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle")
"""Audit events of calls that raise no other events; Python's own packages make some as they are imported."""
UNAUDITED = {
    **dict.fromkeys(("mkfifo", "mknod"), WRITE),
    **dict.fromkeys(("pidfd_open", "setns", "unshare"), PROCESS),
}
"""Functions that raise no audit event, and what each is an attempt at."""
CHANGES = {
    "os.chflags": 1,
    "os.chmod": 1,
    "os.chown": 1,
    "os.link": 2,
    "os.mkdir": 1,
    "os.remove": 1,
    "os.removexattr": 1,
    "os.rename": 2,
    "os.rmdir": 1,
    "os.setxattr": 1,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.utime": 1,
    "sqlite3.connect": 1,
}
"""Audit events that change files, and how many of their arguments name them."""
BESIDE = {"os.chmod": 2, "os.chown": 3, "os.link": 2, "os.mkdir": 2, "os.remove": 1, "os.rename": 2, "os.rmdir": 1}
BESIDE |= {"os.symlink": 2, "os.utime": 3}
"""Position of the arguments, one for each name, with the directory that a name counts from, or -1."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SYSTEM = (
    "/bin",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl",
    "/etc/timezone",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/filesystems",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/version",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/usr",
)
"""Files and directories of the system that Python and packages may read."""


OWN = f"/proc/{os.getpid()}"
"""Files about this process; those of another have its environment."""


class ForbiddenError(PermissionError):
    """The owners' code tried what an evaluation may not do."""


@dataclass
class Refusal:
    """An attempt that was refused, and the owners' line that made it."""

    what: str
    detail: str
    line: Line


@dataclass
class Guard:
    """An audit hook. Python has no way to take one away again.

    Attributes:
        readable: directories with the program, its packages and the standard library.
        hidden: directories in those that are not for reading.
        writable: directories for scratch files and bytecode.
        refusals: those that the owners' code asked for itself, whether or not it went on afterwards.
        asked: files that it opened or tried to open for reading.
    """

    owners: Owners
    readable: tuple[str, ...]
    hidden: tuple[str, ...]
    writable: tuple[str, ...]
    refusals: list[Refusal] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    enabled: bool = False

    def enable(self) -> None:
        restrict(self.writable)
        self.enabled = True
        # It starts processes for multiprocessing, and raises no audit event.
        _posixsubprocess.fork_exec = lambda *_arguments: self._refuse(PROCESS, "fork_exec")
        for module in (os, posix):
            for name, what in UNAUDITED.items():
                if hasattr(module, name):
                    setattr(module, name, partial(self._refuse_call, what, name))
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.enabled:
            return
        if what := EVENTS.get(event):
            self._refuse(what, f"{event} {_first(arguments)}".strip())
        elif event == "open":
            self._opened(*arguments[:3])
        elif event in LIBRARIES:
            if self.owners.asking_itself():
                self._refuse(LIBRARY, f"{event} {_first(arguments)}".strip())
        elif event in CHANGES:
            for number, path in enumerate(arguments[: CHANGES[event]]):
                if not self._is_under(_beside(event, arguments, number, path), self.writable):
                    self._refuse(WRITE, f"{event} {path}")

    def _opened(self, path: Any, mode: str | None, flags: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        text = os.fsdecode(path)
        if text == os.devnull or self._is_under(text, self.writable):
            return
        if mode is None and Path(text).is_dir():
            # By its descriptor, names below it would pass for names in the scratch directory.
            self._refuse(READ, text)
        if (flags & WRITING) or (mode and set(mode) & set("wax+")):
            self._refuse(WRITE, text)
        elif self._is_under(text, self.hidden) or not self._is_under(text, (*self.readable, *SYSTEM, OWN)):
            self._refuse(READ, text)
        else:
            self.asked.add(str(Path(text).absolute()))

    def _is_under(self, path: Any, directories: Iterable[str]) -> bool:
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        real = os.path.realpath(os.fsdecode(path))
        return any(real == directory or real.startswith(f"{directory}/") for directory in directories)

    def _refuse_call(self, what: str, name: str, *_arguments: Any, **_named: Any) -> NoReturn:
        self._refuse(what, name)

    def _refuse(self, what: str, detail: str) -> NoReturn:
        if line := self.owners.asking_itself():
            self.refusals.append(Refusal(what, detail, line))
        raise ForbiddenError(f"refused, since an evaluation may not {what}: {detail}")


def _beside(event: str, arguments: tuple[Any, ...], number: int, path: Any) -> Any:
    """Return a name with the directory that it counts from, where that is not the current one."""
    place = BESIDE.get(event, len(arguments)) + (number if event in ("os.link", "os.rename") else 0)
    directory = arguments[place] if place < len(arguments) else -1
    if isinstance(path, int) or not isinstance(directory, int) or directory < 0:
        return path
    return Path(f"/proc/self/fd/{directory}", os.fsdecode(path))


def _first(arguments: tuple[Any, ...]) -> str:
    named = [str(each) for each in arguments if isinstance(each, str | bytes | tuple | list)]
    return named[0][:100] if named else ""


def guard(owners: Owners, readable: Iterable[Path], hidden: Iterable[Path], writable: Iterable[Path]) -> Guard:
    """Return a guard whose directories have no links in their names."""

    def real(paths: Iterable[Path]) -> tuple[str, ...]:
        return tuple(os.path.realpath(path) for path in paths)

    return Guard(owners, real(readable), real(hidden), real(writable))
