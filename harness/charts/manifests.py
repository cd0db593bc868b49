"""What is in the objects that a chart renders."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

Manifest = dict[str, Any]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def images(manifests: Iterable[Manifest]) -> set[str]:
    """Every image that the objects of a release run, and the one that the hub runs for its users by default.

    A spawner may run others: which, only the spawner knows.
    """
    manifests = list(manifests)
    found = {container["image"] for manifest in manifests for container in containers(manifest)}
    singleuser = hub_values(manifests).get("singleuser", {})
    given = [singleuser.get("image")]
    if singleuser.get("cloudMetadata", {}).get("blockWithIptables"):
        given.append(singleuser.get("networkTools", {}).get("image"))
    return found | {f"{image['name']}:{image['tag']}" for image in given if image}


def containers(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The containers of a pod, or of what makes pods, those that run first being first."""
    spec = manifest.get("spec") or {}
    pod = spec.get("template", {}).get("spec") or spec
    for kind in ("initContainers", "containers"):
        yield from pod.get(kind) or ()


def variables(values: Mapping[str, Any]) -> dict[str, Any]:
    """The environment that `extraEnv` of `hub` or `singleuser` sets: by name a text, or where the value is from.

    The chart takes a mapping by name, and a list as a pod has it.
    """
    given = values.get("extraEnv") or {}
    if isinstance(given, list):
        return {each["name"]: each.get("value", each) for each in given}
    return dict(given)


def hub_values(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """The values as a release's hub gets them, the chart's defaults among them; none where there is no hub."""
    for manifest in manifests:
        if manifest["kind"] == "Secret" and "values.yaml" in (manifest.get("data") or {}):
            return dict(yaml.load(base64.b64decode(manifest["data"]["values.yaml"]), Loader))
    return {}
