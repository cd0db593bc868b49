"""run.json: what a run went through. All of its reports are made from this, and from nothing else."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.base.errors import HarnessError
from harness.base.intervals import Span
from harness.people.student import Journey
from harness.report.outcomes import Case, State

FORMAT = 1
"""Raised when an older record can no longer be read as a newer one."""
PHASES = ("boot", "login", "pull", "spawn", "page", "kernel")
"""What is timed of a run, in the order in which a student meets it.

`pull` is one image onto one node, as the kubelet's event says it; `spawn` has the pull in it. `kernel` is until a new
kernel answers.
"""
INTERRUPTED = "interrupted"
"""How a run ended on which somebody pressed Ctrl-C."""
_PULLED = re.compile(r"Successfully pulled image .*? in ((?:[\d.]+(?:h|ms|m|s|us|µs|ns))+)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


class RecordError(HarnessError):
    """A file is no record of a run, or one of another version of the harness."""


@dataclass(frozen=True)
class Timing:
    """How long a phase took, once.

    Attributes:
        test: pytest's node ID, or that of the file whose tests share it; empty for what all share.
    """

    seconds: float
    test: str = ""


@dataclass(frozen=True)
class Screenshot:
    """A picture that a test kept.

    Attributes:
        file: as seen from the record.
    """

    file: str
    test: str


@dataclass
class Record:
    """What a run went through; filled while it goes on.

    Attributes:
        started: ISO 8601, with the offset from UTC.
        about: what it ran on, in words, by name: chart, spawner, versions, commit. No path of a machine.
        planned: how many tests were to run.
        whole: whether these were all tests that there are, and all of them ran.
        booted: whether the deployment came up.
        ended: why it ended early; empty for a run that came to its end.
        cause: the likely cause of a deployment that did not come up, where one is named.
        void: the test environment failed, and the run is no verdict.
        phases: by name, those of PHASES.
        steps: of booting and removing the deployment.
        waits: what the tests and their set-up waited for.
        boots: when the deployment came up, or was to.
    """

    started: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="milliseconds"))
    seconds: float = 0.0
    about: dict[str, str] = field(default_factory=dict)
    planned: int = 0
    whole: bool = False
    booted: bool = False
    ended: str = ""
    cause: str = ""
    void: bool = False
    cases: list[Case] = field(default_factory=list)
    phases: dict[str, list[Timing]] = field(default_factory=dict)
    steps: list[Span] = field(default_factory=list)
    waits: list[Span] = field(default_factory=list)
    screenshots: list[Screenshot] = field(default_factory=list)
    boots: list[Span] = field(default_factory=list)

    @property
    def began(self) -> float:
        """The start as time.time()."""
        return datetime.fromisoformat(self.started).timestamp()

    @property
    def tests(self) -> set[str]:
        """Node IDs of what ran, skipped tests included."""
        return {case.test for case in self.cases if case.test}

    def of(self, state: State) -> list[Case]:
        """The cases that ended so."""
        return [case for case in self.cases if case.state is state]

    @contextmanager
    def booting(self) -> Iterator[None]:
        """Within it, the deployment or a part of it comes up."""
        started, self.booted = time.monotonic(), False
        try:
            yield
            self.booted = True
        finally:
            self.boots.append(Span.ending_now("boot", time.monotonic() - started))
            if self.booted:
                self.phases["boot"] = [Timing(sum(boot.seconds for boot in self.boots), "")]

    def add(self, journey: Journey, test: str) -> None:
        """Write down what a student went through, and for which test."""
        for phase in journey.phases:
            self._timed(phase.name, phase.seconds, test)
        for seconds in pulls("\n".join(journey.progress)):
            self._timed("pull", seconds, test)

    def _timed(self, phase: str, seconds: float, test: str) -> None:
        self.phases.setdefault(phase, []).append(Timing(seconds, test))

    def to_json(self, clean: Callable[[str], str] = str) -> str:
        """The record as text.

        Args:
            clean: takes out of a text what nobody may read; it sees each text of the record by itself.
        """
        return json.dumps({"format": FORMAT, **_clean(asdict(self), clean)}, indent=1, ensure_ascii=False)


def parse_record(text: str) -> Record:
    """The run that a text records.

    Raises:
        RecordError: it does not, or for another version of the harness.
    """
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise RecordError(f"This record of a run is not in format {FORMAT}")
        return Record(
            **{
                **found,
                "cases": [_case(each) for each in found["cases"]],
                "phases": {name: [Timing(**each) for each in its] for name, its in found["phases"].items()},
                **{name: _spans(found[name]) for name in ("steps", "waits", "boots")},
                "screenshots": [Screenshot(**each) for each in found["screenshots"]],
                # What is written differently by another version is found now, not in the middle of a report.
                "started": datetime.fromisoformat(found["started"]).isoformat(timespec="milliseconds"),
            }
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(f"This is no record of a run: {type(error).__name__}: {error}") from error


def read_record(file: Path) -> Record:
    """The run that a file records.

    Raises:
        RecordError: the file cannot be read, or is no record of a run, or one of another version of the harness.
    """
    try:
        return parse_record(file.read_text())
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}") from error


def pulls(said: str) -> list[float]:
    """Seconds of each pull of an image that the kubelet's events tell of, in its words: `in 1m2.5s`."""
    return [
        sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(h|ms|m|s|us|µs|ns)", found))
        for found in _PULLED.findall(said)
    ]


def median(timings: list[Timing]) -> float:
    return statistics.median(timing.seconds for timing in timings)


def worst(timings: list[Timing]) -> Timing:
    return max(timings, key=lambda timing: timing.seconds)


def _case(found: dict[str, Any]) -> Case:
    return Case(**{**found, "state": State(found["state"]), "parts": tuple(_spans(found["parts"]))})


def _spans(found: list[dict[str, Any]]) -> list[Span]:
    return [Span(**each) for each in found]


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _clean(each, clean) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, clean) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    return clean(value) if isinstance(value, str) else value
