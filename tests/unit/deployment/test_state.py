"""The state of a kept copy, and the fingerprints that decide whether it is used again."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.charts import chart
from harness.cluster import kind
from harness.deployment import state
from harness.deployment.state import State
from harness.plan.plan import Plan
from harness.services import keycloak

Planner = Callable[..., Plan]


class TestState:
    def test_is_kept(self, tmp_path: Path) -> None:
        State(tmp_path / "state.json").set("cluster", "abc")
        again = State(tmp_path / "state.json")
        assert (again.get("cluster"), again.get("services")) == ("abc", None)

    def test_a_write_takes_nothing_back_that_another_wrote(self, tmp_path: Path) -> None:
        one, other = State(tmp_path / "state.json"), State(tmp_path / "state.json")
        one.set("cluster", "made")
        one.set("jupyterhub", "a release")
        other.set("images", "[]")
        one.forget("jupyterhub")
        other.set("images", '["1"]')
        assert [one.get(key) for key in ("cluster", "jupyterhub", "images")] == ["made", None, '["1"]']

    def test_clear(self, tmp_path: Path) -> None:
        state = State(tmp_path / "state.json")
        state.set("cluster", "abc")
        state.clear()
        assert (state.get("cluster"), State(tmp_path / "state.json").get("cluster")) == (None, None)

    def test_a_run_killed_while_it_writes_leaves_what_was(
        self, tmp_path: Path, killed_while_writing: Callable[[], AbstractContextManager[None]]
    ) -> None:
        state = State(tmp_path / "state.json")
        state.set("cluster", "abc")
        with killed_while_writing():
            state.set("services", "started")
        again = State(tmp_path / "state.json")
        assert (again.get("cluster"), again.get("services")) == ("abc", None)


class TestDescribeChanges:
    def test_named(self) -> None:
        before = state.fingerprints({"the chart": "1", "values mine.yaml": "a: 1", "spawner one.py": "pass"})
        now = state.fingerprints({"the chart": "2", "values mine.yaml": "a: 1", "spawner two.py": "pass"})
        assert state.describe_changes(before, now) == "spawner one.py and spawner two.py and the chart have changed"

    def test_one(self) -> None:
        assert state.describe_changes(state.fingerprints({"a": "1"}), state.fingerprints({"a": "2"})) == "a has changed"

    def test_many(self) -> None:
        before, now = ({f"image {number}": version for number in range(9)} for version in "12")
        shown = state.describe_changes(state.fingerprints(before), state.fingerprints(now))
        assert shown == "image 0 and image 1 and image 2 and image 3 and 5 more have changed"

    def test_of_a_release(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        for name in ("values.yaml", "mine/values.yaml", "spawner.py", "Chart.yaml"):
            (tmp_path / name).write_text("1")
        source = chart.Chart(tmp_path / "Chart.yaml", "1", "test")
        files = (tmp_path / "values.yaml", tmp_path / "mine/values.yaml")
        wanted = chart.Release("a", "b", files, {chart.SPAWNER_KEY: tmp_path / "spawner.py"}, {"a.b": [1]})
        before = state.release_fingerprint(source, wanted)
        assert before == state.release_fingerprint(source, wanted)
        for name, description in (
            ("values.yaml", "values values.yaml has changed"),
            ("mine/values.yaml", "values values.yaml (2) has changed"),
            ("spawner.py", "spawner spawner.py has changed"),
            ("Chart.yaml", "the chart has changed"),
        ):
            (tmp_path / name).write_text("2")
            assert state.describe_changes(before, state.release_fingerprint(source, wanted)) == description
            (tmp_path / name).write_text("1")
        other = dataclasses.replace(wanted, replaced={"a.b": [2]})
        assert state.describe_changes(before, state.release_fingerprint(source, other)) == "value a.b has changed"


class TestClusterFingerprint:
    MADE: Any = SimpleNamespace(
        node_image="node",
        services={"registry": "registry", "moto": "moto", "postgres": "postgres"},
        images={"quay.io/jupyterhub/k8s-hub": SimpleNamespace(digest="sha256:1")},
    )

    def test_same(self, planned: Planner) -> None:
        one = state.cluster_fingerprint(planned(), self.MADE)
        assert one == state.cluster_fingerprint(planned(keep=True, chart="builtin", install="never"), self.MADE)

    @pytest.mark.parametrize(
        "options", [{"hub_port": "8000"}, {"authoring_port": "8000"}, {"mirror": "quay.io=here.example"}]
    )
    def test_options_count(self, planned: Planner, options: dict[str, str]) -> None:
        one = state.cluster_fingerprint(planned(), self.MADE)
        assert one != state.cluster_fingerprint(planned(**options), self.MADE)

    @pytest.mark.parametrize(
        "changed", [{"node_image": "another"}, {"services": {"registry": "registry", "moto": "another"}}]
    )
    def test_artifacts_count(self, planned: Planner, changed: dict[str, Any]) -> None:
        other: Any = SimpleNamespace(**{**vars(self.MADE), **changed})
        plan = planned()
        assert state.cluster_fingerprint(plan, self.MADE) != state.cluster_fingerprint(plan, other)

    def test_the_charts_own_images_count(self, planned: Planner) -> None:
        images = {"quay.io/jupyterhub/k8s-hub": SimpleNamespace(digest="sha256:2")}
        other: Any = SimpleNamespace(**{**vars(self.MADE), "images": images})
        plan = planned()
        now = state.describe_changes(state.cluster_fingerprint(plan, self.MADE), state.cluster_fingerprint(plan, other))
        assert now == "an image of the chart has changed"

    @pytest.mark.parametrize("module", [kind, keycloak], ids=["nodes", "services"])
    def test_another_way_to_start_them_counts(
        self, planned: Planner, module: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """An option that only a newer version of the harness starts them with is not to be had in a kept copy."""
        plan = planned()
        before = state.cluster_fingerprint(plan, self.MADE)
        folder = shutil.copytree(Path(module.__file__).parent, tmp_path / "newer")
        monkeypatch.setattr(sys.modules[module.__package__], "__file__", str(folder / "__init__.py"))
        monkeypatch.setattr(module, "__file__", str(folder / Path(module.__file__).name))
        Path(module.__file__).write_text("# another way")
        now = state.describe_changes(before, state.cluster_fingerprint(plan, self.MADE))
        assert now == "how the harness makes it has changed"

    def test_another_realm_of_keycloaks_counts(
        self, planned: Planner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """It is read at the first start alone, and the name of a pulled image does not tell of it."""
        plan = planned()
        before = state.cluster_fingerprint(plan, self.MADE)
        monkeypatch.setattr(state, "REALMS", tmp_path)
        (tmp_path / "olapps-realm.json").write_text("{}")
        assert before != state.cluster_fingerprint(plan, self.MADE)
