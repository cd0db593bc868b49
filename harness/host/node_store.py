"""The disk with which a node starts: a copy, by hard links, of one on which images are unpacked already.

Unpacking the images that each cluster runs takes half a minute of CPU on each node, and the copy two seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.host import docker

STORE = "/var/lib/containerd"
"""Place in a node of what containerd keeps."""
ALL = "/volumes"
COPY_TIMEOUT = 300.0
"""Seconds for a copy, where links cannot be made."""


def give(prepared: str, image: str, nodes: Sequence[str], owner: str) -> dict[str, Path]:
    """Copy a prepared volume for each node into a volume of the run's, which is named like the node.

    Args:
        prepared: name of the volume.
        image: the node image, which has what copies.

    Returns:
        By node, the directory on the daemon's host that is its STORE.

    Raises:
        CommandError: Docker does not copy it.
    """
    docker.remove_volumes(nodes)
    for node in nodes:
        docker.create_volume(node, owner)
    places = {name: docker.place_of_volume(name) for name in (prepared, *nodes)}
    # A link cannot lead from one mount to another: all volumes are one here.
    parent = places[prepared].parents[1]
    seen = {name: f"{ALL}/{place.relative_to(parent)}" for name, place in places.items()}
    docker.run_once(
        image,
        ["copy-store", *seen.values()],
        name=f"{owner}-copy-store",
        mounts=[docker.bind(parent, ALL)],
        owner=owner,
        timeout=COPY_TIMEOUT,
    )
    return {node: places[node] for node in nodes}
