"""report.html: a run's promises, and where its time went; a page that needs no other file."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup

from harness.base.intervals import Span, total, without
from harness.base.timeline import UUID
from harness.report import render
from harness.report.graphs import graphs_picture
from harness.report.history import RunDifference
from harness.report.outcomes import Case, Status, groups
from harness.report.picture import picture
from harness.report.run_record import PHASES, Record, Screenshot, Timing, median, worst
from harness.report.words import conclude, count, describe_change, duration, file_of, moment, name_of, since

T = TypeVar("T")
SLOWEST = 10
"""Tests, and waits, that are listed."""


@dataclass(frozen=True)
class Phase:
    """A phase of all students of a run."""

    name: str
    timings: list[Timing]

    @property
    def median(self) -> float:
        return median(self.timings)

    @property
    def worst(self) -> Timing:
        return worst(self.timings)


def page(run: Record, evidence: Path, found: RunDifference | None = None, alone: str = "") -> str:
    """Return the page.

    Args:
        evidence: directory that the record's files are in; those of its screenshots become part of the page.
        found: the difference to an earlier run.
        alone: why there is none.
    """
    names = {case.test: name_of(case) for case in run.cases if case.test}
    filters = {"duration": duration, "count": count, "describe": describe_change, "name": name_of, "short": _short}
    return render(
        "run.html.jinja",
        filters,
        run=run,
        conclusion=conclude(run),
        when=moment(run.started),
        groups={status.name.lower(): groups(run.of(status)) for status in Status},
        self_checks=groups(run.self_checks),
        broken_promises=broken(run),
        unchecked_by_reason=_by(lambda group: group.why, groups(run.of(Status.UNCHECKED))),
        kept_by_file=_by(lambda group: file_of(group.cases[0].test), groups(run.of(Status.KEPT))),
        difference=found,
        since=since(found) if found else "",
        alone=alone,
        # The template of the picture escaped what is in it.
        picture=Markup(picture(run)),
        graphs=Markup(graphs_picture(run)),
        phases=phases(run),
        name_of_test=lambda test: names.get(test) or file_of(test) or test,
        slowest=slowest(run),
        waits=sorted(run.waits, key=lambda span: span.seconds, reverse=True)[:SLOWEST],
        names_in=lambda span: next((name_of(case) for case in run.cases if _during(case, span)), ""),
        screenshots=list(_shown(run.screenshots, evidence)),
        boot_evidence=_boot_evidence(run, evidence),
    )


def phases(run: Record) -> list[Phase]:
    """Return the phases of a run that were timed, in order."""
    return [Phase(name, run.phases[name]) for name in PHASES if run.phases.get(name)]


def slowest(run: Record) -> list[tuple[Case, dict[str, float]]]:
    """Return the slowest cases, each with the seconds of its parts, without boot and teardown of the run."""
    booting = [*run.boots, *run.steps]
    timed = [
        (case, {part.name: total(without([part], booting)) for part in case.parts}) for case in run.cases if case.parts
    ]
    return sorted(timed, key=lambda each: sum(each[1].values()), reverse=True)[:SLOWEST]


def broken(run: Record) -> list[tuple[str, list[list[Case]]]]:
    """Return broken promises, each with its cases, grouped by the same finding."""
    return [
        (promise, [its for _, its in _by(lambda case: f"{case.why}\n{case.cause}", cases)])
        for promise, cases in _by(lambda case: case.promise, run.of(Status.BROKEN))
    ]


def _by(key: Callable[[T], str], things: Iterable[T]) -> list[tuple[str, list[T]]]:
    """Group things by a key, in the order of the first of each."""
    found: dict[str, list[T]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return list(found.items())


def _short(text: str) -> str:
    """Return a text with each student's name cut short."""
    return re.sub(UUID, lambda found: f"{found[0][:4]}…", text)


def _during(case: Case, span: Span) -> bool:
    return any(part.start <= span.start <= part.end for part in case.parts)


def _shown(screenshots: Iterable[Screenshot], evidence: Path) -> Iterator[tuple[Screenshot, str]]:
    """Yield screenshots as data URIs; one that is gone is left out."""
    for each in screenshots:
        file = evidence / each.file
        if file.is_file():
            yield each, f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _boot_evidence(run: Record, evidence: Path) -> str:
    return "boot" if not run.booted and (evidence / "boot").is_dir() else ""
