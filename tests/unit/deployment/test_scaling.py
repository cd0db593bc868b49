"""What kind needs otherwise than production, computed from a person's own values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.charts.values import nested, value_at
from harness.deployment import releases
from harness.deployment.scaling import DECIDED, RULES, describe_scaling, scale, write_overlay
from harness.drills.model import Drill
from harness.drills.promise_index import Layer, Promise, function_of
from harness.plan.hubs import AUTHORING, HUBS
from harness.plan.plan import Plan
from tests.unit.drills.examples import CHECKOUT, OURS

WATCHED = {**{rule.key: rule.watched_by for rule in RULES}, **DECIDED}
"""The promise that watches each key that something runs without."""
MEMORY, CPU = "singleuser.memory.guarantee", "singleuser.cpu.guarantee"
PROXY, REQUESTED = "proxy.chp.resources.limits.cpu", "proxy.chp.resources.requests.cpu"
SCHEDULERS, PLACEHOLDERS = "scheduling.userScheduler.replicas", "scheduling.userPlaceholder.replicas"
HTTP = "hub.config.Spawner.http_timeout"


@pytest.fixture
def on_kind(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A function that returns what kind has in place of some values, by dotted key."""

    def on_kind(values: dict[str, Any]) -> dict[str, Any]:
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(nested(values)))
        return {change.key: change.after for change in scale([tmp_path / "own.yaml"])}

    return on_kind


class TestWatch:
    """Each key that kind or a run hides is watched where production has its say."""

    @pytest.mark.parametrize("key", WATCHED)
    def test_the_promise_needs_nothing_that_runs(self, suite: dict[str, Promise], key: str) -> None:
        assert WATCHED[key] in suite, f"{key} is watched by {WATCHED[key]!r}, which is no promise"
        assert suite[WATCHED[key]].layer is Layer.RENDERED, f"{key}: {WATCHED[key]} needs something that runs"

    @pytest.mark.parametrize("key", WATCHED)
    def test_a_drill_shows_it(self, key: str) -> None:
        shown = [each for each in OURS if WATCHED[key] in map(function_of, each.caught_by) and changes(each, key)]
        assert shown, f"no drill changes {key} and is caught by {WATCHED[key]}"

    def test_what_a_run_decides(self, planned: Callable[..., Plan]) -> None:
        """All but the harness's own access, which no deployment has."""
        plan = planned()
        secrets = dict.fromkeys(("jupyterhub", "jupyterhub-authoring", "admin_password"), "s3cret")
        for spec in HUBS:
            releases.write_run_values(plan, spec, secrets)
            values = yaml.safe_load(releases.run_values_file(plan, spec).read_text())
            for own in ("services", "loadRoles"):
                assert set(values["hub"].pop(own)) == {"harness"}
            config = values.pop("hub").get("config", {})
            assert config == (
                {"SharedPasswordAuthenticator": {"admin_password": "s3cret"}} if spec is AUTHORING else {}
            )
            assert values == nested({key: value_at(values, key) for key in DECIDED})


def changes(drill: Drill, key: str) -> bool:
    """Return whether a drill changes a key, or one above it."""
    paths = [path for each in drill.values.values() for path in each.paths]
    return any(f"{key}.".startswith(f"{path}.") for path in paths)


