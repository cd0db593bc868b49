"""The cache of built artifacts: a recipe each, and a key.

An artifact's key is a digest of all that goes into it: the files of its folder, its recipe with the versions in it, and
the keys of what it is made from. Images are in Docker under their key, everything else is in the cache directory.
"""

from __future__ import annotations

import enum
import functools
import graphlib
import hashlib
import json
import platform
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from harness.artifacts.dockerfile import NAMESPACE, local_images
from harness.artifacts.oci import OciImage, OciStore, put_in_place
from harness.host.docker import volumes_of

WHOLE = "whole-"
"""Beginning of a volume's name, after the namespace, that is a sign: every cache directory of a Docker sees it."""


class Kept(enum.Enum):
    """Place of an artifact: the cache directory, Docker's images or volumes, or the store of OCI images."""

    AS_FILES = enum.auto()
    IN_DOCKER = enum.auto()
    IN_VOLUME = enum.auto()
    AS_LAYOUT = enum.auto()


@dataclass(frozen=True)
class Recipe(ABC):
    """Inputs of one artifact; subclasses make it. All of its fields count for the key."""

    ON_ALL_PROCESSORS: ClassVar[bool] = False
    """True if making it takes all processors, so that one is made at a time."""

    name: str
    folder: str
    """Folder under images/; all of its files count for the key."""
    kept: Kept

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the recipes whose artifacts it is made from."""
        return ()

    @abstractmethod
    def make(self, build_cache: BuildCache) -> None:
        """Make the artifact and put it into the cache, whole or not at all."""


class BuildCache:
    """The artifacts of a set of recipes: their keys, their places, and those that are missing."""

    def __init__(self, recipes: Collection[Recipe], images: Path, cache: Path) -> None:
        self.recipes = {recipe.name: recipe for recipe in recipes}
        self.images = images
        self.cache = cache
        self.layouts = OciStore(cache / "layouts")

    @functools.cached_property
    def keys(self) -> dict[str, str]:
        """Key of every artifact; the checkout's path, and times and owners of files, do not count."""
        found: dict[str, str] = {}
        for name in self.in_order:
            recipe = self.recipes[name]
            folder = folder_digest(self.images / recipe.folder)
            made_from = [f"{need}:{found[need]}" for need in recipe.needs]
            inputs = [platform.machine(), type(recipe).__name__, asdict(recipe), folder, made_from]
            found[name] = hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()[:12]
        return found

    @functools.cached_property
    def in_order(self) -> list[str]:
        """All names, each after those that it is made from."""
        return list(graphlib.TopologicalSorter({name: r.needs for name, r in self.recipes.items()}).static_order())

    def tag(self, name: str) -> str:
        """Return the name of an artifact's image in Docker."""
        return f"{NAMESPACE}/{name}:{self.keys[name]}"

    def volume(self, name: str) -> str:
        """Return the name of an artifact's volume in Docker."""
        return f"{NAMESPACE}-{name}-{self.keys[name]}"

    def sign(self, name: str) -> str:
        """Return the name of the empty volume that says of an artifact's volume that it is whole."""
        return f"{NAMESPACE}-{WHOLE}{name}-{self.keys[name]}"

    def directory(self, name: str) -> Path:
        """Return the directory of an artifact that is kept as files."""
        return self.cache / "files" / f"{name}-{self.keys[name]}"

    def layout(self, name: str) -> OciImage:
        """Return an artifact that is kept as an OCI image."""
        return OciImage(self.layouts.directory / self.layout_name(name))

    def layout_name(self, name: str) -> str:
        return f"{name}-{self.keys[name]}"

    def missing(self, wanted: Collection[str]) -> list[str]:
        """Return the artifacts to make: wanted ones that the cache lacks, after those that they are made from."""
        # Ask Docker only if an artifact that is kept there is wanted.
        images = functools.cache(local_images)
        needed: list[str] = []
        for name in reversed(self.in_order):
            asked_for = name in wanted or any(name in self.recipes[other].needs for other in needed)
            if asked_for and not self._is_there(name, images):
                needed.append(name)
        return needed[::-1]

    def _is_there(self, name: str, images: Callable[[], Collection[str]]) -> bool:
        match self.recipes[name].kept:
            case Kept.IN_DOCKER:
                return self.tag(name) in images()
            case Kept.IN_VOLUME:
                return {self.volume(name), self.sign(name)} <= volumes_of(NAMESPACE)
            case Kept.AS_LAYOUT:
                return self.layout(name).path.exists()
            case Kept.AS_FILES:
                return self.directory(name).exists()

    @contextmanager
    def new_directory(self, name: str) -> Iterator[Path]:
        """Provide an empty directory that becomes the artifact's on success, and is removed on failure."""
        with self.scratch() as scratch:
            new = scratch / name
            new.mkdir()
            yield new
            target = self.directory(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            put_in_place(new, target)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Provide a temporary directory on the file system of the cache."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self.cache) as scratch:
            yield Path(scratch)


def folder_digest(folder: Path) -> str:
    """Return a digest of a folder's files: names, content, and permission to execute."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and ".git" not in file.relative_to(folder).parts:
            executable = file.stat().st_mode & 0o100
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(folder)} {executable} {content}\n".encode())
    return digest.hexdigest()
