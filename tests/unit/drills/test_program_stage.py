"""A drill of the owners' program, planted in a copy of a small checkout."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.drills import program_stage, pytest_run
from harness.drills.judge import SuiteRun
from harness.drills.model import DoesNotApplyError, Drill, NoCheckoutError, Replacement
from harness.drills.program_stage import ProgramStage
from harness.plan.plan import Plan
from harness.program.closure import APPLICATIONS
from harness.program.revision import base_of
from tests.unit import fakes
from tests.unit.drills.examples import OF_THE_PROGRAM, PASSED

PROGRAM = str(APPLICATIONS["jupyterhub"] / "__main__.py")
BEFORE = 'route("/*")\n'


@pytest.fixture
def owners(tmp_path: Path) -> Path:
    """A checkout with a program of one line, a lock, and what no evaluation reads."""
    checkout = tmp_path / "owners"
    file = checkout / PROGRAM
    file.parent.mkdir(parents=True)
    file.write_text(BEFORE)
    for name in ("uv.lock", "pyproject.toml", "README.md", ".git/HEAD", "src/__pycache__/a.pyc"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(name)
    return checkout


@pytest.fixture
def stage(plan: Plan, owners: Path, tmp_path: Path) -> ProgramStage:
    """The stage of a run that was given the checkout."""
    theirs = dataclasses.replace(fakes.owners_checkout(tmp_path / "evaluated"), checkout=owners)
    return ProgramStage(dataclasses.replace(plan, ol_infrastructure=theirs))


def drill(replaced: str = "/*", by: str = "/hub/*", file: str = PROGRAM) -> Drill:
    return dataclasses.replace(OF_THE_PROGRAM, program={file: (Replacement((replaced,), (by,)),)})


def test_the_tests_are_given_an_edited_copy(stage: ProgramStage, owners: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Plan] = []

    def run_tests(plan: Plan, tests: Sequence[str], evidence: Path, timeout: float) -> SuiteRun:
        given.append(plan)
        return PASSED

    monkeypatch.setattr(program_stage, "run_tests", run_tests)
    assert stage.plant(drill())(["a"], 1) is PASSED
    [plan] = given
    assert plan.ol_infrastructure
    copy = plan.ol_infrastructure.checkout
    assert (copy / PROGRAM).read_text() == 'route("/hub/*")\n'
    assert (owners / PROGRAM).read_text() == BEFORE
    there = {str(file.relative_to(copy)) for file in copy.rglob("*") if file.is_file()}
    assert there == {PROGRAM, "uv.lock", "pyproject.toml"}
    assert f"--ol-infrastructure={copy}" in pytest_run.pytest_options(plan)
    stage.restore()
    assert not copy.exists()


def test_nothing_of_the_drill_before_is_left(stage: ProgramStage) -> None:
    stage.plant(drill())
    stage.plant(drill(by="/lab/*"))
    assert (stage.copy / PROGRAM).read_text() == 'route("/lab/*")\n'


def test_without_a_checkout(plan: Plan) -> None:
    with pytest.raises(NoCheckoutError, match="give --ol-infrastructure"):
        ProgramStage(plan).plant(drill())


@pytest.mark.parametrize(
    ("planted", "complaint"),
    [(drill("/nowhere"), "__main__.py: expected once the text"), (drill(file="src/none.py"), "no file src/none.py")],
    ids=["text", "file"],
)
def test_a_checkout_without_what_it_changes(stage: ProgramStage, planted: Drill, complaint: str) -> None:
    with pytest.raises(DoesNotApplyError, match=complaint):
        stage.plant(planted)


def test_edits_that_change_nothing(stage: ProgramStage) -> None:
    with pytest.raises(HarnessError, match=r"program\.yaml, line 2: .*: it leaves .*__main__\.py as it was"):
        stage.plant(drill(by="/*"))


def test_another_program_is_another_fingerprint(stage: ProgramStage, owners: Path) -> None:
    before = stage.fingerprint_of(drill())
    assert stage.fingerprint_of(dataclasses.replace(drill(), written="8")) != before
    (owners / PROGRAM).write_text("route()\n")
    assert ProgramStage(stage.plan).fingerprint_of(drill()) != before


def test_the_copy_is_compared_with_no_commit_of_ours(
    stage: ProgramStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy lies in a repository, the harness's own, whose history is not the program's."""
    git: list[Any] = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet", "-b", "main"], ["commit", "--quiet", "--allow-empty", "-m", "a"]):
        subprocess.run([*git, *command], check=True, timeout=20)
    python = fakes.Program(tmp_path, "python", 'echo "$GIT_CEILING_DIRECTORIES $HARNESS_BASE" >"$calls.env"')
    monkeypatch.setenv("HARNESS_BASE", "main")
    stage.plant(drill())
    assert base_of(stage.copy)
    pytest_run.run_tests(stage.plan, ["a"], tmp_path / "evidence", 20, python.path)
    ceiling, _, base = next(tmp_path.rglob("*.env")).read_text().strip().partition(" ")
    assert not base
    monkeypatch.setitem(os.environ, "GIT_CEILING_DIRECTORIES", ceiling)
    assert not base_of(stage.copy)
