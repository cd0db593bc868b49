"""The time of a run as a picture: SVG that stands alone, and within a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from harness.base.intervals import Span, common, merged, total, without
from harness.report import render
from harness.report.run_record import Record
from harness.report.words import duration, file_of

WIDTH, LEFT, RIGHT = 960, 200, 790
"""Width of the picture, and the begin and end of its time axis."""
TOP, ROW, BAR = 92, 20, 12
LEGEND = (0, 270, 515, 760)
"""Where its entries begin."""
LABEL = 30
"""Most letters of a row's name."""
TICKS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds between two lines of the grid."""
MOST_TICKS = 10


class Kind(StrEnum):
    """The uses of a run's time."""

    BOOTING = "booting"
    WAITING = "waiting"
    """Until something is there: a server, a page in the browser, the end of an idle server."""
    WORKING = "working"
    ELSE = "else"


WORDS = {
    Kind.BOOTING: "boot and teardown",
    Kind.WAITING: "tests that wait",
    Kind.WORKING: "tests at work",
    Kind.ELSE: "pytest itself",
}


@dataclass(frozen=True)
class Mark:
    """A bar; position and width in the picture's units.

    Attributes:
        faint: it is of a set-up or teardown, not of a test itself.
    """

    x: float
    width: float
    kind: Kind
    faint: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the picture: a step, or the tests of a file."""

    name: str
    marks: tuple[Mark, ...]
    seconds: str
    waited: str = ""
    y: int = 0


@dataclass(frozen=True)
class Share:
    """The part of a run that went to one kind; position and width in the picture's units.

    Attributes:
        legend: where the words for it begin.
    """

    kind: Kind
    x: float
    width: float
    legend: int
    words: str


def picture(run: Record) -> str:
    """Draw the picture of a run."""
    scale = Scale(run)
    ready = max((boot.end for boot in run.boots), default=run.began)
    before, after = ([step for step in run.steps if (step.start < ready) is early] for early in (True, False))
    rows = [*_steps(before, scale), *_tests(run, scale), *_steps(after, scale)]
    return render(
        "picture.svg.jinja",
        {},
        run=run,
        rows=[replace(row, y=TOP + 8 + number * ROW) for number, row in enumerate(rows)],
        ticks=list(scale.ticks()),
        shares=list(_shares(run)),
        width=WIDTH,
        height=TOP + 12 + len(rows) * ROW,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bar=BAR,
    )


def spent(run: Record) -> dict[Kind, float]:
    """Seconds of a run that went to each kind; all of them together are the run's."""
    inside = [Span(run.began, run.began + run.seconds)]
    booting = common(inside, [*run.boots, *run.steps])
    testing = without(common(inside, _parts(run)), booting)
    waiting = common(testing, run.waits)
    found = {
        Kind.BOOTING: total(booting),
        Kind.WAITING: total(waiting),
        Kind.WORKING: total(without(testing, waiting)),
    }
    return {**found, Kind.ELSE: max(0.0, run.seconds - sum(found.values()))}


class Scale:
    """Draw the time axis."""

    def __init__(self, run: Record) -> None:
        self.start, self.seconds = run.began, run.seconds or 1.0

    def mark(self, span: Span, kind: Kind, faint: bool = False) -> Mark:
        width = span.seconds / self.seconds * (RIGHT - LEFT)
        # What is short is still there.
        return Mark(round(self.x(span.start - self.start), 2), round(max(width, 0.6), 2), kind, faint)

    def x(self, seconds: float) -> float:
        return LEFT + seconds / self.seconds * (RIGHT - LEFT)

    def marks(self, spans: Iterable[Span], kind: Kind, faint: bool = False) -> Iterator[Mark]:
        """Yield the bars of spans; spans too close together to be seen apart share one."""
        for span in merged(spans, gap=self.seconds / (RIGHT - LEFT) / 3):
            yield self.mark(span, kind, faint)

    def ticks(self) -> Iterator[tuple[float, str]]:
        step = next((each for each in TICKS if self.seconds / each <= MOST_TICKS), TICKS[-1])
        for number in range(int(self.seconds / step) + 1):
            at = number * step
            text = f"{at / 60:g} min" if step >= 60 and at else f"{at:g} s"
            yield round(self.x(at), 2), text


def _steps(steps: Iterable[Span], scale: Scale) -> Iterator[Row]:
    for span in sorted(steps):
        yield Row(_short(span.name), (scale.mark(span, Kind.BOOTING),), duration(span.seconds))


def _tests(run: Record, scale: Scale) -> Iterator[Row]:
    booting = merged([*run.boots, *run.steps])
    files: dict[str, list[tuple[str, Span]]] = {}
    for case in run.cases:
        for part in case.parts:
            files.setdefault(file_of(case.test), []).append((part.name, part))
    for name, parts in sorted(files.items(), key=lambda each: min(part for _, part in each[1])):
        around = without((part for which, part in parts if which != "call"), booting)
        called = without((part for which, part in parts if which == "call"), booting)
        waited = common([*around, *called], run.waits)
        marks = [
            *scale.marks(without(around, run.waits), Kind.WORKING, faint=True),
            *scale.marks(without(called, run.waits), Kind.WORKING),
            *scale.marks(common(around, run.waits), Kind.WAITING, faint=True),
            *scale.marks(common(called, run.waits), Kind.WAITING),
        ]
        seconds = total([*around, *called])
        yield Row(_short(name), tuple(marks), duration(seconds), duration(total(waited)) if waited else "")


def _parts(run: Record) -> list[Span]:
    return [part for case in run.cases for part in case.parts]


def _shares(run: Record) -> Iterator[Share]:
    x = 0.0
    for (kind, seconds), legend in zip(spent(run).items(), LEGEND, strict=True):
        part = seconds / (run.seconds or 1.0)
        words = f"{WORDS[kind]} {duration(seconds)}, {part:.0%}"
        yield Share(kind, round(x, 2), round(part * WIDTH, 2), legend, words)
        x += part * WIDTH


def _short(name: str) -> str:
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"
