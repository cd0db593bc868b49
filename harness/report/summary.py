"""A run in Markdown, for a CI's own page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.program.difference import Preview
from harness.report.history import RunDifference
from harness.report.outcomes import Case, Status, groups
from harness.report.run import broken, phases
from harness.report.run_record import Record
from harness.report.words import Tone, conclude, describe_change, duration, promises, since

SIGNS = {Tone.GOOD: "✅", Tone.BAD: "❌", Tone.DOUBTFUL: "⚠️"}
MOST = 30
"""Broken promises that are listed; GitHub cuts a summary at a megabyte."""


def summary(run: Record, found: RunDifference | None = None) -> str:
    """Return the conclusion, what is broken and why, what is not checked, the phases' times, and the differences."""
    return "\n".join([*_lines(run, found), ""])


def _lines(run: Record, found: RunDifference | None) -> Iterator[str]:
    conclusion = conclude(run)
    yield f"## {SIGNS[conclusion.tone]} {_plain(conclusion.sentence)}"
    if conclusion.rest:
        yield f"\n{conclusion.rest}."
    yield from _preview(run.preview) if run.preview else ()
    if run.cause:
        yield f"\n*Likely cause:* {_plain(run.cause)}"
    if found_broken := broken(run):
        yield "\n### Broken\n"
        for promise, findings in found_broken[:MOST]:
            yield f"- **{_plain(promise)}**"
            for cases in findings[:MOST]:
                yield f"  - {_finding(cases)}"
        if len(found_broken) > MOST:
            yield f"- and {len(found_broken) - MOST} more promises"
    if failed := [group for group in groups(run.self_checks) if group.status is Status.BROKEN]:
        yield "\n### Self-checks of the harness that failed\n"
        yield from (f"- **{_plain(group.promise)}**: {_finding(list(group.cases))}" for group in failed)
    if found and (found.broken or found.mended or found.changes):
        yield f"\n### Since {_plain(since(found))}\n"
        for title, cases in (("newly broken", found.broken), ("mended", found.mended)):
            yield from (f"- {title}: {_plain(promise)}" for promise in sorted(promises(cases)))
        yield from (f"- {describe_change(change)}" for change in found.changes)
    if run.phases:
        yield "\n### Time\n"
        yield "| phase | times | median | worst |\n| --- | ---: | ---: | ---: |"
        for phase in phases(run):
            slowest = duration(phase.worst.seconds)
            yield f"| {phase.name} | {len(phase.timings)} | {duration(phase.median)} | {slowest} |"
        yield f"\nThe whole run: {duration(run.seconds)}."
    unchecked = groups(run.of(Status.UNCHECKED))
    if unchecked:
        yield "\n<details><summary>Not checked</summary>\n"
        for group in unchecked:
            many = f" ({len(group.cases)} cases)" if len(group.cases) > 1 else ""
            yield f"- {_plain(group.promise)}{many}{': ' if group.why else ''}{_plain(group.why)}"
        yield "\n</details>"


def _preview(found: Preview) -> Iterator[str]:
    yield f"\n### {_plain(found.headline[0].upper() + found.headline[1:])}\n"
    for section, differences in found.sections.items():
        yield from (f"- {section}: {_plain(str(each))}" for each in differences[:MOST])
        if len(differences) > MOST:
            yield f"- {section}: {len(differences) - MOST} more, in report.html"
    yield from (f"- *{_plain(note)}*" for note in found.notes)


def _finding(cases: list[Case]) -> str:
    """Return what was found about one promise, for how many cases, and why."""
    first = cases[0]
    which = f"{len(cases)} cases: " if len(cases) > 1 else f"{first.parameters}: " if first.parameters else ""
    cause = f"<br>*Likely cause:* {_plain(first.cause)}" if first.cause else ""
    return f"{_plain(which)}{' ' if which else ''}{_plain(first.why)}{cause}"


def _plain(text: str) -> str:
    """Return a text on one line, with each character escaped that Markdown would interpret."""
    return re.sub(r"([\\`*_\[\]<>|~#&])", r"\\\1", " ".join(text.split()))
