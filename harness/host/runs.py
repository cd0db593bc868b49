"""The runs on this machine, of all checkouts: in use, kept, orphaned, or unknown."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base.errors import EnvironmentFault, HarnessError
from harness.host import docker
from harness.host.identity import LOCK, STATE_DIRECTORY, identity
from harness.host.requirements import daemon_answers

IN_USE, KEPT, ORPHANED, UNKNOWN = "in use", "kept", "orphaned", "unknown"


class InUseError(HarnessError):
    """Another process works with a run."""


@dataclass(frozen=True)
class Run:
    """One run, as the labels of its network describe it."""

    name: str
    checkout: Path | None
    """None for a run of an older harness, which has no such label."""
    age: timedelta
    kept: bool
    """True for one that was to stay."""
    identity: str = ""
    """The checkout's identity; empty for a run of an older harness."""
    host: str = ""
    """Name of the host, or of the container, that it was started on; empty for a run of an older harness."""

    @property
    def directory(self) -> Path | None:
        """The run's directory; None where it is gone, or where the checkout at that path here is another one.

        Raises:
            PermissionError: it is another user's.
        """
        if not self.checkout:
            return None
        found = self.checkout / STATE_DIRECTORY
        try:
            next(found.iterdir(), None)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found if self.identity in ("", identity(self.checkout)) else None

    @property
    def state(self) -> str:
        """The run's state.

        `in use`: a process works with it. `kept`: it is there on purpose. `orphaned`: its process or its checkout is
        gone. `unknown`: its checkout is not on this host, is another user's, or has no label.
        """
        try:
            directory = self.directory
        except PermissionError:
            return UNKNOWN
        if not self.checkout:
            return UNKNOWN
        if not directory:
            return UNKNOWN if self._is_elsewhere else ORPHANED
        try:
            with held(directory, self.name):
                return KEPT if self.kept else ORPHANED
        except HarnessError:
            return IN_USE

    def __str__(self) -> str:
        return f"{self.name:<14} {self.state:<9} {_rounded(self.age):>8}  {self.place}"

    @property
    def place(self) -> str:
        """The checkout, and its host where that is another one."""
        elsewhere = self.state == UNKNOWN and self._is_elsewhere
        return f"{self.checkout or '?'}{f' on {self.host}' if elsewhere else ''}"

    @property
    def _is_elsewhere(self) -> bool:
        return self.host not in ("", socket.gethostname())


def all_runs(now: datetime | None = None) -> list[Run]:
    """Return the runs on this machine, oldest first.

    Raises:
        HarnessError: Docker does not answer.
    """
    if not daemon_answers():
        raise EnvironmentFault("The Docker daemon does not answer: the runs on this machine cannot be listed.")
    return _oldest_first(now or datetime.now(UTC))


def _oldest_first(now: datetime) -> list[Run]:
    found = [
        Run(
            name=each["name"],
            checkout=Path(each["checkout"]) if each["checkout"] else None,
            age=now - _time(each["created"]),
            kept=each["kept"] == "yes",
            identity=each["identity"],
            host=each["host"],
        )
        for each in docker.networks()
    ]
    return sorted(found, key=lambda run: run.age, reverse=True)


def beside(name: str) -> list[str]:
    """Describe the other runs on this machine, a line each: they share its cores and its disk.

    Raises:
        HarnessError: Docker does not list them.
    """
    return [
        f"{run.name}, {run.state}, {run.place}"
        + ("" if run.state == IN_USE else f" ('tox -e down -- {run.name}' removes it)")
        for run in _oldest_first(datetime.now(UTC))
        if run.name != name
    ]


def find(name: str) -> Run:
    """Return the run of that name.

    Raises:
        HarnessError: there is none; the message names the others.
    """
    runs = {run.name: run for run in all_runs()}
    if name not in runs:
        raise HarnessError(f"There is no run {name} on this machine. There are: {', '.join(runs) or 'none'}")
    return runs[name]


@contextmanager
def held(state: Path, name: str) -> Iterator[None]:
    """Hold a run's directory, which exists, for one process at a time.

    Raises:
        InUseError: another process has it.
        HarnessError: it belongs to another user.
    """
    lock = FileLock(state / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InUseError(f"Another run of this checkout is under way ({name}): wait for it, or end it") from error
    except OSError as error:
        raise HarnessError(f"{name}: {state} is not this user's: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _time(docker_s: str) -> datetime:
    """Read a time as Docker lists it: 2026-01-31 12:00:00.123456789 +0000 UTC."""
    day, clock, zone = docker_s.split()[:3]
    return datetime.strptime(f"{day} {clock.partition('.')[0]} {zone}", "%Y-%m-%d %H:%M:%S %z")


def _rounded(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 60 // 24} days"
