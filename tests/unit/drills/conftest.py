"""Fixtures that the tests of drills share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.console import Console

from harness.base.progress import Steps
from harness.plan.options import OPTIONS
from harness.plan.plan import Plan, make_plan
from tests.unit.drills.examples import CHECKOUT


@pytest.fixture(scope="session")
def default_plan() -> Plan:
    """The plan of a run without options."""
    given = {option.name: [option.default] if option.default else [] for option in OPTIONS}
    return make_plan(given, checkout=CHECKOUT, cwd=CHECKOUT, environ={}, cluster_name="jh-1")


@pytest.fixture
def plan(default_plan: Plan, tmp_path: Path) -> Plan:
    """The plan of a run without options, which keeps its files in the test's own directory."""
    return dataclasses.replace(default_plan, state=tmp_path / "state", evidence=tmp_path / ".evidence")


@pytest.fixture
def steps() -> Steps:
    """Steps that go to the console."""
    return Steps(Console())


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package index: wheels have their package's name in them, and nothing else."""

    def download_wheel(package: str, into: Path) -> Path:
        wheel = into / f"{package}.whl"
        wheel.write_text(package)
        return wheel

    monkeypatch.setattr("harness.drills.planting.download_wheel", download_wheel)
