"""The private registry: what lies in its storage, and what a push still has to send."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.artifacts.oci import OciImage, link_file
from harness.services.container import Content
from harness.services.registry import Registry, _store_blobs, split


def test_split() -> None:
    assert split("quay.io/jupyterhub/k8s-hub:4.4.1") == ("quay.io", "jupyterhub/k8s-hub", "4.4.1")


@pytest.fixture
def layout(tmp_path: Path) -> OciImage:
    """An image of a configuration and one layer."""
    blobs = tmp_path / "layout/blobs/sha256"
    blobs.mkdir(parents=True)
    for name in ("c0", "1a", "ff"):
        (blobs / name).write_text(name)
    manifest = {"config": {"digest": "sha256:c0"}, "layers": [{"digest": "sha256:1a"}]}
    (blobs / "ff").write_text(json.dumps(manifest))
    descriptor = {"digest": "sha256:ff", "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    (tmp_path / "layout/index.json").write_text(json.dumps({"manifests": [descriptor]}))
    return OciImage(tmp_path / "layout")


def test_blobs_lie_where_a_registry_looks_for_them(layout: OciImage, tmp_path: Path) -> None:
    for repository in ("jupyterhub/k8s-hub", "again"):
        _store_blobs(tmp_path / "v2", repository, layout)
    stored = tmp_path / "v2/blobs/sha256/1a/1a/data"
    assert stored.samefile(layout.file("sha256:1a")), "a copy costs time and disk"
    for repository in ("jupyterhub/k8s-hub", "again"):
        link = tmp_path / f"v2/repositories/{repository}/_layers/sha256/c0/link"
        assert link.read_text() == "sha256:c0"


def test_storage_of_a_killed_run_is_replaced(layout: OciImage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/old").touch()
    monkeypatch.setattr("harness.host.docker.start", lambda *_, **__: None)
    monkeypatch.setattr(Registry, "is_healthy", lambda _: True)
    aws: Any = SimpleNamespace(registry_login=lambda: ("AWS", "token"))
    Registry("jh-1", tmp_path, aws).start("registry:3", Content(images={"quay.io/hub:1": layout}))
    assert [path.name for path in (tmp_path / "registry").iterdir()] == ["docker"]


class TestPush:
    @pytest.fixture
    def asked(self) -> list[str]:
        return []

    @pytest.fixture
    def registry(self, asked: list[str], tmp_path: Path) -> Registry:
        """A registry that has the configuration and no layer."""

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(f"{request.method} {request.url.raw_path.decode()}")
            there = request.method != "HEAD" or request.url.path.endswith("c0")
            return httpx.Response(201 if there else 404, headers={"Location": "http://registry/upload?state=1"})

        aws: Any = SimpleNamespace()
        registry = Registry("jh-1", tmp_path, aws)
        client = httpx.Client(base_url="http://registry/v2/", transport=httpx.MockTransport(answer))
        vars(registry)["_http"] = client
        return registry

    def test_what_is_there_is_not_sent(self, registry: Registry, layout: OciImage, asked: list[str]) -> None:
        assert registry.push(layout, "hub", "1") == "sha256:ff"
        assert asked == [
            "HEAD /v2/hub/blobs/sha256:c0",
            "HEAD /v2/hub/blobs/sha256:1a",
            "POST /v2/hub/blobs/uploads/",
            "PUT /upload?state=1&digest=sha256%3A1a",
            "PUT /v2/hub/manifests/1",
        ]

    def test_what_did_not_arrive_is_sent_again(self, tmp_path: Path, layout: OciImage) -> None:
        asked: list[str] = []
        full = iter([httpx.Response(500)])

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request.method)
            if request.url.path == "/upload" and (refusal := next(full, None)):
                return refusal
            return httpx.Response(
                404 if request.method == "HEAD" else 201, headers={"Location": "http://registry/upload"}
            )

        aws: Any = SimpleNamespace()
        registry = Registry("jh-1", tmp_path, aws)
        vars(registry)["_http"] = httpx.Client(base_url="http://registry/v2/", transport=httpx.MockTransport(answer))
        with pytest.raises(httpx.HTTPStatusError):
            registry.push(layout, "hub", "1")
        registry.push(layout, "hub", "1")
        assert asked.count("POST") == 3, "a blob that the registry refused was taken for one that it has"

    def test_what_was_seen_is_not_asked_for_again(self, registry: Registry, layout: OciImage, asked: list[str]) -> None:
        registry.push(layout, "hub", "1")
        asked.clear()
        registry.push(layout, "hub", "2")
        assert asked == ["PUT /v2/hub/manifests/2"]


class TestLinkFile:
    def test_it_may_be_there_already(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        for _ in range(2):
            link_file(tmp_path / "a", tmp_path / "deep/b")
        assert (tmp_path / "deep/b").samefile(tmp_path / "a")

    def test_another_file_system_has_a_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "a").write_text("content")
        link_file(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text() == "content"

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            link_file(tmp_path / "a", tmp_path / "b")
