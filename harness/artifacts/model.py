"""What a run is made of, wherever it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.artifacts.oci import OciImage


@dataclass(frozen=True)
class Artifacts:
    """Everything a run needs that is not written here."""

    kind: Path
    kubectl: Path
    helm: Path
    node_image: str
    """Name of the kind node image in the local Docker; so for the next four, which run or are built on there."""
    registry: str
    moto: str
    postgres: str
    notebook: str
    """What course images are built on."""
    images: Mapping[str, OciImage]
    """Images that the run's own registry has to serve, by the repository they take the place of (`quay.io/…`).

    Empty where nodes pull what is published.
    """
