"""The release on which the charts are compared: no change of the deployment reaches it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.deployment.releases import production
from harness.plan.hubs import HUBS
from harness.plan.options import OPTIONS
from harness.plan.plan import make_plan
from tests.selfcheck.test_charts_agree import VALUES, our_release

CHECKOUT = Path(__file__).resolve().parents[3]


def test_a_persons_values_and_spawner_are_left_out(tmp_path: Path) -> None:
    given = {option.name: [option.default] if option.default else [] for option in OPTIONS}
    for name in ("values", "authoring-values", "spawner"):
        file = tmp_path / name
        file.write_text("hub = {'authenticatePrometheus': False}" if name == "spawner" else "hub: {a: 1}")
        given[name] = [str(file)]
    plan = make_plan(given, checkout=CHECKOUT, cwd=tmp_path, environ={})
    for hub in HUBS:
        running = production(plan, hub)
        decided, scaled = tmp_path / "decided.yaml", tmp_path / "scaled.yaml"
        ours = CHECKOUT / "helm/values" / VALUES[hub.name]
        found = our_release(CHECKOUT, ours, dataclasses.replace(running, values=(*running.values, decided)), scaled)
        files = [*found.values, *found.set_files.values()]
        assert [file for file in files if not file.is_relative_to(CHECKOUT)] == [scaled, decided]
        assert all(file.is_file() for file in files if file != decided)
        assert (found.name, found.namespace, found.replaced) == (running.name, running.namespace, {})
