"""A whole notebook, run in a student's server as the student does: from its first cell to its last, in a new kernel."""

from __future__ import annotations

import time
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode

from harness.base.errors import HarnessError
from harness.people.kernel import CELL_TIMEOUT, CellError, cut_off, has_widget
from harness.people.student import Student


class NoKernelError(HarnessError):
    """The image has not the kernel that a notebook wants.

    Attributes:
        kernel: the kernel's name.
    """

    def __init__(self, message: str, kernel: str) -> None:
        super().__init__(message)
        self.kernel = kernel


@dataclass(frozen=True)
class CellFailure:
    """The cell at which a run ended."""

    number: int
    """Its place, from 1, among the notebook's code cells that are not empty: the n that In [n] shows when an author
    restarts the kernel and runs all cells."""
    source: str
    error: str
    """In a line: "ModuleNotFoundError: No module named 'seaborn'", "not done after 60 s", "the kernel died"."""
    traceback: str
    """As the notebook shows it, without colours; empty where the cell did not raise."""


@dataclass(frozen=True)
class NotebookRun:
    """The extent to which a notebook ran."""

    cells: int
    """Its code cells; empty ones are not counted."""
    run: int
    """Cells that ran to their end as they should; one with the tag skip-execution does not run."""
    seconds: float
    """From the first cell to the last, without the start of the kernel."""
    failure: CellFailure | None
    died: bool
    """The kernel went away during the failing cell."""
    cut_off: tuple[str, ...] = ()
    """Each cell of whose output the page shows only a part, in a clause."""
    widgets: bool = False
    """An output is a widget."""


def run_notebook(student: Student, path: str, *, cell_timeout: float = CELL_TIMEOUT) -> NotebookRun:
    """Run a notebook's cells up to the first that fails, as nbclient does; nothing is saved.

    Tags are heeded as nbclient's: raises-exception (may raise, and the run goes on), skip-execution.

    Args:
        student: whose server is up.
        path: the notebook, in the student's home directory.
        cell_timeout: seconds for one cell.

    Raises:
        NoKernelError: its kernel is not in the image.
        HarnessError: there is no such notebook, it is none, or its kernel does not start.
    """
    notebook = _read(student, path)
    code = [cell for cell in notebook.cells if _is_code(cell)]
    done: list[NotebookNode] = []
    failed: CellError | None = None
    with student.server.kernel(path, _kernel_name(student, path, notebook)) as kernel:
        started = time.monotonic()
        try:
            for cell in kernel.run_cells(notebook, timeout=cell_timeout):
                done += [cell] if _is_code(cell) else []
        except CellError as error:
            failed = error
        seconds = time.monotonic() - started
    # A cell that was skipped has the outputs that its author saved.
    ran = {number: cell for number, cell in enumerate(done, 1) if not _is_skipped(cell)}
    failure = None
    if failed:
        failure = CellFailure(len(done) + 1, code[len(done)].source, failed.error, failed.traceback)
    return NotebookRun(
        cells=len(code),
        run=len(ran),
        seconds=seconds,
        failure=failure,
        died=failed is not None and failed.died,
        cut_off=tuple(
            f"the page shows only part of cell {number}'s output: it prints more than {limit}"
            for number, cell in ran.items()
            if (limit := cut_off(cell))
        ),
        widgets=any(map(has_widget, ran.values())),
    )


def _is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip())


def _is_skipped(cell: NotebookNode) -> bool:
    return "skip-execution" in cell.metadata.get("tags", [])


def _read(student: Student, path: str) -> NotebookNode:
    answer = student.server.contents(path)
    if answer.status_code != 200:
        raise HarnessError(f"The student's server answers {answer.status_code} for {path}: {answer.text[:200]}")
    model = answer.json()
    if model["type"] != "notebook":
        raise HarnessError(f"{path} should be a notebook, and the student's server calls it a {model['type']}")
    notebook: NotebookNode = nbformat.from_dict(model["content"])
    return notebook


def _kernel_name(student: Student, path: str, notebook: NotebookNode) -> str:
    """Return the kernel that the notebook's page starts: the one it names, or else the only one of its language.

    The order is JupyterLab's (getDefaultKernel in its sessioncontext.tsx); a page that finds none asks the student.
    """
    there = student.server.kernelspecs()
    wanted = notebook.metadata.get("kernelspec", {}).get("name") or "python3"
    if wanted in there:
        return str(wanted)
    language = notebook.metadata.get("language_info", {}).get("name")
    alike = [name for name, spoken in there.items() if spoken == language]
    if len(alike) != 1:
        raise NoKernelError(
            f"{path} wants the kernel {wanted}; the image has: {', '.join(sorted(there))}.\n"
            "Choose one of these in the notebook and save it, or add the kernel to the image.",
            wanted,
        )
    return alike[0]
