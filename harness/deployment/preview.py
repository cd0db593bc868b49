"""A preview: what a change of the owners' checkout changes, by value, route, right, pipeline and Kubernetes object."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.charts.chart import SPAWNER_KEY, Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest
from harness.plan.hubs import AUTHORING, HUBS
from harness.plan.plan import Plan
from harness.plan.sources.ol_infrastructure import OlInfrastructure, release_of
from harness.program.difference import SECTIONS, Difference, Preview, compare, differences, merge_stacks
from harness.program.evaluation import HUBS as HUBS_PROGRAM
from harness.program.evaluation import Evaluation
from harness.program.model import Program, ProgramRelease


def preview(plan: Plan, theirs: OlInfrastructure, helm: Helm | None, chart: Chart | None) -> Preview | None:
    """Return what a checkout changes, or None where there is nothing to compare it with.

    Args:
        helm, chart: what renders objects; without them, objects are not compared.
    """
    if theirs.base is None or not theirs.values:
        return None
    before, notes = theirs.base.evaluation, []
    if theirs.base.trouble:
        notes.append(f"not checked: of {theirs.base.name}, {' '.join(theirs.base.trouble.split())}")
    if before is None:
        return Preview(theirs.base.name, (), tuple(notes), has_base=False)
    found: list[Difference] = []
    try:
        found += differences(before, theirs.evaluation)
    except HarnessError as error:
        notes.append(f"not checked: values: {' '.join(str(error).split())}")
    if helm and chart:
        objects, missing = _objects(_Renderer(plan, helm, chart), before, theirs.evaluation)
        found += objects
        notes += [f"objects are rendered by chart {chart.version}, {chart.origin}", *missing]
    else:
        notes.append("not checked: objects, because Helm and the chart are not at hand")
    found.sort(key=lambda each: (SECTIONS.index(each.section), each.where))
    return Preview(theirs.base.name, tuple(found), tuple(notes))


@dataclass(frozen=True)
class _Renderer:
    """Renders releases of a checkout by one chart."""

    plan: Plan
    helm: Helm
    chart: Chart
    trees: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rendered releases by what they are made of: most are the same for all stacks."""

    def tree(self, application: str, release: ProgramRelease) -> dict[str, Any]:
        """Return what a release is rendered to, by section, kind and name.

        Raises:
            HarnessError: the chart does not take the values.
        """
        key = json.dumps([application, release.name, release.namespace, release.values], sort_keys=True, default=str)
        if key not in self.trees:
            self.trees[key] = self._rendered(application, release)
        return self.trees[key]

    def _rendered(self, application: str, release: ProgramRelease) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="harness-preview-") as directory:
            file = Path(directory, "values.yaml")
            file.write_text(yaml.safe_dump(dict(release.values), allow_unicode=True), encoding="utf-8")
            more, spawner = self._given(release.name) if application == HUBS_PROGRAM else ((), {})
            asked = Release(release.name, release.namespace, (file, *more), spawner)
            return {"objects": _tree(release.name, self.helm.template(self.chart, asked))}

    def _given(self, name: str) -> tuple[tuple[Path, ...], dict[str, Path]]:
        """Return the values and the spawner that a person gave besides a checkout's."""
        plan, theirs = self.plan, self.plan.ol_infrastructure
        given = plan.authoring_values if name == plan.hub(AUTHORING).release else plan.values
        spawner = {} if theirs and plan.spawner == theirs.spawner else {SPAWNER_KEY: plan.spawner}
        # The first of a plan's files is the one of the checkout that is in use.
        return given[1:], spawner


def _objects(render: _Renderer, before: Evaluation, after: Evaluation) -> tuple[list[Difference], list[str]]:
    """Return the differences of rendered objects, and the releases that cannot be compared."""
    found: dict[Difference, list[str]] = {}
    missing: dict[str, list[str]] = {}
    stacks: dict[str, list[str]] = {}
    for (application, stack), program in sorted(after.programs.items()):
        base = before.programs.get((application, stack))
        if not base:
            continue
        stacks.setdefault(application, []).append(stack)
        try:
            pairs = list(_pairs(base, program))
        except HarnessError as error:
            missing.setdefault(f"objects of {application}: {' '.join(str(error).split())}", []).append(stack)
            continue
        for sides in pairs:
            try:
                differing = _compare_rendered(render, application, sides)
            except HarnessError as error:
                why = " ".join(str(error).split())
                missing.setdefault(f"objects of {sides[1].name}: {why}", []).append(stack)
                continue
            for each in differing:
                found.setdefault(each, []).append(stack)
    compared = {stack for its in stacks.values() for stack in its}
    notes = [f"not checked ({', '.join(its)}): {what}" for what, its in missing.items()]
    return merge_stacks(found, compared), notes


def _pairs(before: Program, after: Program) -> Iterator[tuple[ProgramRelease, ProgramRelease]]:
    """Yield the releases of the JupyterHub chart that both sides have."""
    if after.application == HUBS_PROGRAM:
        # By what they are: their names may have changed.
        yield from ((release_of(before, hub), release_of(after, hub)) for hub in HUBS)
        return
    known = {release.name: release for release in before.releases}
    for release in after.releases:
        if release.name in known and release.chart.rpartition("/")[2] == "jupyterhub":
            yield known[release.name], release


def _compare_rendered(
    render: _Renderer, application: str, sides: tuple[ProgramRelease, ProgramRelease]
) -> list[Difference]:
    """Return the differences of two releases' objects.

    Raises:
        HarnessError: they cannot be rendered, or not both by their charts.
    """
    versions = " and ".join(dict.fromkeys(side.version for side in sides))
    if " and " in versions and render.plan.chart in ("auto", "pinned"):
        raise HarnessError(f"charts {versions} are not both at hand (--chart takes one)")
    if dataclasses.replace(sides[0], place=sides[1].place) == sides[1]:
        return []
    return compare(*(render.tree(application, side) for side in sides))


def _tree(release: str, objects: list[Manifest]) -> dict[str, Any]:
    """Return a release's objects by kind and name, without digests of what else differs anyway."""
    tree = {}
    for manifest in objects:
        # What is in a Secret is compared as values, or is drawn anew each time.
        content = {**manifest, "data": sorted(manifest.get("data") or {})} if manifest["kind"] == "Secret" else manifest
        tree[f"{release}: {manifest['kind']}/{manifest['metadata']['name']}"] = _without_digests(content)
    return tree


def _without_digests(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_digests(each) for key, each in value.items() if not str(key).startswith("checksum/")}
    return [_without_digests(each) for each in value] if isinstance(value, list) else value
