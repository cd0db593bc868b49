"""What became of a course's notebooks, as people read it."""

from __future__ import annotations

import re

from harness.courses.notebook_check import MemoryQuota, NotebookCheck
from harness.people.memory import Memory
from harness.people.notebook import CellFailure, NotebookRun
from harness.report import courses

ALLOWANCE = MemoryQuota.of({"guarantee": "2G", "limit": "4G"})
RAN = NotebookRun(cells=4, run=4, seconds=2.5, failure=None, died=False)
RAISED = CellFailure(2, "import [seaborn]", "ModuleNotFoundError: No module named 'seaborn'", "Traceback <here>")


def trial(**what: object) -> NotebookCheck:
    found = NotebookCheck(
        "trees.1", "lectures/[a] <b>.ipynb", ALLOWANCE, "https://nb.learn.mit.edu/tmplogin?course=trees.1"
    )
    for name, value in what.items():
        setattr(found, name, value)
    return found


FIT = trial(opened=True, run=RAN, memory=Memory(2**29))
UNFIT = trial(
    opened=True, run=NotebookRun(4, 1, 1.0, RAISED, False), memory=Memory(2**30), troubles=[f"cell 2: {RAISED.error}"]
)
ABSENT = trial(troubles=["it is nowhere in the image\nmore"])


def test_table() -> None:
    """Each notebook has its line, whatever signs are in its name, and only one that opens has a link to hand out."""
    table = courses.table([FIT, UNFIT, ABSENT], 200)
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines() if "lectures/" in line]
    assert rows == [
        ["lectures/[a] <b>.ipynb", "yes", "4 of 4", "2.5 s", "0.50 GiB, 25%", "ran"],
        ["lectures/[a] <b>.ipynb", "yes", "1 of 4", "1.0 s", "1.00 GiB, 50%", f"cell 2: {RAISED.error}"],
        ["lectures/[a] <b>.ipynb", "no", "-", "-", "-", "it is nowhere in the image"],
    ]
    assert table.count("https://nb.learn.mit.edu") == 2


def test_table_of_a_narrow_terminal_loses_nothing() -> None:
    assert "…" not in courses.table([UNFIT], 60)


def test_page() -> None:
    """The page says the verdict first, carries the traceback, and takes no name for HTML."""
    page = courses.page([FIT, UNFIT, ABSENT])
    assert "2 of 3 are not fit for learners" in page
    assert "Traceback &lt;here&gt;" in page
    assert "<b>.ipynb" not in page
    assert "All 1 open by their link" in courses.page([FIT])


def test_memory_over_the_guarantee_is_told() -> None:
    assert trial(opened=True, run=RAN, memory=Memory(3 * 2**30)).result.startswith("ran, and it takes more memory than")


def test_interrupted_check_did_not_run() -> None:
    assert trial(opened=True).result == "interrupted"
