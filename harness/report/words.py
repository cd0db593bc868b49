"""The conclusion of a run, and other sentences that all of its reports share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harness.report.history import PhaseChange, RunDifference
from harness.report.outcomes import Case, Status
from harness.report.run_record import INTERRUPTED, Record


class Tone(StrEnum):
    GOOD = "good"
    BAD = "bad"
    DOUBTFUL = "doubtful"
    """Nothing is broken in what was seen, and not all was."""


@dataclass(frozen=True)
class Conclusion:
    """The finding of a whole run, in words.

    Attributes:
        sentence: the finding, without a full stop.
        rest: what else is to be known; may be empty.
    """

    tone: Tone
    sentence: str
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.sentence}; {self.rest}" if self.rest else self.sentence


def conclude(run: Record) -> Conclusion:
    """Draw the conclusion of a run. Promises are counted, each once, however many cases it has."""
    broken, kept = (promises(run.of(status)) for status in (Status.BROKEN, Status.KEPT))
    failed = count(len(promises(case for case in run.self_checks if case.status is Status.BROKEN)), "self-check")
    kept -= broken
    unreached = run.planned - len(run.tests)
    others = [
        f"{len(kept)} kept" if kept and (broken or run.ended) else "",
        count(len(promises(run.of(Status.STILL_THERE))), "known defect"),
        count(len(promises(run.of(Status.FIXED))), "known defect", suffix=" fixed"),
        f"{len(promises(run.of(Status.UNCHECKED)))} not checked" if run.of(Status.UNCHECKED) else "",
        f"{count(unreached, 'test')} not reached" if unreached > 0 else "",
        f"{failed} of the harness failed" if failed else "",
    ]
    rest = ", ".join(filter(None, others))
    if run.void:
        broke = count(len(broken), "promise", suffix=" broken before")
        return Conclusion(Tone.DOUBTFUL, f"No verdict: {first_line(run.ended)}", ", ".join(filter(None, [broke, rest])))
    if not run.booted and not run.tests:
        if _interrupted(run):
            return Conclusion(Tone.DOUBTFUL, "Interrupted before the deployment was up; no promise was checked")
        # Without a copy, what a copy cannot show need not be listed.
        why = f": {first_line(run.ended)}" if run.ended else ""
        return Conclusion(Tone.BAD, f"The deployment did not come up{why}")
    if broken:
        of = f"{len(broken)} of {len(broken | kept)} promises {'is' if len(broken) == 1 else 'are'} broken"
        return Conclusion(Tone.BAD, of if len(broken | kept) > 1 else "The one promise checked is broken", rest)
    if _interrupted(run):
        return Conclusion(Tone.DOUBTFUL, "The run was interrupted, and nothing was broken until then", rest)
    if run.ended:
        return Conclusion(Tone.BAD, f"The run ended early: {first_line(run.ended)}", rest)
    passed = any(case.status is Status.KEPT for case in run.self_checks)
    if not kept and passed and not failed and not any(case.test for case in run.of(Status.UNCHECKED)):
        return Conclusion(Tone.GOOD, "All self-checks of the harness passed; no promise was checked", rest)
    if not kept:
        return Conclusion(Tone.BAD if failed else Tone.DOUBTFUL, "No promise was kept, and none was broken", rest)
    all_ = "The one promise checked is kept" if len(kept) == 1 else f"All {len(kept)} promises are kept"
    tone = Tone.BAD if failed else Tone.DOUBTFUL if unreached > 0 else Tone.GOOD
    return Conclusion(tone, all_, rest)


def _interrupted(run: Record) -> bool:
    return run.ended == INTERRUPTED


def promises(cases: Iterable[Case]) -> set[str]:
    return {case.promise for case in cases}


def count(number: int, word: str, suffix: str = "") -> str:
    """Return a number with its word, such as 1 test or 2 tests; empty for none."""
    return f"{number} {word}{'' if number == 1 else 's'}{suffix}" if number else ""


def first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")


def duration(seconds: float) -> str:
    """Return a time in words: 0.42 s, 12.3 s, 3 min 05 s."""
    if seconds < 0.005:
        return "0 s"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def moment(started: str) -> str:
    """Return an ISO 8601 time as people write it, in its own zone."""
    when = datetime.fromisoformat(started)
    return f"{when.day} {when:%B %Y, %H:%M}"


def since(found: RunDifference) -> str:
    """Name the run that a run is compared with, and the tests that are compared."""
    commit = found.before.about.get("commit")
    text = f"the run of {moment(found.before.started)}" + (f" (commit {commit})" if commit else "")
    return text if found.whole else f"{text}, in the {count(found.both, 'test')} that ran in both"


def describe_change(change: PhaseChange) -> str:
    """Return in words how the time of a phase has changed."""
    how = "slower" if change.slower else "faster"
    return f"{change.phase} is {change.ratio:.1f} times {how}: {duration(change.before)} → {duration(change.now)}"


def name_of(case: Case) -> str:
    """Return a case in a line."""
    return f"{case.promise} [{case.parameters}]" if case.parameters else case.promise


def file_of(test: str) -> str:
    """Return the name of a test's file as a row has it: culler for tests/e2e/test_culler.py::…."""
    return test.partition("::")[0].rpartition("/")[2].removeprefix("test_").removesuffix(".py")
