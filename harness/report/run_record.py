"""run.json: the record of a run. All of its reports are made from this, and from nothing else."""

from __future__ import annotations

import functools
import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter, ValidationError, with_config

from harness.base.errors import HarnessError
from harness.base.intervals import Span
from harness.base.quantities import duration_seconds
from harness.base.validation import first_error
from harness.monitoring.graphs import Graph
from harness.people.journey import Journey
from harness.program.difference import Preview
from harness.report.outcomes import Case, Status

FORMAT = 2
"""Raised when an older record can no longer be read as a newer one."""
PHASES = ("boot", "login", "pull", "spawn", "page", "kernel")
"""The phases that are timed, in the order in which a student meets them.

`pull` is one image onto one node, as the kubelet's event has it; `spawn` includes the pull. `kernel` is until a new
kernel answers.
"""
INTERRUPTED = "interrupted"
"""The reason that is recorded for a run that Ctrl-C ended."""
_PULLED = re.compile(r"Successfully pulled image .*? in ((?:[\d.]+(?:h|ms|m|s|us|µs|ns))+)")


class RecordError(HarnessError):
    """A file is no record of a run, or one of another version of the harness."""


@dataclass(frozen=True)
class Timing:
    """The time of a phase, once.

    Attributes:
        test: pytest's node ID, or that of the file whose tests share it; empty for what all share.
    """

    seconds: float
    test: str = ""


@dataclass(frozen=True)
class Screenshot:
    """A screenshot that a test kept.

    Attributes:
        file: as seen from the record.
    """

    file: str
    test: str


def _local_time(text: str) -> str:
    """Return an ISO 8601 time, and refuse any other text, so that it is found now and not in the middle of a report."""
    return datetime.fromisoformat(text).isoformat(timespec="milliseconds")


@with_config(extra="forbid")
@dataclass
class Record:
    """Everything that happened in a run; filled while it goes on.

    Attributes:
        started: ISO 8601, with the offset from UTC.
        about: chart, spawner, versions and commit in words, by name; no path of a machine.
        planned: how many tests were to run.
        whole: whether these were all tests that there are, and all of them ran.
        booted: whether the deployment came up.
        ended: why it ended early; empty for a run that came to its end.
        cause: the likely cause of a deployment that did not come up, where one is named.
        void: the test environment failed, and the run has no verdict.
        phases: by name, those of PHASES.
        steps: of booting and removing the deployment.
        waits: all waits of the tests and their set-up.
        boots: when the deployment came up, or was to.
        preview: what the owners' checkout changes; None without a checkout, or a revision to compare with.
        graphs: what the panels of the monitoring showed; none for a run without it.
    """

    started: Annotated[str, AfterValidator(_local_time)] = field(
        default_factory=lambda: datetime.now().astimezone().isoformat(timespec="milliseconds")
    )
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
    preview: Preview | None = None
    graphs: list[Graph] = field(default_factory=list)

    @property
    def began(self) -> float:
        """The start as time.time()."""
        return datetime.fromisoformat(self.started).timestamp()

    @property
    def tests(self) -> set[str]:
        """Node IDs of what ran, skipped tests included."""
        return {case.test for case in self.cases if case.test}

    def of(self, status: Status) -> list[Case]:
        """Return the cases of promises that ended with a status."""
        return [case for case in self.cases if case.status is status and not case.is_self_check]

    @property
    def self_checks(self) -> list[Case]:
        """Tests of the harness's own parts."""
        return [case for case in self.cases if case.is_self_check]

    @contextmanager
    def booting(self) -> Iterator[None]:
        """Time the boot of the deployment, or of a part of it, while the context is open."""
        started, self.booted = time.monotonic(), False
        try:
            yield
            self.booted = True
        finally:
            self.boots.append(Span.ending_now("boot", time.monotonic() - started))
            if self.booted:
                self.phases["boot"] = [Timing(sum(boot.seconds for boot in self.boots), "")]

    def add(self, journey: Journey, test: str) -> None:
        """Record a student's journey for a test."""
        for phase in journey.phases:
            self._timed(phase.name, phase.seconds, test)
        for seconds in pulls("\n".join(journey.progress)):
            self._timed("pull", seconds, test)

    def _timed(self, phase: str, seconds: float, test: str) -> None:
        self.phases.setdefault(phase, []).append(Timing(seconds, test))

    def to_json(self, clean: Callable[[str], str] = str) -> str:
        """Return the record as text.

        Args:
            clean: removes secrets from a text; it gets each text of the record by itself.
        """
        return json.dumps({"format": FORMAT, **_clean(asdict(self), clean)}, indent=1, ensure_ascii=False)


def parse_record(text: str) -> Record:
    """Return the run that a text records.

    Raises:
        RecordError: the text is no record, or one of another version of the harness.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise RecordError(f"Expected the record of a run in format {FORMAT}, found another text")
        return _schema().validate_python(found)
    except ValidationError as error:
        raise RecordError(f"Expected the record of a run: {first_error(error)}") from error
    except ValueError as error:
        raise RecordError(f"Expected the record of a run, found no JSON: {error}") from error


def read_record(file: Path) -> Record:
    """Read the record of a run.

    Raises:
        RecordError: the file cannot be read, or is no record of a run, or one of another version of the harness.
    """
    try:
        return parse_record(file.read_text())
    except OSError as error:
        raise RecordError(f"{file} cannot be read: {error.strerror}") from error


def pulls(text: str) -> list[float]:
    """Return the seconds of each image pull that the kubelet's events name, such as `in 1m2.5s`."""
    return [duration_seconds(found) for found in _PULLED.findall(text)]


def median(timings: list[Timing]) -> float:
    return statistics.median(timing.seconds for timing in timings)


def worst(timings: list[Timing]) -> Timing:
    return max(timings, key=lambda timing: timing.seconds)


@functools.cache
def _schema() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def _clean(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _clean(each, clean) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each, clean) for each in value]
    if isinstance(value, float):
        return round(value, 3)
    return clean(value) if isinstance(value, str) else value
