"""What became of a course's notebooks, for people: a table for the terminal, and a page to keep or to send."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.base.quantities import GIB
from harness.courses.notebook_check import NotebookCheck
from harness.report import render

TEMPLATE = "courses.html.jinja"


def table(trials: Sequence[NotebookCheck], width: int) -> str:
    """The trials as a table, and a learner's link to each notebook that opened, at a terminal's width in characters."""
    allowance = trials[0].allowance
    shown = Table(box=None, pad_edge=False)
    for heading in ("notebook", "opened", "cells", "time", "peak memory", "result"):
        shown.add_column(heading, overflow="fold")
    for course, its in itertools.groupby(trials, lambda trial: trial.course):
        shown.add_row(escape(course))
        for trial in its:
            opened = "yes" if trial.opened else "no"
            row = (f"  {trial.notebook}", opened, cells(trial), seconds(trial), peak(trial), trial.result)
            shown.add_row(*map(escape, row))
    written = io.StringIO()
    Console(file=written, width=width, highlight=False).print(shown)
    given = f"A learner's server is guaranteed {_gib(allowance.guarantee)} and may take {_gib(allowance.limit)}."
    links = [f"  {trial.url}" for trial in trials if trial.opened]
    return "\n".join([given, written.getvalue(), *(["Links for learners:", *links] if links else [])])


def page(trials: Sequence[NotebookCheck]) -> str:
    """The trials as an HTML page that needs nothing but itself."""
    filters = {"cells": cells, "seconds": seconds, "peak": peak, "gib": _gib}
    return render(TEMPLATE, filters, trials=trials, allowance=trials[0].allowance)


def cells(trial: NotebookCheck) -> str:
    """Cells that ran, of all."""
    if not trial.run:
        return "-"
    skipped = 0 if trial.run.failure else trial.run.cells - trial.run.run
    return f"{trial.run.run} of {trial.run.cells}" + (f", {skipped} skipped" if skipped else "")


def seconds(trial: NotebookCheck) -> str:
    return f"{trial.run.seconds:.1f} s" if trial.run else "-"


def peak(trial: NotebookCheck) -> str:
    """Largest working set, and its part of what is guaranteed."""
    if not trial.memory:
        return "-"
    return f"{trial.memory.peak / GIB:.2f} GiB, {trial.memory.peak / trial.allowance.guarantee:.0%}"


def _gib(size: float) -> str:
    return f"{size / GIB:g} GiB"
