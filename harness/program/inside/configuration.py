"""A program's configuration for a stack: Pulumi.yaml and the stack's file, secrets as texts that name them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Configuration:
    """The configuration of a program for a stack.

    Attributes:
        stack: the name that the program sees; in older commits it has the project's prefix.
        values: texts by key, as Pulumi has them: what is nested is JSON.
        secret: keys of values that are, or hold, a secret.
    """

    project: str
    stack: str
    values: dict[str, str]
    secret: frozenset[str]


def read_configuration(directory: Path, stack_file: Path) -> Configuration:
    """Read the configuration of a program for one of its stacks."""
    project = yaml.safe_load((directory / "Pulumi.yaml").read_text(encoding="utf-8"))["name"]
    content = yaml.safe_load(stack_file.read_text(encoding="utf-8")) or {}
    stack = stack_file.name.removeprefix("Pulumi.").removesuffix(".yaml")
    values: dict[str, str] = {}
    secret = set()
    for name, value in (content.get("config") or {}).items():
        key = name if ":" in name else f"{project}:{name}"
        plain = _plain(value, f"secret:{stack_file.name}#{key}")
        if plain != value:
            secret.add(key)
        values[key] = _text(plain)
    return Configuration(project, stack, values, frozenset(secret))


def _plain(value: Any, name: str) -> Any:
    """Replace what is encrypted by a text that names it."""
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return name
        return {key: _plain(each, f"{name}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, f"{name}[{index}]") for index, each in enumerate(value)]
    return value


def _text(value: Any) -> str:
    if isinstance(value, dict | list | bool):
        return json.dumps(value)
    return "" if value is None else str(value)


def cluster_outputs(clusters: Path, reference: str) -> dict[str, Any]:
    """Return what is known of the cluster that a stack reference names; nothing if it names no cluster.

    Names and namespaces are those of the stack file that makes it. Made up is what the provider draws and only names
    things: the issuer of its accounts' tokens.

    Args:
        clusters: directory of the program that makes the clusters.
        reference: such as organization/PROJECT/applications.QA, which was infrastructure.aws.eks.applications.QA.
    """
    stack = _cluster(clusters, reference)
    if not stack:
        return {}
    cluster, _, environment = stack.rpartition(".")
    known: dict[str, Any] = {
        "cluster_identities": [{"oidcs": [{"issuer": f"https://oidc.invalid/{stack}"}]}],
        "cluster_name": f"{cluster}-{environment.lower()}",
    }
    for file in sorted(clusters.glob(f"Pulumi.*{stack}.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if listed := (content.get("config") or {}).get("eks:namespaces"):
            # The program adds this one to those that it is given.
            known["namespaces"] = [*listed, "operations"]
    return known


def _cluster(clusters: Path, reference: str) -> str:
    """Return the stack of a cluster that a reference names, as applications.QA; nothing if it names another project."""
    path = clusters / "Pulumi.yaml"
    if not path.is_file():
        return ""
    project = yaml.safe_load(path.read_text(encoding="utf-8"))["name"]
    *_, of_project, stack = ["", *reference.split("/")]
    if of_project == project or (not of_project and stack.startswith("infrastructure.aws.eks.")):
        return ".".join(stack.split(".")[-2:])
    return ""