class TestRule:
    @pytest.mark.parametrize(
        ("key", "before", "after"),
        [
            (MEMORY, "2G", "128M"),
            (MEMORY, "3G", "192M"),
            (MEMORY, 1600, 100),
            (CPU, 0.25, 0.01),
            (CPU, 1, 0.04),
            (PROXY, "100m", "1"),
            (PROXY, 0.5, "1"),
            (SCHEDULERS, 2, 1),
            (PLACEHOLDERS, 4, 1),
            (HTTP, 60, 600),
            ("hub.config.KubeSpawner.http_timeout", 20, 200),
            ("hub.config.KubeSpawner.k8s_api_request_timeout", 1, 10),
            ("hub.config.KubeSpawner.k8s_api_request_retry_timeout", 5, 50),
        ],
    )
    def test_theirs_is_scaled(
        self, on_kind: Callable[..., dict[str, Any]], key: str, before: object, after: object
    ) -> None:
        assert on_kind({key: before})[key] == after

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            (MEMORY, "2Gi"),
            (MEMORY, "two"),
            (MEMORY, None),
            (MEMORY, 0),
            (CPU, "250m"),
            (CPU, None),
            (PROXY, "lots"),
            (PROXY, "2"),
            (PROXY, 1),
            (PROXY, None),
            (SCHEDULERS, 0),
            (SCHEDULERS, 1),
            (SCHEDULERS, True),
            (SCHEDULERS, "2"),
            (PLACEHOLDERS, 0),
            (PLACEHOLDERS, -1),
            (HTTP, "30"),
            (HTTP, 0),
            ("scheduling", None),
            ("scheduling.userScheduler", "yes"),
            ("hub.config", None),
        ],
    )
    def test_stays_as_it_is(self, on_kind: Callable[..., dict[str, Any]], key: str, value: object) -> None:
        """What production would refuse is refused here too, and what is small enough needs no scale."""
        assert not [each for each in on_kind({key: value}) if f"{each}.".startswith(f"{key}.")]

    @pytest.mark.parametrize(
        ("values", "hidden"),
        [
            ({MEMORY: "6G", "singleuser.memory.limit": "4G"}, MEMORY),
            ({CPU: 0.5, "singleuser.cpu.limit": 0.1}, CPU),
            ({PROXY: "100m", REQUESTED: "200m"}, PROXY),
        ],
    )
    def test_what_exceeds_its_limit_still_does(
        self, on_kind: Callable[..., dict[str, Any]], values: dict[str, Any], hidden: str
    ) -> None:
        assert hidden not in on_kind(values)

    def test_a_guarantee_is_scaled_whatever_its_limit_is_worth(self, on_kind: Callable[..., dict[str, Any]]) -> None:
        assert on_kind({MEMORY: "2G", "singleuser.memory.limit": "4Gi"})[MEMORY] == "128M"
        assert on_kind({MEMORY: "2G", "singleuser.memory.limit": None})[MEMORY] == "128M"

    def test_what_nothing_sets_has_its_default(self, on_kind: Callable[..., dict[str, Any]]) -> None:
        assert on_kind({}) == {
            MEMORY: "64M",
            SCHEDULERS: 1,
            HTTP: 300,
            "hub.config.KubeSpawner.k8s_api_request_timeout": 30,
            "hub.config.KubeSpawner.k8s_api_request_retry_timeout": 300,
        }

    def test_a_default_here_is_the_charts(self) -> None:
        chart = yaml.safe_load((CHECKOUT / "helm/jupyterhub/values.yaml").read_text())
        for rule in RULES:
            if not rule.key.startswith("hub.config."):
                bare = dataclasses.replace(rule, default=None)
                assert list(rule.apply({})) == list(bare.apply(chart)), rule.key


class TestFiles:
    def test_later_ones_win(self, tmp_path: Path) -> None:
        files = [tmp_path / name for name in ("one.yaml", "two.yaml")]
        for file, copies in zip(files, (4, 0), strict=True):
            file.write_text(yaml.safe_dump(nested({SCHEDULERS: copies})))
        assert SCHEDULERS in {change.key for change in scale(files[:1])}
        assert SCHEDULERS not in {change.key for change in scale(files)}

    def test_overlay_has_what_is_scaled_and_no_more(self, tmp_path: Path) -> None:
        (tmp_path / "own.yaml").write_text(
            yaml.safe_dump({"singleuser": {"memory": {"guarantee": "4G", "limit": "8G"}}})
        )
        write_overlay([tmp_path / "own.yaml"], tmp_path / "scaled.yaml")
        found = yaml.safe_load((tmp_path / "scaled.yaml").read_text())
        assert found["singleuser"] == {"memory": {"guarantee": "256M"}}

    def test_a_hub_is_named_where_the_others_value_is_another(self, tmp_path: Path) -> None:
        own = [CHECKOUT / "helm/values" / name for name in ("production.yaml", "authoring.yaml")]
        more = tmp_path / "more.yaml"
        more.write_text(yaml.safe_dump(nested({MEMORY: "4G"})))
        found = describe_scaling(own[:1], [own[1], more]).split("; ")
        assert "proxy.chp.resources.limits.cpu 100m → 1" in found
        assert found[-3:] == [
            "singleuser.memory.guarantee 2G → 128M (students)",
            "scheduling.userPlaceholder.replicas 4 → 1 (students)",
            "singleuser.memory.guarantee 4G → 256M (authors)",
        ]
