"""Artifacts: everything that a run needs and that is not written here, built or pulled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from harness.build import build, is_built
from harness.layout import Layout, LayoutStore
from harness.made import Artifacts
from harness.pull import choose, is_pulled, pull
from harness.steps import Steps
from harness.versions import read_versions

__all__ = ["Artifacts", "Layout", "LayoutStore", "cached", "chart_repository", "choose", "get", "pinned_chart"]


def get(how: str, cache: Path, mirrors: Mapping[str, str], steps: Steps) -> Artifacts:
    """The artifacts of a run.

    Args:
        how: 'build' or 'pull'.
        mirrors: where 'pull' finds what is published at docker.io, quay.io, registry.k8s.io and tools.

    Raises:
        HarnessError: something cannot be built or pulled.
    """
    versions = read_versions()
    return build(versions, cache, steps) if how == "build" else pull(versions, mirrors, cache, steps)


def cached(how: str, cache: Path, mirrors: Mapping[str, str] = MappingProxyType({})) -> bool:
    """Whether getting the artifacts has nothing to do. Needs Docker's daemon."""
    versions = read_versions()
    return is_built(versions, cache) if how == "build" else is_pulled(versions, mirrors, cache)


def pinned_chart(checkout: Path) -> str:
    """Version of the JupyterHub chart that a run uses unless it is told otherwise."""
    return read_versions(checkout / "images/versions.toml").get("chart", "version")


def chart_repository(checkout: Path) -> str:
    """Address of the Helm repository that publishes the chart."""
    return read_versions(checkout / "images/versions.toml").get("chart", "repository")
