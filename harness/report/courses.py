"""The checks of a course's notebooks, for people: a table for the terminal, and a page to keep or to send."""

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


def table(checks: Sequence[NotebookCheck], width: int) -> str:
    """Return the checks as a table of a width in characters, and a learner's link to each notebook that opened."""
    quota = checks[0].quota
    shown = Table(box=None, pad_edge=False)
    for heading in ("notebook", "opened", "cells", "time", "peak memory", "result"):
        shown.add_column(heading, overflow="fold")
    for course, its in itertools.groupby(checks, lambda check: check.course):
        shown.add_row(escape(course))
        for check in its:
            opened = "yes" if check.opened else "no"
            row = (f"  {check.notebook}", opened, cells(check), seconds(check), peak(check), check.result)
            shown.add_row(*map(escape, row))
    written = io.StringIO()
    Console(file=written, width=width, highlight=False).print(shown)
    given = f"A learner's server is guaranteed {_gib(quota.guarantee)} and may take {_gib(quota.limit)}."
    links = [f"  {check.url}" for check in checks if check.opened]
    return "\n".join([given, written.getvalue(), *(["Links for learners:", *links] if links else [])])


def page(checks: Sequence[NotebookCheck]) -> str:
    """Return the checks as an HTML page that needs no other file."""
    filters = {"cells": cells, "seconds": seconds, "peak": peak, "gib": _gib}
    return render("courses.html.jinja", filters, checks=checks, quota=checks[0].quota)


def cells(check: NotebookCheck) -> str:
    """Return how many of the cells ran."""
    if not check.run:
        return "-"
    skipped = 0 if check.run.failure else check.run.cells - check.run.run
    return f"{check.run.run} of {check.run.cells}" + (f", {skipped} skipped" if skipped else "")


def seconds(check: NotebookCheck) -> str:
    return f"{check.run.seconds:.1f} s" if check.run else "-"


def peak(check: NotebookCheck) -> str:
    """Return the largest working set, and its part of the guaranteed memory."""
    if not check.memory:
        return "-"
    return f"{check.memory.peak / GIB:.2f} GiB, {check.memory.peak / check.quota.guarantee:.0%}"


def _gib(size: float) -> str:
    return f"{size / GIB:g} GiB"
