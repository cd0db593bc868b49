"""Earlier runs on this machine, and the differences to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.report.outcomes import Case, Status
from harness.report.run_record import PHASES, Record, RecordError, median, read_record

KEPT_RUNS = 20
"""Records of runs that stay on a machine for each checkout."""
RATIO, LEAST = 1.5, 0.2
"""The least ratio, and the least seconds, by which a phase counts as slower or faster."""


@dataclass(frozen=True)
class PhaseChange:
    """A phase whose time has changed; medians in seconds."""

    phase: str
    before: float
    now: float

    @property
    def slower(self) -> bool:
        return self.now > self.before

    @property
    def ratio(self) -> float:
        """The ratio of the longer time to the shorter."""
        least, most = sorted((self.before, self.now))
        return most / least if least else float("inf")


@dataclass(frozen=True)
class RunDifference:
    """The differences between an earlier run and this one, in the tests that both ran.

    Attributes:
        before: the earlier run.
        both: how many tests ran in both.
        whole: both ran all tests, so that there are new and gone ones, and the time of the whole counts.
    """

    before: Record
    both: int
    whole: bool
    broken: list[Case] = field(default_factory=list)
    mended: list[Case] = field(default_factory=list)
    unchecked: list[Case] = field(default_factory=list)
    """Cases that are no longer checked."""
    new: list[Case] = field(default_factory=list)
    gone: list[Case] = field(default_factory=list)
    changes: list[PhaseChange] = field(default_factory=list)

    @property
    def nothing(self) -> bool:
        return not (self.broken or self.mended or self.unchecked or self.new or self.gone or self.changes)


def difference(before: Record, now: Record) -> RunDifference:
    """Compare two runs."""
    was = {case.test: case for case in before.cases if case.test}
    both = [(was[case.test].status, case) for case in now.cases if case.test in was]
    whole = before.whole and now.whole
    return RunDifference(
        before,
        len(both),
        whole,
        broken=[case for old, case in both if case.status is Status.BROKEN is not old],
        mended=[case for old, case in both if old is Status.BROKEN and case.status in (Status.KEPT, Status.FIXED)],
        unchecked=[case for old, case in both if case.status is Status.UNCHECKED is not old],
        new=[case for case in now.cases if whole and case.test and case.test not in was],
        gone=[case for test, case in was.items() if whole and test not in now.tests],
        changes=_changes(before, now),
    )


def _changes(before: Record, now: Record) -> list[PhaseChange]:
    """Return the phases that are slower or faster, in what both runs did."""
    found = []
    for phase in PHASES:
        was, is_ = before.phases.get(phase, []), now.phases.get(phase, [])
        shared = {timing.test for timing in was} & {timing.test for timing in is_}
        was, is_ = ([timing for timing in timings if timing.test in shared] for timings in (was, is_))
        if shared:
            change = PhaseChange(phase, median(was), median(is_))
            if change.ratio > RATIO and abs(change.now - change.before) >= LEAST:
                found.append(change)
    return found


@dataclass(frozen=True)
class History:
    """The records of a checkout's earlier runs.

    Args:
        directory: where they are, a file a run.
    """

    directory: Path

    def before(self, now: Record) -> Record | None:
        """Return the run to compare with: the newest that ran at least half of the same tests, else one that ran any.

        Raises:
            RecordError: there are earlier runs, and none of them can be read.
        """
        unreadable, any_ = None, None
        for file in self._newest_first():
            try:
                run = read_record(file)
            except RecordError as error:
                unreadable = error
                continue
            shared = len(run.tests & now.tests)
            if run.began < now.began and shared:
                if shared * 2 >= len(now.tests):
                    return run
                any_ = any_ or run
        if unreadable and not any_:
            raise unreadable
        return any_

    def remember(self, run: Record, text: str) -> None:
        """Keep a run's record for later runs, and delete the oldest.

        Raises:
            OSError: it cannot be written.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / f"{run.began:.3f}.json").write_text(text)
        for file in self._newest_first()[KEPT_RUNS:]:
            file.unlink(missing_ok=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.directory.glob("*.json"), reverse=True)
