"""Artifacts: everything that a run needs and that is not written here, built or pulled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from harness.artifacts.build import build, build_addons, build_helm, build_named, build_service, built_service
from harness.artifacts.model import Artifacts
from harness.artifacts.oci import OciImage, OciStore
from harness.artifacts.pull import choose, pull, pull_helm, pull_service
from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.plan.versions import read_versions

__all__ = [
    "Artifacts",
    "OciImage",
    "OciStore",
    "chart_repository",
    "choose",
    "get",
    "get_addons",
    "get_helm",
    "get_named",
    "get_service",
    "kubernetes",
    "pinned_chart",
]


def kubernetes(how: str, wanted: str) -> str:
    """Return the version of Kubernetes that a run has.

    Args:
        how: 'build' or 'pull'.
        wanted: a version, or 'pinned'.

    Raises:
        HarnessError: it would have to be built, and is not the pinned one.
    """
    versions = read_versions()
    published = versions.get("published.images", "node").rpartition(":v")[2]
    pinned = versions.get("go", "k8s.io/kubernetes") if how == "build" else published
    if wanted == "pinned":
        return pinned
    if how == "build" and wanted != pinned:
        raise HarnessError(
            f"--kubernetes {wanted}: what is built is Kubernetes {pinned}, and no other. Give --artifacts pull with it"
        )
    return wanted


def get(
    how: str,
    kubernetes: str,
    services: Collection[str],
    cache: Path,
    mirrors: Mapping[str, str],
    steps: Steps,
    cold: Callable[[], None],
    *,
    addons: Collection[str] = (),
) -> Artifacts:
    """Build or pull the artifacts of a run; needs Docker's daemon.

    Args:
        how: 'build' or 'pull'.
        kubernetes: a version, as `kubernetes` returns it.
        services: names of the services whose images are among them.
        mirrors: locations by the upstream whose content they serve: docker.io, quay.io, registry.k8s.io, tools.
        cold: called before anything is built or pulled; not called if nothing is.
        addons: names of add-ons that a call of `get_addons` asks for afterwards: they are built beside the others, and
            one that does not build is left out.

    Raises:
        HarnessError: an artifact cannot be built or pulled.
    """
    versions = read_versions()
    if how == "build":
        return build(versions, services, cache, steps, cold, addons=addons)
    return pull(versions.with_kubernetes(kubernetes), mirrors, cache, steps, cold, services)


def get_service(how: str, name: str, cache: Path, mirrors: Mapping[str, str], steps: Steps) -> str:
    """Build or pull the image of one service, and return its name in Docker.

    Args:
        how: 'build' or 'pull'.

    Raises:
        HarnessError: it cannot be built or pulled.
    """
    versions = read_versions()
    if how == "build":
        return build_service(name, versions, cache, steps)
    return pull_service(name, versions, cache, mirrors, steps)


def find_service(how: str, name: str, cache: Path) -> str | None:
    """Return the name in Docker of one service's image; None where it has to be built or pulled.

    Args:
        how: 'build' or 'pull'.
    """
    return built_service(name, read_versions(), cache) if how == "build" else None


def get_addons(how: str, names: Collection[str], cache: Path, steps: Steps) -> dict[str, OciImage]:
    """Build the images of some add-ons, by their published names; none where nodes pull the published ones.

    Args:
        how: 'build' or 'pull'.

    Raises:
        HarnessError: one cannot be built.
    """
    return build_addons(names, read_versions(), cache, steps) if how == "build" else {}


def get_named(repositories: Collection[str], cache: Path, steps: Steps) -> dict[str, OciImage]:
    """Build those of some images that only some values have a chart run, by repository.

    Raises:
        HarnessError: one cannot be built.
    """
    return build_named(repositories, read_versions(), cache, steps)


def get_helm(how: str, cache: Path, mirrors: Mapping[str, str], steps: Steps) -> Path:
    """Build or pull Helm alone, which needs no Docker.

    Args:
        how: 'build' or 'pull'.

    Raises:
        HarnessError: it cannot be built or downloaded.
    """
    versions = read_versions()
    return build_helm(versions, cache, steps) if how == "build" else pull_helm(versions, mirrors, cache, steps)


def pinned_chart(checkout: Path) -> str:
    """Return the version of the JupyterHub chart that a run uses by default."""
    return read_versions(checkout / "images/versions.toml").get("chart", "version")


def chart_repository(checkout: Path) -> str:
    """Return the address of the Helm repository that publishes the chart."""
    return read_versions(checkout / "images/versions.toml").get("chart", "repository")
