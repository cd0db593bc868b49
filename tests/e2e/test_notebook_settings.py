"""What students see of the notebook's menus and extensions: no more than production leaves them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from harness.browser import Browser
from harness.hub import Hub
from harness.link import EXAMPLE
from harness.student import Student

REMOVED = {"Tabs", "Edit", "View", "Run", "Kernel", "Git", "Settings", "Help"}
DISABLED = ("debugger", "nbdime", "application-extension:logo", ":trusted", ":dirty", "ol-jupyter-authoring")


def test_students_have_few_menus(browser: Browser, hub: Hub) -> None:
    """Students have none of the menus that production takes away."""
    browser.open(hub.url + str(EXAMPLE))
    browser.wait_for("the notebook", ".jp-Notebook h1")
    menus = set(browser.texts(".lm-MenuBar-itemLabel"))
    left = REMOVED & menus
    assert not left, f"students still have the menus {sorted(left)}"
    assert "File" in menus, f"students have no File menu; there are {sorted(menus)}"


def test_students_are_told_of_no_bucket(student_values: Mapping[str, Any]) -> None:
    """No student's server is told of the bucket that authors publish to."""
    bucket = student_values["singleuser"]["extraEnv"].get("NOTEBOOK_BUCKET")
    assert not bucket, f"students' servers are told of the bucket {bucket}"


def test_extensions_are_off(visit: Callable[[], Student]) -> None:
    """The extensions that production switches off are off in the student's server."""
    student = visit()
    student.open(str(EXAMPLE))
    with student.kernel() as kernel:
        read = "print(open('/home/jovyan/.jupyter/labconfig/page_config.json').read())"
        config = json.loads(kernel.run(read).stdout)
    off = [name for name, disabled in config["disabledExtensions"].items() if disabled]
    on = [name for name in DISABLED if not any(name in each for each in off)]
    assert not on, f"extensions that should be off: {on}; off are {off}"
