"""What a node starts with: a copy that shares the files of what was prepared, and none of its databases."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.base.shell import CommandError
from harness.host import node_store
from harness.plan.versions import IMAGES
from tests.unit.fakes import Program

PLACES = """
[ "$1 $2" != "volume inspect" ] || { shift 4; echo "/docker/volumes/$1/_data"; }
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory before all others in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "bin"


class TestGive:
    def test_each_node_has_a_volume_of_the_runs(self, path: Path) -> None:
        fake = Program(path, "docker", PLACES)
        places = node_store.give("prepared", "node:1", ("jh-1-a", "jh-1-b"), "jh-1")
        assert places == {name: Path(f"/docker/volumes/{name}/_data") for name in ("jh-1-a", "jh-1-b")}
        removed, *made = [call for call in fake.calls if not call.startswith("volume inspect")]
        assert removed == "volume rm --force jh-1-a jh-1-b", "those of an earlier cluster"
        assert made[:2] == [f"volume create --label=ol-jupyterhub-harness=jh-1 {name}" for name in ("jh-1-a", "jh-1-b")]
        words = made[2].split()
        assert words[words.index("--mount") + 1] == "type=bind,source=/docker/volumes,target=/volumes"
        assert words[words.index("--entrypoint") + 1 :] == [
            "copy-store", "node:1", *(f"/volumes/{name}/_data" for name in ("prepared", "jh-1-a", "jh-1-b"))
        ]  # fmt: skip

    def test_a_copy_that_is_ended_leaves_no_container(self, path: Path) -> None:
        fake = Program(path, "docker", PLACES + 'case "$1" in run) exit 1 ;; ps) echo jh-1-copy-store ;; esac')
        with pytest.raises(CommandError):
            node_store.give("prepared", "node:1", ("jh-1-a",), "jh-1")
        assert fake.calls[-1] == "rm --force --volumes jh-1-copy-store"


def test_a_copy_shares_all_but_the_databases(tmp_path: Path) -> None:
    """Containerd writes in place to its databases alone."""
    files = {"content/blob": "layer", "snapshots/1/fs/a file": "unpacked", "bolt/meta.db": "names"}
    prepared, copies = tmp_path / "prepared", [tmp_path / "one", tmp_path / "other"]
    for name, text in files.items():
        (prepared / name).parent.mkdir(parents=True)
        (prepared / name).write_text(text)
    for copy in copies:
        copy.mkdir()
    subprocess.run([IMAGES / "node/rootfs/usr/local/bin/copy-store", prepared, *copies], check=True)
    for copy in copies:
        assert {name: (copy / name).read_text() for name in files} == files
        shared = {name for name in files if (copy / name).samefile(prepared / name)}
        assert shared == {"content/blob", "snapshots/1/fs/a file"}
