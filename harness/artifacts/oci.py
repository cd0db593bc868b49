"""Container images as files: OCI image layouts that share their blobs, so that no layer is stored twice."""

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
        """Digest of the manifest, `sha256:…`, by which registries and nodes know the image."""
        return str(self.descriptor["digest"])

    @functools.cached_property
    def descriptor(self) -> dict[str, Any]:
        """Digest, size and media type of the manifest, as an index has them."""
        index: dict[str, Any] = json.loads((self.path / "index.json").read_text())
        found: dict[str, Any] = index["manifests"][0]
        return found

    @functools.cached_property
    def manifest(self) -> str:
        """The manifest, byte for byte as its digest is computed."""
        return self.file(self.digest).read_text()

    def blobs(self) -> list[tuple[str, Path]]:
        """Return digest and file of the configuration and each layer, which a registry needs before the manifest."""
        manifest = json.loads(self.manifest)
        digests = [str(part["digest"]) for part in (manifest["config"], *manifest["layers"])]
        return [(digest, self.file(digest)) for digest in digests]

    def file(self, digest: str) -> Path:
        """Return the file of a blob of this image."""
        return _blob(self.path, digest)


class OciStore:
    """A directory of images that share their blobs by hard links; several runs may use it at once.

    An image appears whole or not at all, and is never written again.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, name: str) -> OciImage | None:
        """Return the image of that name, or None."""
        path = self.directory / name
        return OciImage(path) if path.exists() else None

    def save(self, image: str, name: str) -> OciImage:
        """Save a local Docker image, its layers as Docker saves them (uncompressed, before containerd).

        Raises:
            CommandError: Docker has no such image, or takes longer than 600 s.
        """
        with self._new(name) as (new, scratch):
            archive = scratch / "image.tar"
            run(["docker", "save", "--output", archive, image], timeout=600, what=f"docker save {image}")
            with tarfile.open(archive) as saved:
                # Every Docker writes this file; from 25 on, the OCI layout beside it.
                described: dict[str, Any] = json.load(_member(saved, "manifest.json"))[0]
                config = {**new.add(_member(saved, described["Config"])), "mediaType": CONFIG}
                layers = [new.find(layer) or new.add(_member(saved, layer)) for layer in described["Layers"]]
            new.finish(config, layers)
        return OciImage(self.directory / name)

    def with_file(self, base: OciImage, path: str, text: str, name: str) -> OciImage:
        """Save an image that has one more file than another; needs no Docker."""
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
        """Remove images, and the blobs that no other image has."""
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
    """Write images into one layout directory, each under its full name, for containerd to import."""
    for image in images.values():
        for digest, file in [*image.blobs(), (image.digest, image.file(image.digest))]:
            link_file(file, _blob(into, digest))
    _write_index(
        into,
        [
            {**image.descriptor, "annotations": {"io.containerd.image.name": name}}
            for name, image in sorted(images.items())
        ],
    )


class _NewLayout:
    """An image that is being written."""

    def __init__(self, path: Path, *, shared: Path) -> None:
        self.path = path
        self._shared = shared
        path.mkdir()

    def add(self, content: IO[bytes]) -> dict[str, Any]:
        """Add a blob and return its descriptor, as that of a layer."""
        start = content.read(CHUNK)
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
        return _layer(start, name, size)

    def find(self, name: str) -> dict[str, Any] | None:
        """Add a blob that is shared already, and return its descriptor; None for one that is not.

        Args:
            name: in an archive; only in an OCI layout is it made of the blob's digest.
        """
        shared = self._shared / name
        if not name.startswith("blobs/") or not shared.is_file():
            return None
        digest = name.removeprefix("blobs/").replace("/", ":")
        self.share(digest, shared)
        with shared.open("rb") as content:
            return _layer(content.read(len(GZIP_MAGIC)), digest, shared.stat().st_size)

    def share(self, digest: str, file: Path) -> None:
        """Link the shared blob of that digest; where there is none, the file becomes it."""
        here, shared = _blob(self.path, digest), _blob(self._shared, digest)
        try:
            link_file(shared, here)
        except FileNotFoundError:
            link_file(file, here)
            link_file(here, shared)

    def finish(self, config: dict[str, Any], layers: list[dict[str, Any]]) -> None:
        """Write the manifest and the index, which complete the image."""
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        described = {**self.add(io.BytesIO(json.dumps(manifest).encode())), "mediaType": MANIFEST}
        _write_index(self.path, [described])


def _layer(start: bytes, digest: str, size: int) -> dict[str, Any]:
    """Return the descriptor of a layer that begins with these bytes."""
    return {"mediaType": LAYER + "+gzip" * start.startswith(GZIP_MAGIC), "digest": digest, "size": size}


def _write_index(layout: Path, manifests: list[dict[str, Any]]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))


def _blob(directory: Path, digest: str) -> Path:
    return directory / "blobs" / digest.replace(":", "/")


def put_in_place(new: Path, target: Path) -> None:
    """Rename a finished directory to its target, unless another run was quicker with the same."""
    try:
        new.rename(target)
    except OSError:
        if not target.exists():
            raise


def link_file(source: Path, target: Path) -> None:
    """Link a file to a second place, or copy it to another file system; one that is there stays.

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
    """Return a tar archive of one file that all users may read; the same bytes each time."""
    buffer, content = io.BytesIO(), text.encode()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
