"""Find what a run that is over has left on this host."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.base.errors import EnvironmentFault
from harness.base.shell import MARK, CommandError
from harness.base.wait import NotYet, TooLateError, wait_until
from harness.host import docker
from harness.host.identity import STAY

GRACE = 5.0
"""Seconds for processes that were just killed to be gone."""
PREFIX = "harness-"
LONGEST = 24
"""Characters of the directory that temporary directories are in. Below it, a browser's own has up to 38, and Chromium's
socket 45; the path of a socket has 107 at most (unix(7))."""
SHORT = Path("/tmp")


def mark(name: str) -> str:
    """Return the value of the variable shell.MARK for this process's run; no other run has the same."""
    return f"{name}:{os.getpid()}"


def scratch_prefix() -> str:
    """Return the prefix of this process's temporary directories, which no other run has.

    Containers that share the directory of temporary files may have processes of one number: Linux tells these by the
    namespace of process IDs (namespaces(7)). A few digits of it keep paths short, as those of sockets must be.
    """
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    return f"{PREFIX}{os.getpid()}-{namespace % 0x10000:x}-"


def scratch_root() -> Path:
    """Return the directory for this process's temporary directories: that of TMPDIR, or /tmp where that is too long.

    Raises:
        EnvironmentFault: it is too long, and /tmp cannot be written.
    """
    given = Path(tempfile.gettempdir())
    if len(str(given)) <= LONGEST:
        return given
    if not os.access(SHORT, os.W_OK | os.X_OK):
        raise EnvironmentFault(
            f"TMPDIR {given} is too long for the sockets of a browser, and {SHORT} cannot be written. Set TMPDIR to a "
            f"path of {LONGEST} characters at most."
        )
    return SHORT


def left(name: str, state: Path, *, kept: bool, volumes: set[str]) -> list[str]:
    """Describe what is left of a run, a line each.

    Args:
        name: the run's name.
        state: its directory.
        kept: True where cluster and services stay on purpose.
        volumes: names of the volumes that its containers had.
    """
    found = [*_processes(name), *_mounts(state), *_scratch()]
    if not kept:
        found += [*_in_docker(name, volumes), *_files(state)]
    return found


def _in_docker(name: str, volumes: set[str]) -> Iterator[str]:
    try:
        for container, status in docker.containers(name).items():
            yield f"container {container} ({status})"
        for network in docker.networks(name):
            yield f"network {network['name']}"
        here = set(docker.docker("volume", "ls", "--quiet").split()) if volumes else set()
        for volume in sorted(volumes & here):
            yield f"volume {volume}"
    except CommandError as error:
        yield f"perhaps containers of {name}: Docker does not answer ({str(error).splitlines()[0]})"


def _processes(name: str) -> list[str]:
    """Describe the processes that come from this one and still run."""
    mine, scratch = f"{MARK}={mark(name)}".encode(), f"/{scratch_prefix()}".encode()

    def gone() -> list[str] | NotYet:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            # It may end meanwhile, and that of another user cannot be read.
            with suppress(OSError):
                command = (process / "cmdline").read_bytes()
                # A process without a command line waits to be reaped, and ends with its parent.
                ours = command and (mine in (process / "environ").read_bytes().split(b"\0") or scratch in command)
                if ours and int(process.name) != os.getpid():
                    shown = command.replace(b"\0", b" ").decode(errors="replace").strip()
                    found.append(f"process {process.name}: {shown[:120]}")
        seen.clear()
        seen.extend(found)
        return NotYet("; ".join(found)) if found else found

    seen: list[str] = []
    with suppress(TooLateError):
        wait_until("the end of the run's processes", gone, timeout=GRACE)
    return seen


def _mounts(state: Path) -> Iterator[str]:
    """Describe the mounts under the run's directory (proc(5), mountinfo: the fifth field)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        # A blank is written as \040.
        point = Path(re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), line.split()[4]))
        if point.is_relative_to(state.resolve()):
            yield f"mount {point}"


def _scratch() -> Iterator[str]:
    for path in scratch_root().glob(f"{scratch_prefix()}*"):
        yield f"directory {path}"


def _files(state: Path) -> Iterator[str]:
    for path in state.glob("*"):
        if path.name not in STAY:
            yield f"file {path}"
