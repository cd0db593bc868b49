"""Answers that are kept: by all that they come from, and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.program.closure import APPLICATIONS, closure
from harness.program.evaluate import Evaluator
from harness.program.evaluation import _Remembering


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was evaluated, and not answered from the cache."""
    found: list[str] = []

    def answer(_: Evaluator, request: Mapping[str, Any], what: str) -> dict[str, Any]:
        found.append(what)
        return {"read": ["secrets.yaml"], "number": len(found)}

    monkeypatch.setattr(Evaluator, "answer", answer)
    return found


@pytest.fixture
def evaluator(tmp_path: Path) -> _Remembering:
    (tmp_path / "secrets.yaml").write_text("a: 1")
    not_asked: Any = None
    return _Remembering(tmp_path, not_asked, kept=tmp_path, inputs={"hub": "1", "": "2"})


REQUEST = {"kind": "program", "directory": "/x/hub"}


def test_nothing_is_evaluated_twice(evaluator: _Remembering, asked: list[str]) -> None:
    assert evaluator.answer(REQUEST, "a")["number"] == evaluator.answer(REQUEST, "a")["number"] == 1
    assert asked == ["a"]


def test_a_file_beyond_the_closure_that_was_read_makes_it_anew(evaluator: _Remembering, asked: list[str]) -> None:
    evaluator.answer(REQUEST, "a")
    (evaluator.checkout / "secrets.yaml").write_text("b: 1")
    assert evaluator.answer(REQUEST, "a")["number"] == 2
    (evaluator.checkout / "secrets.yaml").unlink()
    assert evaluator.answer(REQUEST, "a")["number"] == 3


def test_pipelines_have_an_answer_of_their_own(evaluator: _Remembering, asked: list[str]) -> None:
    evaluator.answer(REQUEST, "a")
    evaluator.answer({"kind": "pipelines"}, "b")
    assert asked == ["a", "b"]
    assert len([json.loads(file.read_text()) for file in evaluator.kept.glob("*.json")]) == 2


def test_an_application_comes_from_its_own_files(tmp_path: Path) -> None:
    for name, directory in APPLICATIONS.items():
        (tmp_path / directory).mkdir(parents=True)
        (tmp_path / directory / "__main__.py").write_text(f"import tools.{name}\n")
        (tmp_path / directory / "Pulumi.CI.yaml").touch()
        (tmp_path / "src/tools").mkdir(exist_ok=True)
        (tmp_path / "src/tools" / f"{name}.py").touch()
    for name, other in (("jupyterhub", "jupyterhub_data"), ("jupyterhub_data", "jupyterhub")):
        found = {str(path) for path in closure(tmp_path, name)}
        assert {f"src/tools/{name}.py", str(APPLICATIONS[name] / "Pulumi.CI.yaml")} <= found
        assert not any(path.startswith(f"{APPLICATIONS[other]}/") or path == f"src/tools/{other}.py" for path in found)
