"""What students see of the notebook's menus and extensions: no more than production leaves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from harness.charts.manifests import variables
from harness.people.browser import Browser
from harness.people.link import EXAMPLE
from harness.scenarios.ahead import Arrival

MENUS = {"Tabs", "Edit", "View", "Run", "Kernel", "Git", "Settings", "Help"}
ENTRIES = {
    "hub:logout",
    "application:rename",
    "application:duplicate",
    "docmanager:save-as",
    "docmanager:save-all",
    "notebook:trust",
}
KEPT = "docmanager:save"
"""Their one way to save at once, for the button is hidden."""
BUTTONS = {"run", "runAll", "downloadNotebook"}
DISABLED = ("debugger", "nbdime", "application-extension:logo", ":trusted", ":dirty", "ol-jupyter-authoring")


@pytest.mark.opens(anybody=str(EXAMPLE))
def test_students_have_few_menus(browser: Browser) -> None:
    """Students have none of the menus, entries and buttons that production takes away, and those that it leaves."""
    browser.wait_for_notebook()
    menus = set(browser.texts(".lm-MenuBar-itemLabel"))
    left = MENUS & menus
    assert not left, f"students still have the menus {sorted(left)}"
    assert "File" in menus, f"students have no File menu; there are {sorted(menus)}"
    entries = set(browser.menu("File"))
    left = ENTRIES & entries
    assert not left, f"students still have {sorted(left)} in the File menu"
    assert "hub:control-panel" in entries, f"students have no Hub Control Panel in the File menu, but {sorted(entries)}"
    assert KEPT in entries, f"students cannot save: expected {KEPT} in the File menu, found {sorted(entries)}"
    buttons = set(browser.buttons(".jp-NotebookPanel-toolbar"))
    assert buttons == BUTTONS, f"students have the buttons {sorted(buttons)}, expected {sorted(BUTTONS)}"


def test_students_are_told_of_no_bucket(student_values: Mapping[str, Any]) -> None:
    """No student's server is told of the bucket that authors publish to."""
    bucket = variables(student_values["singleuser"]).get("NOTEBOOK_BUCKET")
    assert not bucket, f"students' servers are told of the bucket {bucket}"


@pytest.mark.students(anybody=str(EXAMPLE))
def test_extensions_are_off(arrivals: Mapping[str, Arrival]) -> None:
    """The extensions that production switches off are off in the student's server."""
    off = arrivals["anybody"].arrived.server.page_config()["disabledExtensions"]
    on = [name for name in DISABLED if not any(name in each for each in off)]
    assert not on, f"extensions that should be off: {on}; off are {off}"
