"""Container images as files: OCI image layouts whose blobs are shared, so that an image costs what it alone has."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from harness.base.shell import run

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20


@dataclass(frozen=True)
class OciImage:
    """One image in an OCI image layout directory (OCI image specification, image-layout.md)."""

    path: Path

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the manifest, `sha256:…`: what a registry and a node know the image by."""
        return str(self.descriptor["digest"])

    @functools.cached_property
    def descriptor(self) -> dict[str, Any]:
        """Digest, size and media type of the manifest, as an index has them."""
        index: dict[str, Any] = json.loads((self.path / "index.json").read_text())
        found: dict[str, Any] = index["manifests"][0]
        return found

    @functools.cached_property
    def manifest(self) -> str:
        """The manifest, byte for byte what its digest is of."""
        return self.file(self.digest).read_text()

    def blobs(self) -> list[tuple[str, Path]]:
        """Digest and file of the configuration and of each layer: what a registry must have before the manifest."""
        manifest = json.loads(self.manifest)
        digests = [str(part["digest"]) for part in (manifest["config"], *manifest["layers"])]
        return [(digest, self.file(digest)) for digest in digests]

    def file(self, digest: str) -> Path:
        """Where a blob of this image is."""
        return _blob(self.path, digest)


class OciStore:
    """A directory of layouts that share their blobs by hard links; several runs may use it at once.

    A layout appears whole or not at all, and one that is there is never written again.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, name: str) -> OciImage | None:
        """The layout of that name, if there is one."""
        path = self.directory / name
        return OciImage(path) if path.exists() else None

    def save(self, image: str, name: str) -> OciImage:
        """Write a local Docker image as a layout, its layers as Docker saves them (uncompressed, before containerd).

        Raises:
            CommandError: Docker has no such image, or takes longer than 600 s.
        """
        with self._new(name) as (new, scratch):
            archive = scratch / "image.tar"
            run(["docker", "save", "--output", archive, image], timeout=600, what=f"docker save {image}")
            with tarfile.open(archive) as saved:
                # This file is in every version's archive, the OCI one of Docker 25 and later included.
                described: dict[str, Any] = json.load(_member(saved, "manifest.json"))[0]
                config = {**new.add(_member(saved, described["Config"])), "mediaType": CONFIG}
                layers = [new.add(_member(saved, layer)) for layer in described["Layers"]]
            new.finish(config, layers)
        return OciImage(self.directory / name)

    def with_file(self, base: OciImage, path: str, text: str, name: str) -> OciImage:
        """Write a layout that is another one and, on top, one more file; needs no Docker."""
        with self._new(name) as (new, _):
            manifest: dict[str, Any] = json.loads(base.manifest)
            config: dict[str, Any] = json.loads(base.file(manifest["config"]["digest"]).read_text())
            layer = new.add(io.BytesIO(_tar(path, text)))
            config["rootfs"]["diff_ids"].append(layer["digest"])
            config.setdefault("history", []).append({"created_by": f"file {path}"})
            for below in manifest["layers"]:
                new.share(below["digest"], base.file(below["digest"]))
            described = {**new.add(io.BytesIO(json.dumps(config).encode())), "mediaType": CONFIG}
            new.finish(described, [*manifest["layers"], layer])
        return OciImage(self.directory / name)

    def remove(self, names: Iterable[str]) -> None:
        """Remove layouts, and the blobs that no other one has."""
        for name in names:
            shutil.rmtree(self.directory / name)
        for blob in self.directory.glob("blobs/*/*"):
            if blob.stat().st_nlink == 1:
                blob.unlink()

    @contextlib.contextmanager
    def _new(self, name: str) -> Iterator[tuple[_NewLayout, Path]]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self.directory) as scratch:
            new = _NewLayout(Path(scratch, "layout"), shared=self.directory)
            yield new, Path(scratch)
            put_in_place(new.path, self.directory / name)


def merge(images: Mapping[str, OciImage], into: Path) -> None:
    """Put images into one new layout directory, each under its full name, as containerd imports them."""
    for layout in images.values():
        for digest, file in [*layout.blobs(), (layout.digest, layout.file(layout.digest))]:
            link_file(file, _blob(into, digest))
    _write_index(
        into,
        [
            {**layout.descriptor, "annotations": {"io.containerd.image.name": name}}
            for name, layout in sorted(images.items())
        ],
    )


class _NewLayout:
    """A layout while it is being written."""

    def __init__(self, path: Path, *, shared: Path) -> None:
        self.path = path
        self._shared = shared
        path.mkdir()

    def add(self, content: IO[bytes]) -> dict[str, Any]:
        """Add a blob; returns its descriptor, as that of a layer."""
        start = content.read(CHUNK)
        compressed = "+gzip" if start.startswith(GZIP_MAGIC) else ""
        digest, size, chunk = hashlib.sha256(), 0, start
        draft = self.path / "draft"
        with draft.open("wb") as out:
            while chunk:
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
                chunk = content.read(CHUNK)
        name = f"sha256:{digest.hexdigest()}"
        self.share(name, draft)
        draft.unlink()
        return {"mediaType": LAYER + compressed, "digest": name, "size": size}

    def share(self, digest: str, file: Path) -> None:
        """Have a blob that is in a file: the shared one if there is one, else the file, which others then share."""
        here, shared = _blob(self.path, digest), _blob(self._shared, digest)
        try:
            link_file(shared, here)
        except FileNotFoundError:
            link_file(file, here)
            link_file(here, shared)

    def finish(self, config: dict[str, Any], layers: list[dict[str, Any]]) -> None:
        """Write the manifest and the index: the layout is whole."""
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        described = {**self.add(io.BytesIO(json.dumps(manifest).encode())), "mediaType": MANIFEST}
        _write_index(self.path, [described])


def _write_index(layout: Path, manifests: list[dict[str, Any]]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))


def _blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / digest.replace(":", "/")


def put_in_place(new: Path, target: Path) -> None:
    """Give a finished directory its name, unless another run was quicker, with the same."""
    try:
        new.rename(target)
    except OSError:
        if not target.exists():
            raise


def link_file(source: Path, target: Path) -> None:
    """Have a file in a second place, where it may be already: a hard link, or a copy on another file system.

    Raises:
        FileNotFoundError: there is no such file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(source, target)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    if found is None:
        raise tarfile.TarError(f"{name} is not a file")
    return found


def _tar(path: str, text: str) -> bytes:
    """A tar archive of one file that everybody may read, and of the directories above it; the same each time."""
    buffer, content = io.BytesIO(), text.encode()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
