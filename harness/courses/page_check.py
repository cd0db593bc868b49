"""The check of one page of a course in a real browser: what only a screen shows, and the lines of the console."""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.base.errors import HarnessError
from harness.base.wait import NotYet, wait_until
from harness.courses.notebook_check import HOST, NotebookCheck
from harness.people.browser import PAGE_TIMEOUT, Browser

MISSING = re.compile(
    r"/(lab/extensions|nbextensions)/\S+ - Failed to load|\bmodel not found|\bmodule\b.*\bnot (found|registered)"
    r"|\bclass\b.*\bnot found in|cannot find module|could not (create|find|load) (a )?(model|module|view|widget|class)"
    r"|failed to (create|fetch|initialize|load) (a )?(model|module|view|widget|extension)|error loading|ChunkLoadError"
    r"|script error for",
    re.IGNORECASE,
)
"""Messages on the console about a part of the page that the image lacks; others are of no concern to learners."""
NOT_SHOWN = re.compile(r"error (displaying|creating|rendering)|model not found", re.IGNORECASE)
"""Text that a page has in the place of a widget (jupyterlab_widgets, renderer.ts)."""


def page_to_check(checks: Iterable[NotebookCheck], course: str) -> NotebookCheck | None:
    """Return the notebook whose page shows most: one that is fit and has widgets, or else the first that opened."""
    opened = [check for check in checks if check.course == course and check.opened]
    with_widgets = [check for check in opened if check.run and check.run.widgets and not check.troubles]
    return next(iter(with_widgets + opened), None)


def check_page(window: Browser, hub_url: str, check: NotebookCheck) -> list[str]:
    """Open a notebook in a browser, run it there if it has widgets, and return what is wrong with its page."""
    troubles = []
    try:
        window.open(check.url.replace(HOST, hub_url, 1))
        window.wait_for_notebook(part=".jp-Cell")
        if check.run and check.run.widgets and not check.troubles:
            window.run_all_cells()
            troubles += _why_no_widget(window, PAGE_TIMEOUT + 2 * check.run.seconds)
    except HarnessError as error:
        troubles.append(f"its page does not open in a browser: {error}")
    window.update_timeline()
    missing = list(dict.fromkeys(message for message in window.console_errors if MISSING.search(message)))
    return troubles + [f"its page lacks a part, its console has: {message.strip()[:300]}" for message in missing[:3]]


def _why_no_widget(window: Browser, seconds: float) -> list[str]:
    """Wait until a widget is on the page, and return why there is none."""

    def shown() -> str | NotYet:
        texts = window.widgets()
        settled = [text for text in texts if not text.startswith("Loading widget")]
        return settled[0] if settled else NotYet("widgets that are loading" if texts else "no output is a widget")

    try:
        text = wait_until("a widget on the page", shown, timeout=seconds)
    except HarnessError as error:
        found = str(error).splitlines()[0]
    else:
        if not NOT_SHOWN.search(text):
            return []
        found = text.splitlines()[0]
    return [
        f"its widgets work in the kernel, and the page does not show them: {found}. "
        "Install the page's half too: jupyterlab_widgets, in a version that fits ipywidgets (pip install ipywidgets)"
    ]
