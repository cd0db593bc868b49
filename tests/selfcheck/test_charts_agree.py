"""The built-in chart makes of the same values what the upstream chart makes of them.

Everything that both render from our own values files is compared, whatever values the run is given, so that an
unforeseen difference is seen too. What may differ is in one table, with its reasons.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from harness.charts.chart import SPAWNER_KEY, Chart, Release
from harness.charts.helm import Helm
from harness.charts.manifests import Manifest, containers, hub_values
from harness.deployment.scaling import write_overlay
from harness.plan.plan import Plan

MAY_DIFFER = {
    r".* metadata\.labels\.(chart|helm\.sh/chart)": "names the chart itself",
    r".* spec\.template\.spec\.containers\.[\w-]+\.image": "each chart pins its own; a puller has what values choose",
    r".*\.annotations\.checksum/[\w-]+": "a digest of something compared here, or of something random",
    r"PriorityClass/.* description": "words for people",
    r"PriorityClass/.* metadata\.annotations\.meta\.helm\.sh/.*": "Helm adds the same by itself",
    r"ConfigMap/hub data\..*": "the hub's program; the values that it runs on are compared",
    r"Secret/hub data\.hub\.config\..*": "random",
    r"Secret/hub data\.values\.yaml": "each chart's own defaults are in it; compared key by key",
    r"Deployment/hub .*volumeMounts\./usr/local/etc/jupyterhub/(z2jh\.py|config/)\..*": "parts of upstream's program",
}

# The built-in chart has no other versions of these than its own.
MAY_DIFFER_IN_VALUES = r"Chart\..*|.*\.image\.tag"

POLICIES = {
    "singleuser.networkPolicy.enabled": True,
    "singleuser.networkPolicy.interNamespaceAccessLabels": "accept",
    "singleuser.networkPolicy.allowedIngressPorts": [8888],
    "singleuser.networkPolicy.egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}],
    "hub.networkPolicy.egressAllowRules.privateIPs": False,
    "hub.networkPolicy.ingress": [{"from": [{"podSelector": {}}]}],
    "proxy.chp.networkPolicy.egressAllowRules.dnsPortsPrivateIPs": False,
    "proxy.chp.networkPolicy.egressAllowRules.nonPrivateIPs": False,
}
"""Values of network policies that ours leave at their defaults."""

VALUES = {"jupyterhub": "production.yaml", "jupyterhub-authoring": "authoring.yaml"}
"""Our own values of each hub."""

Flat: TypeAlias = dict[str, Any]
Objects: TypeAlias = dict[str, Manifest]


@pytest.fixture(scope="module", params=VALUES)
def release(
    request: pytest.FixtureRequest,
    plan: Plan,
    releases: Mapping[str, Release],
    tmp_path_factory: pytest.TempPathFactory,
) -> Release:
    ours = plan.checkout / "helm/values" / VALUES[request.param]
    scaled = tmp_path_factory.mktemp("scaled") / "scaled.yaml"
    return our_release(plan.checkout, ours, releases[request.param], scaled)


def our_release(checkout: Path, ours: Path, running: Release, scaled: Path) -> Release:
    """A running release with our own values, scaled for kind, and spawner in place of those that the run was given."""
    write_overlay([ours], scaled)
    *_, decided_by_every_run = running.values
    spawner = {SPAWNER_KEY: checkout / "helm/spawner/dynamicImageConfig.py"}
    return Release(running.name, running.namespace, (ours, scaled, decided_by_every_run), spawner)


@pytest.fixture(scope="module")
def builtin(helm: Helm, builtin_chart: Chart, release: Release) -> Objects:
    return by_name(helm.template(builtin_chart, release))


@pytest.fixture(scope="module")
def upstream(helm: Helm, upstream_chart: Chart, release: Release) -> Objects:
    return by_name(helm.template(upstream_chart, release))


def test_same_objects(builtin: Objects, upstream: Objects) -> None:
    """The built-in chart renders the same objects as the upstream chart, under the same names."""
    ours, theirs = set(builtin), set(upstream)
    assert ours == theirs, (
        f"rendered by the built-in chart alone: {sorted(ours - theirs)}, by upstream's alone: {sorted(theirs - ours)}"
    )


def test_same_content(builtin: Objects, upstream: Objects) -> None:
    """Every field of every object is what the upstream chart makes it."""
    ours, theirs = (
        {f"{name} {path}": leaf for name, manifest in objects.items() for path, leaf in leaves(readable(manifest))}
        for objects in (builtin, upstream)
    )
    found = differences(ours, theirs, "|".join(MAY_DIFFER))
    assert not found, "\n".join(found)


def test_policies_have_the_same_keys(helm: Helm, builtin_chart: Chart, upstream_chart: Chart, release: Release) -> None:
    """A network policy follows its values as the upstream chart's does."""
    other = replace(release, replaced={**release.replaced, **POLICIES})
    ours, theirs = (
        {
            f"{name} {path}": leaf
            for name, manifest in by_name(helm.template(chart, other)).items()
            if manifest["kind"] == "NetworkPolicy"
            for path, leaf in leaves(manifest)
        }
        for chart in (builtin_chart, upstream_chart)
    )
    found = differences(ours, theirs, "|".join(MAY_DIFFER))
    assert not found, "\n".join(found)


