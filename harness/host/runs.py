"""The runs that this machine has something of, of whatever checkout: under way, kept, or killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock, Timeout

from harness.base.errors import HarnessError
from harness.host import docker
from harness.host.requirements import daemon_answers

STATE = ".harness"
"""A run's directory, in its checkout."""
LOCK = "lock"
"""File in a run's directory that whoever works there holds."""
IN_USE, KEPT, ORPHANED, UNKNOWN = "in use", "kept", "orphaned", "unknown"


@dataclass(frozen=True)
class Run:
    """What is on this machine of one run."""

    name: str
    checkout: Path | None
    """None for one of an older harness, which did not say."""
    age: timedelta
    kept: bool
    """Whether it was to stay."""

    @property
    def directory(self) -> Path | None:
        """What it keeps about itself; None where that is gone."""
        found = self.checkout / STATE if self.checkout else None
        return found if found and found.is_dir() else None

    @property
    def state(self) -> str:
        """`in use`: a process works with it. `kept`: on purpose. `orphaned`: whoever made it is gone, it is not.

        `unknown` where nobody can say.
        """
        if not self.checkout:
            return UNKNOWN
        if not self.directory:
            return ORPHANED
        try:
            with held(self.directory, self.name):
                return KEPT if self.kept else ORPHANED
        except HarnessError:
            return IN_USE

    def __str__(self) -> str:
        return f"{self.name:<14} {self.state:<9} {_rounded(self.age):>8}  {self.checkout or '?'}"


def all_runs(now: datetime | None = None) -> list[Run]:
    """The runs on this machine, oldest first.

    Raises:
        HarnessError: Docker does not answer.
    """
    if not daemon_answers():
        raise HarnessError("The Docker daemon does not answer: nobody can say what runs there are on this machine.")
    return _oldest_first(now or datetime.now(UTC))


def _oldest_first(now: datetime) -> list[Run]:
    found = [
        Run(
            name=each["name"],
            checkout=Path(each["checkout"]) if each["checkout"] else None,
            age=now - _time(each["created"]),
            kept=each["kept"] == "yes",
        )
        for each in docker.networks()
    ]
    return sorted(found, key=lambda run: run.age, reverse=True)


def beside(name: str) -> list[str]:
    """The other runs on this machine, a line each, for who shares its cores and its disk with them.

    Raises:
        HarnessError: Docker does not list them.
    """
    return [
        f"{run.name}, {run.state}, {run.checkout or '?'}"
        + ("" if run.state == IN_USE else f" ('tox -e down -- {run.name}' removes it)")
        for run in _oldest_first(datetime.now(UTC))
        if run.name != name
    ]


def find(name: str) -> Run:
    """The run of that name.

    Raises:
        HarnessError: there is none; the message names those that there are.
    """
    runs = {run.name: run for run in all_runs()}
    if name not in runs:
        raise HarnessError(f"There is no run {name} on this machine. There are: {', '.join(runs) or 'none'}")
    return runs[name]


@contextmanager
def held(state: Path, name: str) -> Iterator[None]:
    """Hold a run's directory, which is there, for one process at a time.

    Raises:
        HarnessError: another one has it, or it is another user's.
    """
    lock = FileLock(state / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HarnessError(f"Another run of this checkout is under way ({name}): wait for it, or end it") from error
    except OSError as error:
        raise HarnessError(f"{name}: {state} is not this user's: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def _time(docker_s: str) -> datetime:
    """A time as Docker lists it: 2026-01-31 12:00:00.123456789 +0000 UTC."""
    day, clock, zone = docker_s.split()[:3]
    return datetime.strptime(f"{day} {clock.partition('.')[0]} {zone}", "%Y-%m-%d %H:%M:%S %z")


def _rounded(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 60 // 24} days"
