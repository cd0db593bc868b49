"""The limit of the cache: only the newest versions of each artifact stay."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from harness.artifacts.build_cache import WHOLE
from harness.artifacts.dockerfile import NAMESPACE
from harness.artifacts.oci import OciStore
from harness.base.shell import CommandError
from harness.host.docker import docker, newest_first, remove_volumes, volumes_of

ABANDONED = 24 * 3600.0
"""Age in seconds at which a scratch directory can only be left over from a killed run."""


def prune(cache: Path, keep: int, in_use: Collection[str]) -> None:
    """Remove all but the newest `keep` versions of each artifact, from the cache and from Docker.

    Args:
        in_use: artifacts that stay at any age, as name-key. Docker itself keeps images that containers run.
    """
    for scratch in [*cache.glob("tmp-*"), *cache.glob("layouts/tmp-*")]:
        if time.time() - scratch.stat().st_mtime > ABANDONED:
            shutil.rmtree(scratch)
    for directory in _outdated(_by_age(cache / "files"), keep, in_use):
        shutil.rmtree(cache / "files" / directory)
    # Docker may have volumes and images of another cache directory as well, of which this one has no file.
    prefix = f"{NAMESPACE}-"
    volumes = [volume.removeprefix(prefix) for volume in newest_first(volumes_of(NAMESPACE))]
    signs = [f"{WHOLE}{each}" for each in in_use]
    remove_volumes(f"{prefix}{volume}" for volume in _outdated(volumes, keep, [*in_use, *signs]))
    store = OciStore(cache / "layouts")
    store.remove(list(_outdated(_by_age(store.directory), keep, in_use)))
    listed = docker("images", "--filter", f"reference={NAMESPACE}/*", "--format", "{{.Repository}}-{{.Tag}}")
    images = [image.removeprefix(f"{NAMESPACE}/") for image in listed.split()]
    for image in _outdated(images, keep, in_use):
        name, _, key = image.rpartition("-")
        with contextlib.suppress(CommandError):
            docker("rmi", f"{NAMESPACE}/{name}:{key}")


def _by_age(directory: Path) -> list[str]:
    """Return the names in a directory that end in a key, newest first."""
    found = [path for path in directory.glob("*-*") if not path.name.startswith("tmp-")]
    return [path.name for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]


def _outdated(newest_first: Iterable[str], keep: int, in_use: Collection[str]) -> Iterator[str]:
    """Yield the names, less their key, of which there are `keep` newer ones."""
    newer: dict[str, int] = {}
    for each in newest_first:
        name = each.rpartition("-")[0]
        newer[name] = newer.get(name, 0) + 1
        if newer[name] > keep and each not in in_use:
            yield each
