"""Revisions of a checkout: which one a change is compared with, and its files beside the checkout."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.base.shell import run
from harness.program.revision import DIRECTORY, IN_USE, KEPT, base_of, describe, export


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository whose branch left main one commit ago."""
    place = tmp_path / "checkout"
    (place / "src").mkdir(parents=True)
    git(place, "init", "--quiet", "--initial-branch=main")
    commit(place, "one")
    git(place, "checkout", "--quiet", "-b", "branch")
    commit(place, "two")
    return place


def git(place: Path, *args: str) -> str:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return run(["git", *author, "-C", place, *args], timeout=20).strip()


def commit(place: Path, text: str) -> None:
    (place / "src/file").write_text(text)
    (place / "uv.lock").write_text("")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "--message", text)


def test_a_branch_is_compared_with_where_it_left_main(checkout: Path) -> None:
    assert base_of(checkout) == git(checkout, "rev-parse", "main")


def test_main_is_compared_with_its_last_commit(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "main")
    assert base_of(checkout) == git(checkout, "rev-parse", "HEAD")


def test_a_base_that_is_named(checkout: Path) -> None:
    assert base_of(checkout, "branch") == git(checkout, "rev-parse", "branch")


def test_a_worktree(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "--quiet", str(tmp_path / "tree"), "--detach", "branch")
    assert base_of(tmp_path / "tree") == git(checkout, "rev-parse", "main")


def test_no_repository(tmp_path: Path) -> None:
    assert base_of(tmp_path) == ""
    with pytest.raises(HarnessError, match=r"--base main: .* is no Git repository"):
        base_of(tmp_path, "main")


def test_a_base_that_is_not_there(checkout: Path) -> None:
    with pytest.raises(HarnessError, match=r"--base nowhere: expected a commit of .*, found none\. See git log\."):
        base_of(checkout, "nowhere")


def test_a_shallow_clone(checkout: Path, tmp_path: Path) -> None:
    run(["git", "clone", "--quiet", "--depth=1", f"file://{checkout}", tmp_path / "shallow"], timeout=20)
    with pytest.raises(HarnessError, match="shallow: git fetch --unshallow"):
        base_of(tmp_path / "shallow", "HEAD~1")


def test_its_files(checkout: Path, tmp_path: Path) -> None:
    """They are those of the commit, whatever was changed since, and the checkout stays as it is."""
    (checkout / "src/file").write_text("changed")
    before = git(checkout, "status", "--porcelain")
    found = export(checkout, base_of(checkout), tmp_path / "cache")
    assert (found / "src/file").read_text() == "one"
    assert git(checkout, "status", "--porcelain") == before
    assert export(checkout, base_of(checkout), tmp_path / "cache") == found


def test_the_ones_that_are_not_asked_for_go_and_those_in_use_stay(checkout: Path, tmp_path: Path) -> None:
    kept = tmp_path / DIRECTORY
    for number in range(KEPT + 2):
        (kept / f"old{number}").mkdir(parents=True)
        age = 2 * IN_USE if number else IN_USE / 2
        os.utime(kept / f"old{number}", (0, time.time() - age - number))
    export(checkout, base_of(checkout, "main"), tmp_path)
    left = {path.name for path in kept.iterdir()}
    assert left == {base_of(checkout, "main"), "old0", "old1", "old2"}
    for number in range(3):
        os.utime(kept / f"old{number}")
    for name in ("branch", "main"):
        export(checkout, base_of(checkout, name), tmp_path)
    assert len(list(kept.iterdir())) == KEPT + 1, "one more than stay, for another run may be reading it"


def test_in_words(checkout: Path) -> None:
    short = git(checkout, "log", "-1", "--format=%h of %cs")
    assert describe(checkout) == short
    (checkout / "src/file").write_text("changed")
    assert describe(checkout) == f"{short}, with changes that are not committed"
