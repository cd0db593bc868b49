"""Read the objects that a chart renders."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

Manifest = dict[str, Any]
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def images(manifests: Iterable[Manifest]) -> set[str]:
    """Return every image that the objects of a release run, and the default one of users' servers.

    A custom spawner may run others.
    """
    manifests = list(manifests)
    found = {container["image"] for manifest in manifests for container in containers(manifest)}
    singleuser = hub_values(manifests).get("singleuser", {})
    given = [singleuser.get("image")]
    if singleuser.get("cloudMetadata", {}).get("blockWithIptables"):
        given.append(singleuser.get("networkTools", {}).get("image"))
    return found | {f"{image['name']}:{image['tag']}" for image in given if image}


def containers(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Yield the containers of a pod, or of an object that creates pods, in the order in which they start."""
    spec = manifest.get("spec") or {}
    pod = spec.get("template", {}).get("spec") or spec
    for kind in ("initContainers", "containers"):
        yield from pod.get(kind) or ()


def main_container(manifest: Manifest) -> dict[str, Any]:
    """Return the container that an object's pods are for; those of `extraContainers` come after it."""
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def variables(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment that `extraEnv` of a part sets: by name a text, or the value's source.

    The chart takes a list as in a pod, or a mapping by name, of texts or of entries as in a pod.

    Args:
        values: of the part, such as `hub`, `singleuser` or `proxy.chp`.
    """
    given = values.get("extraEnv") or {}
    entries = {each["name"]: each for each in given} if isinstance(given, list) else given
    return {name: each.get("value", each) if isinstance(each, Mapping) else each for name, each in entries.items()}


def secret_reference(variable: Any) -> Mapping[str, Any]:
    """Return the name and the key of the Secret that a variable of `variables` comes from; empty where it is none."""
    source = variable.get("valueFrom") if isinstance(variable, Mapping) else None
    reference = source.get("secretKeyRef") if isinstance(source, Mapping) else None
    return reference if isinstance(reference, Mapping) else {}


def hub_values(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """Return the values that a release's hub gets, with the chart's defaults; none where there is no hub."""
    for manifest in manifests:
        if manifest["kind"] == "Secret" and "values.yaml" in (manifest.get("data") or {}):
            return dict(yaml.load(base64.b64decode(manifest["data"]["values.yaml"]), Loader))
    return {}


def hub_image(manifests: Iterable[Manifest]) -> str:
    """Return the image of a release's hub, which has a Python and is on the nodes."""
    [hub] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Deployment", "hub")]
    return str(main_container(hub)["image"])
