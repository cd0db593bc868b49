"""A preview of a checkout's change: what is compared, and what is said of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.charts.chart import Chart, Release
from harness.deployment.preview import preview
from harness.plan.hubs import STUDENT
from harness.plan.plan import Plan
from harness.plan.sources.ol_infrastructure import Base, OlInfrastructure
from harness.program.evaluation import DATA_HUB, Evaluation
from harness.program.model import Program, Resource
from tests.unit.fakes import owners_checkout

CHART = Chart(Path("chart"), "1.2.3", "built-in")


class Helm:
    """Renders an object with the release's values in it; refuses a value."""

    def template(self, _: Chart, release: Release) -> list[dict[str, Any]]:
        text = "".join(file.read_text() for file in release.values)
        if "refused" in text:
            raise HarnessError("the chart knows no key 'refused'\nSee --chart")
        return [{"kind": "ConfigMap", "metadata": {"name": f"{release.name}-config"}, "data": {"values": text}}]


def of_data_hub(program: Program, values: Mapping[str, Any]) -> Program:
    """Return the program of the data hub, with one release of these values."""
    [first, *_] = program.resources
    inputs = {**first.inputs, "name": "jupyterhub-data", "namespace": "jupyter-data", "values": values}
    resource = Resource(first.type, "jupyterhub-data", True, inputs, first.place)
    return dataclasses.replace(program, application=DATA_HUB, resources=(resource,))


@pytest.fixture
def compare(planned: Callable[..., Plan], tmp_path: Path) -> Callable[..., list[str]]:
    """Return the lines of a preview of two checkouts, both with a data hub if they are given its values."""

    def compare(
        before: OlInfrastructure, after: OlInfrastructure, *data: Mapping[str, Any], trouble: str = ""
    ) -> list[str]:
        sides = [
            _with_data_hub(each.evaluation, data[at]) if data else each.evaluation
            for at, each in enumerate((before, after))
        ]
        base = Base("1234 of today", sides[0], trouble)
        theirs = dataclasses.replace(after, evaluation=sides[1], base=base)
        found = preview(planned(theirs=theirs), theirs, Helm(), CHART)  # type: ignore[arg-type]  # a fake
        return [line.strip() for line in found.lines()] if found else []

    return compare


def _with_data_hub(evaluation: Evaluation, values: Mapping[str, Any]) -> Evaluation:
    data = {(DATA_HUB, stack): of_data_hub(program, values) for (_, stack), program in evaluation.programs.items()}
    return dataclasses.replace(evaluation, programs={**evaluation.programs, **data})


def test_values_and_objects(compare: Callable[..., list[str]], tmp_path: Path) -> None:
    before, after = (owners_checkout(tmp_path / name, cull={"timeout": it}) for name, it in (("a", 900), ("b", 3600)))
    found = compare(before, after)
    assert found[0] == "changed since 1234 of today: 4 values"
    assert f"values:          {STUDENT.release} cull.timeout: 900 → 3600" in found
    assert any(line.startswith("objects:") and "ConfigMap/jupyterhub-config" in line for line in found)
    assert found[-1] == "objects are rendered by chart 1.2.3, built-in"


def test_the_data_hub_is_rendered_as_well(compare: Callable[..., list[str]], tmp_path: Path) -> None:
    ours = owners_checkout(tmp_path / "a")
    found = compare(ours, ours, {"a": 1}, {"a": 2})
    assert any(line.startswith("values:") and "jupyterhub-data a: 1 → 2" in line for line in found)
    assert any(line.startswith("objects:") and "ConfigMap/jupyterhub-data-config" in line for line in found)


def test_a_chart_that_does_not_take_one_hub_still_renders_the_others(
    compare: Callable[..., list[str]], tmp_path: Path
) -> None:
    before, after = (owners_checkout(tmp_path / name, cull={"timeout": it}) for name, it in (("a", 900), ("b", 3600)))
    found = compare(before, after, {"refused": 1}, {"refused": 2})
    assert any(line.startswith("objects:") and "jupyterhub-config" in line for line in found)
    assert found[-1] == (
        "not checked (CI, Production, QA): objects of jupyterhub-data: the chart knows no key 'refused' See --chart"
    )


def test_what_does_not_evaluate_of_the_base_is_told(compare: Callable[..., list[str]], tmp_path: Path) -> None:
    ours = owners_checkout(tmp_path / "a")
    found = compare(ours, ours, trouble="main.py, line 1: NameError\nno")
    assert found[0] == "changed since 1234 of today: nothing that would be applied"
    assert "not checked: of 1234 of today, main.py, line 1: NameError no" in found


def test_a_base_that_does_not_evaluate_at_all(planned: Callable[..., Plan], tmp_path: Path) -> None:
    theirs = dataclasses.replace(owners_checkout(tmp_path / "a"), base=Base("1234", None, "no uv.lock"))
    found = preview(planned(theirs=theirs), theirs, None, None)
    assert found
    assert list(found.lines()) == ["changed since 1234: not known", "  not checked: of 1234, no uv.lock"]
    assert preview(planned(theirs=theirs), dataclasses.replace(theirs, base=None), None, None) is None
