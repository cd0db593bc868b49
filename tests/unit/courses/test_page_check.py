"""A course's page in a browser: widgets that are not shown, and the line of the console about a missing part."""

from __future__ import annotations

from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.courses import page_check
from harness.courses.notebook_check import MemoryQuota, NotebookCheck
from harness.courses.page_check import check_page, page_to_check
from harness.people.notebook import NotebookRun

URL = "https://nb.learn.mit.edu/tmplogin?course=trees.1&notebook=a.ipynb"


class Window:
    """A browser window with these widgets on its page, and these messages on its console."""

    def __init__(self, *widgets: list[str], console: tuple[str, ...] = (), error: str = "") -> None:
        self.looks, self.error = list(widgets), error
        self.opened, self.has_run = "", False
        self.console_errors: list[str] = []
        self._console = console

    def open(self, url: str) -> None:
        self.opened = url

    def wait_for_notebook(self, part: str) -> None:
        if self.error:
            raise HarnessError(self.error)

    def run_all_cells(self) -> None:
        self.has_run = True

    def widgets(self) -> list[str]:
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def update_timeline(self) -> None:
        self.console_errors += self._console


def check(notebook: str = "a.ipynb", *, widgets: bool = False, **what: Any) -> NotebookCheck:
    run = NotebookRun(1, 1, 0.0, None, died=False, widgets=widgets)
    given = {"url": URL, "opened": True, "run": run, **what}
    return NotebookCheck("trees.1", notebook, MemoryQuota(2, 4), **given)


def troubles(window: Any, **what: Any) -> list[str]:
    return check_page(window, "http://127.0.0.1:8000", check(**what))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_check, "PAGE_TIMEOUT", 1.5)


def test_page_without_widgets_is_opened_and_not_run() -> None:
    window = Window()
    assert troubles(window) == []
    assert (window.opened, window.has_run) == ("http://127.0.0.1:8000/tmplogin?course=trees.1&notebook=a.ipynb", False)


def test_widget_that_is_shown() -> None:
    """A widget may take its time, and one without a text is one."""
    window = Window([], ["Loading widget..."], [""])
    assert troubles(window, widgets=True) == []
    assert window.has_run


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], "no output is a widget"),
        (["Loading widget..."], "widgets that are loading"),
        (["Error displaying widget: model not found"], "Error displaying widget: model not found"),
        (["Error creating widget: could not find model"], "Error creating widget: could not find model"),
    ],
)
def test_widget_that_is_not_shown(texts: list[str], found: str) -> None:
    """The page's half is missing or does not fit: what the page has in its place is named, and what to install."""
    [trouble] = troubles(Window(texts), widgets=True)
    assert trouble.startswith("its widgets work in the kernel, and the page does not show them: ")
    assert found in trouble
    assert "jupyterlab_widgets, in a version that fits ipywidgets" in trouble


@pytest.mark.parametrize(
    "message",
    [
        "http://h/x.js 1:2 \"Error: Module @jupyter-widgets/controls, version ^2 is not registered, however, 1.5 is\"",
        "http://h/x.js 1:2 \"Error: Class FigureModel not found in module bqplot\"",
        "http://h/user/1/lab/extensions/bqplot/static/remoteEntry.js - Failed to load resource: status of 404",
        "http://h/x.js 1:2 \"widget model not found\"",
        "http://h/x.js 1:2 \"Failed to create module: package: bqplot; module: ./index\"",
    ],
)  # fmt: skip
def test_console_that_misses_a_part(message: str) -> None:
    [trouble] = troubles(Window(console=(message, message)))
    assert trouble == f"its page lacks a part, its console has: {message}"


@pytest.mark.parametrize(
    "message",
    [
        "http://h/static/favicon.ico - Failed to load resource: the server responded with a status of 404 (Not Found)",
        "https://cdn/MathJax.js?config=x - Failed to load resource: net::ERR_NAME_NOT_RESOLVED",
        "http://h/notebook_core.js 500:206 Uncaught TypeError: Cannot read properties of undefined (reading 'schema')",
        'http://h/notebook_core.js 471:37312 "Exception opening new comm"',
    ],
)
def test_console_message_of_no_concern(message: str) -> None:
    assert troubles(Window(console=(message,))) == []


def test_page_that_does_not_open() -> None:
    found = troubles(Window(error="the list of files opened"))
    assert found == ["its page does not open in a browser: the list of files opened"]


def test_page_to_check() -> None:
    """One with widgets that is fit, or else the first that opened; none of another course, and none that did not."""
    other, shut, plain = check(), check("shut.ipynb", opened=False), check("plain.ipynb")
    other.course = "forests"
    unfit, slider = check("unfit.ipynb", widgets=True, troubles=["x"]), check("slider.ipynb", widgets=True)
    assert page_to_check([other, shut, plain, unfit, slider], "trees.1") is slider
    assert page_to_check([other, shut, plain, unfit], "trees.1") is plain
    assert page_to_check([other, shut], "trees.1") is None
