"""Artifacts of a run, built or pulled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.artifacts.oci import OciImage


@dataclass(frozen=True)
class Artifacts:
    """Everything that a run needs and that is not written here.

    Attributes:
        node_image: name in the local Docker of the kind node image.
        node_store: name of the volume with what its containerd has unpacked already; empty where nodes start with
            nothing.
        services: name in the local Docker of each service's image, by the service.
        notebook: name in the local Docker of the image that course images are built on.
        images: images for the run's own registry, by the published repository that each replaces (`quay.io/…`). Empty
            where nodes pull the published ones.
    """

    kind: Path
    kubectl: Path
    helm: Path
    node_image: str
    services: Mapping[str, str]
    notebook: str
    images: Mapping[str, OciImage]
    node_store: str = ""

    @property
    def how(self) -> str:
        """The way in which they were had: 'build', or 'pull'."""
        return "build" if self.images else "pull"
