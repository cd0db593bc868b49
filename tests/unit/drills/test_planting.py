"""A drill's changes, made to a plan and to a course's image."""

from __future__ import annotations

import base64
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.base.errors import HarnessError
from harness.base.shell import run
from harness.charts.values import merge_values
from harness.deployment.gate import gate_routes
from harness.drills.model import (
    DoesNotApplyError,
)
from harness.drills.planting import build_changed_image, download_wheel, plant, values_with_wheel
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.plan import Plan
from tests.unit import fakes
from tests.unit.drills.examples import (
    BUILTIN,
    read_drill,
)


class TestPlanting:
    def test_only_what_the_drill_changes(self, plan: Plan, tmp_path: Path) -> None:
        changes = {"values": {"cull.every": 5}, "spawner": [{"replace": '"expires_days": 1', "with": "**{}"}]}
        found = plant(read_drill(tmp_path, **changes), plan, BUILTIN, tmp_path / "scratch")
        [values] = found.values
        assert yaml.safe_load(values.read_text())["cull"]["every"] == 5
        assert '["cookie_options"] = {**{}}' in found.spawner.read_text()
        assert (found.authoring_values, found.chart) == (plan.authoring_values, plan.chart)

    def test_a_chart(self, plan: Plan, tmp_path: Path) -> None:
        changes = {"chart": {"file": "Chart.yaml", "append": "# and more"}, "values": {"a": 1}}
        found = plant(read_drill(tmp_path, **changes), plan, BUILTIN, tmp_path / "scratch")
        assert (Path(found.chart) / "Chart.yaml").read_text().endswith("# and more\n")
        assert "and more" not in (BUILTIN.path / "Chart.yaml").read_text()

    def test_a_route_of_the_gate(self, plan: Plan, tmp_path: Path) -> None:
        changes = {
            "gate": {"jupyterhub.plugins.openid-connect.unauth_action": "pass"},
            "gate deleted": "jupyterhub-authoring.plugins.openid-connect",
        }
        found = plant(read_drill(tmp_path, **changes), plan, BUILTIN, tmp_path / "scratch")
        routes = gate_routes(found)
        assert routes[STUDENT].setting("unauth_action") == "pass"
        assert routes[STUDENT].setting("scope") == gate_routes(plan)[STUDENT].setting("scope")
        assert routes[AUTHORING].login is None
        assert found.spawner == plan.spawner

    def test_a_route_that_is_none_then(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match=r"gate.yaml: not routes of a gate: hosts: "):
            plant(read_drill(tmp_path, gate={"jupyterhub.hosts": []}), plan, BUILTIN, tmp_path / "scratch")

    def test_a_setting_that_the_gate_has_not(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(DoesNotApplyError, match=r"there is no value jupyterhub.plugins.cor to delete"):
            plant(
                read_drill(tmp_path, **{"gate deleted": "jupyterhub.plugins.cor"}), plan, BUILTIN, tmp_path / "scratch"
            )

    def test_a_file_that_the_chart_has_not(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(DoesNotApplyError, match="this chart has no file a"):
            plant(read_drill(tmp_path, chart={"file": "a", "append": "b"}), plan, BUILTIN, tmp_path / "scratch")

    def test_a_spawner_that_is_no_python_then(self, plan: Plan, tmp_path: Path) -> None:
        with pytest.raises(HarnessError, match="not Python"):
            plant(read_drill(tmp_path, spawner=[{"append": "("}]), plan, BUILTIN, tmp_path / "scratch")

    def test_a_package_in_both_hubs(self, plan: Plan, tmp_path: Path, no_index: None) -> None:
        found = plant(read_drill(tmp_path, **{"hub package": "culler==2"}), plan, BUILTIN, tmp_path / "scratch")
        for files in (found.values, found.authoring_values):
            hub = merge_values(files)["hub"]
            assert hub["extraFiles"]["wheel"] == {"mountPath": "/opt/culler==2.whl", "binaryData": "Y3VsbGVyPT0y"}
            assert hub["extraEnv"]["PYTHONPATH"] == "/opt/culler==2.whl"
            assert "DATABASE_URL" in hub["extraEnv"], "what was there is gone"

    def test_a_hub_imports_from_a_wheel(self, tmp_path: Path) -> None:
        wheel = tmp_path / "thing-2-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("thing/__init__.py", "version = 2")
        values = values_with_wheel(wheel)
        placed = tmp_path / Path(values["hub.extraEnv.PYTHONPATH"]).name
        placed.write_bytes(base64.b64decode(values["hub.extraFiles.wheel"]["binaryData"]))
        env = {"PYTHONPATH": str(placed)}
        assert run([sys.executable, "-c", "import thing; print(thing.version)"], env=env, timeout=20).strip() == "2"

    def test_no_such_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", fakes.Program(tmp_path, "python", "echo no match; exit 1").path)
        with pytest.raises(HarnessError, match=r"There is no wheel of culler==9\n  \| no match"):
            download_wheel("culler==9", tmp_path)

    def test_values_that_a_checkout_has_in_place_of_ours(
        self, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.drills.planting.replaced_values", lambda plan, role: {"prePuller.extraImages": {}})
        found = read_drill(tmp_path, **{"values deleted": ["prePuller.extraImages.a"]})
        with pytest.raises(DoesNotApplyError, match=r"a prePuller\.extraImages of its own"):
            plant(found, plan, BUILTIN, tmp_path / "scratch")


class TestImages:
    def test_of_the_changed_repository(self, tmp_path: Path) -> None:
        course = tmp_path / "trees"
        course.mkdir()
        (course / "Dockerfile").write_text("FROM base\n")
        (course / "a.ipynb").write_text("{}")
        built: dict[str, Any] = {}

        def images(tags: list[str], own: dict[str, Path]) -> dict[str, str]:
            files = {file.name: file.read_text() for file in own["trees"].iterdir()}
            built.update(files)
            return dict.fromkeys(tags, "layout")

        builder: Any = SimpleNamespace(images=images)
        change = {"course": "trees", "dockerfile": [{"append": "RUN x"}], "files": {"a.ipynb": None, "b": "text"}}
        found = read_drill(tmp_path, image=change)
        assert list(build_changed_image(found, builder, {"trees": course}, tmp_path)) == ["trees"]
        assert built == {"Dockerfile": "FROM base\n\nRUN x\n", "b": "text"}
        with pytest.raises(DoesNotApplyError, match="course trees has no repository"):
            build_changed_image(found, builder, {}, tmp_path)
        (course / "a.ipynb").unlink()
        with pytest.raises(DoesNotApplyError, match=r"no file a\.ipynb"):
            build_changed_image(found, builder, {"trees": course}, tmp_path)

    def test_no_image(self, tmp_path: Path) -> None:
        nobody: Any = None
        assert build_changed_image(read_drill(tmp_path), nobody, {}, tmp_path) == {}