def test_hub_gets_the_same_values(builtin: Objects, upstream: Objects) -> None:
    """The hub gets the same values: those that are set, and the defaults of the keys that the built-in chart knows."""
    ours, theirs = (dict(leaves(hub_values(objects.values()))) for objects in (builtin, upstream))
    known = {path: leaf for path, leaf in theirs.items() if path in ours}
    found = differences(ours, known, MAY_DIFFER_IN_VALUES)
    assert not found, "\n".join(found)


def test_puller_goes_through_the_images_in_the_same_order(builtin: Objects, upstream: Objects) -> None:
    """The pre-puller goes through the same images in the same order."""
    puller = "DaemonSet/continuous-image-puller"
    assert (puller in builtin) == (puller in upstream), f"only one of the charts renders {puller}"
    ours, theirs = (
        [(container["name"], container["image"]) for container in containers(objects.get(puller, {}))]
        for objects in (builtin, upstream)
    )
    # The last one only keeps the pod there.
    pairs = zip_longest(ours[:-1], theirs[:-1])
    apart = next((f"{one}, where upstream's has {other}" for one, other in pairs if one != other), "")
    assert not apart, f"the built-in chart's puller has {apart}"
    if ours:
        first = ours[0][0]
        assert first == "image-pull-singleuser", f"the puller begins with {first}, and not with the hub's own image"


def by_name(manifests: list[Manifest]) -> Objects:
    named = {f"{manifest['kind']}/{manifest['metadata']['name']}": manifest for manifest in manifests}
    assert len(named) == len(manifests), "a chart renders an object twice"
    return named


def readable(manifest: Manifest) -> Manifest:
    """Return an object in which settings that Kubernetes takes in several forms have one form."""
    if manifest["kind"] == "Secret":
        plain = {key: base64.b64decode(value).decode() for key, value in (manifest.get("data") or {}).items()}
        return manifest | {"data": plain | (manifest.get("stringData") or {}), "stringData": None}
    if manifest["kind"] == "ConfigMap" and "config.yaml" in manifest["data"]:
        return manifest | {"data": {"config.yaml": yaml.safe_load(manifest["data"]["config.yaml"])}}
    if "rules" in manifest:
        return manifest | {"rules": dict.fromkeys(permissions(manifest["rules"]), "allowed")}
    return manifest


def permissions(rules: list[dict[str, list[str]]]) -> Iterator[str]:
    """Yield each single action that the rules of a role allow."""
    for rule in rules:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", ["*"]):
                    yield from (f"{verb} {group}/{resource}/{name}" for verb in rule["verbs"])


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every single setting with its path, in which entries of a list have their names, if they have any.

    An empty value of any form is no setting.
    """
    if isinstance(value, dict):
        entries = [(str(key), entry) for key, entry in value.items()]
    elif isinstance(value, list) and value:
        entries = [(str(label(entry, number)), entry) for number, entry in enumerate(value)]
    elif value in (None, {}, []):
        return
    else:
        yield path, value
        return
    for key, entry in entries:
        yield from leaves(entry, f"{path}.{key}".strip("."))


def label(entry: Any, number: int) -> str | int:
    if not isinstance(entry, dict):
        return number
    # Several mounts have the name of one volume.
    named: str | int = entry.get("mountPath") or entry.get("name") or number
    return named


def differences(ours: Flat, theirs: Flat, allowed: str) -> list[str]:
    """Return the differences that are not allowed, a line each."""
    return [
        f"{path}: the built-in chart makes it {ours.get(path)!r}, upstream's {theirs.get(path)!r}"
        for path in sorted(ours.keys() | theirs.keys())
        if ours.get(path) != theirs.get(path) and not re.fullmatch(allowed, path)
    ]
