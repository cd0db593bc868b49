"""A preview: what a change of the owners' checkout changes, by value, route, right, pipeline and Kubernetes object."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import HarnessError
from harness.charts.chart import SPAWNER_KEY, Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest
from harness.plan.hubs import AUTHORING, HUBS, HubSpec
from harness.plan.plan import Plan
from harness.plan.sources.ol_infrastructure import OlInfrastructure
from harness.program.difference import SECTIONS, Difference, compare, differences, merge_stacks
from harness.program.evaluation import HUBS as HUBS_PROGRAM
from harness.program.evaluation import Evaluation
from harness.program.model import STACKS

SHOWN = 40
"""Differences of a section that lines show; a report has all of them."""


@dataclass(frozen=True)
class Preview:
    """What a change changes.

    Attributes:
        compared: the revision that it is compared with, in words.
        notes: what rendered the objects, and what could not be compared.
    """

    compared: str
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """Yield the preview in lines for the terminal."""
        count = len(self.differences)
        yield f"changed since {self.compared}: {f'{count} values' if count else 'nothing that would be applied'}"
        for section in SECTIONS:
            found = [each for each in self.differences if each.section == section]
            for each in found[:SHOWN]:
                yield f"  {section + ':':<17}{each}"
            if len(found) > SHOWN:
                yield f"  {section + ':':<17}{len(found) - SHOWN} more, in report.html"
        yield from (f"  {note}" for note in self.notes)


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
        return Preview(theirs.base.name, (), tuple(notes))
    found = differences(before, theirs.evaluation)
    if helm and chart:
        objects, why_not = _objects(plan, helm, chart, before, theirs.evaluation)
        found += objects
        notes.append(why_not or f"objects are rendered by chart {chart.version}, {chart.origin}")
    else:
        notes.append("not checked: objects, because Helm and the chart are not at hand")
    found.sort(key=lambda each: (SECTIONS.index(each.section), each.where))
    return Preview(theirs.base.name, tuple(found), tuple(notes))


def _objects(
    plan: Plan, helm: Helm, chart: Chart, before: Evaluation, after: Evaluation
) -> tuple[list[Difference], str]:
    """Return the differences of rendered objects, and why there are none where they cannot be compared."""
    found: dict[Difference, list[str]] = {}
    stacks = [stack for stack in STACKS if all((HUBS_PROGRAM, stack) in side.programs for side in (before, after))]
    for stack in stacks:
        for spec in HUBS:
            sides = [side.program(stack).release(spec.release) for side in (before, after)]
            versions = " and ".join(dict.fromkeys(side.version for side in sides))
            if " and " in versions and plan.chart in ("auto", "pinned"):
                return [], f"not checked: objects, for charts {versions} are not both at hand (--chart takes one)"
            if sides[0].values == sides[1].values:
                continue
            try:
                trees = [{"objects": _tree(_render(plan, helm, chart, spec, side.values))} for side in sides]
            except HarnessError as error:
                return [], f"not checked: objects of {spec.release} for {stack}: {error}"
            for each in compare(*trees):
                found.setdefault(each, []).append(stack)
    return merge_stacks(found, stacks), ""


def _render(plan: Plan, helm: Helm, chart: Chart, spec: HubSpec, values: Mapping[str, Any]) -> list[Manifest]:
    """Render a hub with a checkout's values, and with the values and the spawner that a person gave besides."""
    theirs = plan.ol_infrastructure
    given = plan.authoring_values if spec is AUTHORING else plan.values
    spawner = {} if theirs and plan.spawner == theirs.spawner else {SPAWNER_KEY: plan.spawner}
    with tempfile.TemporaryDirectory(prefix="harness-preview-") as directory:
        file = Path(directory, "values.yaml")
        file.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
        # The first of a plan's files is the one of the checkout that is in use.
        return helm.template(chart, Release(spec.release, spec.namespace, (file, *given[1:]), spawner))


def _tree(objects: list[Manifest]) -> dict[str, Any]:
    """Return objects by namespace, kind and name, without digests of what else differs anyway."""
    tree = {}
    for manifest in objects:
        # What is in a Secret is compared as values, or is drawn anew each time.
        content = {**manifest, "data": sorted(manifest.get("data") or {})} if manifest["kind"] == "Secret" else manifest
        tree[f"{manifest['kind']}/{manifest['metadata']['name']}"] = _without_digests(content)
    return tree


def _without_digests(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_digests(each) for key, each in value.items() if not str(key).startswith("checksum/")}
    return [_without_digests(each) for each in value] if isinstance(value, list) else value
