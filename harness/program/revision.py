"""Revisions of a checkout: the one that a change is compared with, and its files beside the checkout."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from pathlib import Path

from harness.base.files import last_used
from harness.base.shell import CommandError, run
from harness.program.errors import InputError

DIRECTORY = "program-revisions"
KEPT = 4
"""Revisions that stay in the cache, the ones that were used last."""
IN_USE = 150.0
"""Seconds in which another run may still evaluate a revision that it has asked for; an evaluation has 130."""
MAIN = ("main", "master")
EXPORTED = ("src", "pyproject.toml", "uv.lock", ":(exclude)*/secrets/bin/*")
"""Paths of a revision that an evaluation reads; programs for other systems are none of them."""


def is_repository(checkout: Path) -> bool:
    """Return whether a directory is inside a Git repository; a worktree and a submodule are as well."""
    return bool(_ask(checkout, "rev-parse", "--git-dir"))


def base_of(checkout: Path, wanted: str = "") -> str:
    """Return the commit that a checkout is compared with, by its whole digest; empty where there is none.

    Args:
        wanted: what --base names; without it, the commit at which the branch left the main branch.

    Raises:
        InputError: it is named and not there.
    """
    if not wanted:
        return _fork_point(checkout)
    if not is_repository(checkout):
        raise InputError(f"--base {wanted}: {checkout} is no Git repository, so there is nothing to compare with.")
    if found := _ask(checkout, "rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}"):
        return found
    raise InputError(f"--base {wanted}: expected a commit of {checkout}, found none. {cure(checkout)}")


def cure(checkout: Path) -> str:
    """Return what to do about a commit that a checkout lacks."""
    if _ask(checkout, "rev-parse", "--is-shallow-repository") == "true":
        return "The checkout is shallow: git fetch --unshallow, or --depth that reaches it."
    return "See git log."


def has(checkout: Path, commit: str) -> bool:
    """Return whether a checkout has a commit."""
    return bool(_ask(checkout, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))


def first_parents(checkout: Path, since: str) -> list[str]:
    """Return the commits of the branch that is checked out since a date, without those that were merged into it."""
    return _ask(checkout, "log", "--first-parent", "--reverse", f"--since={since}", "--format=%H").split()


def changed_files(checkout: Path, commit: str) -> list[Path]:
    """Return the files that a commit changes, against its first parent."""
    names = _ask(checkout, "diff-tree", "-r", "-z", "--no-commit-id", "--name-only", f"{commit}~1", commit)
    return [Path(name) for name in names.split("\0") if name]


def text_of(checkout: Path, commit: str, file: Path) -> str:
    """Return a file's text as a commit has it; empty where it has none."""
    return _ask(checkout, "show", f"{commit}:{file.as_posix()}")


def lacks(checkout: Path, commit: str, fix: str) -> bool:
    """Return whether a commit lacks a fix."""
    return _ask(checkout, "merge-base", fix, commit) != _ask(checkout, "rev-parse", fix)


def describe(checkout: Path, commit: str = "HEAD") -> str:
    """Return a commit in a few words, and whether files are changed since; empty outside a repository."""
    words = _ask(checkout, "log", "-1", "--format=%h of %cs", commit)
    changed = commit == "HEAD" and _ask(checkout, "status", "--porcelain", "--untracked-files=no")
    return f"{words}, with changes that are not committed" if words and changed else words


def export(checkout: Path, commit: str, cache: Path) -> Path:
    """Return a directory with the files of a commit, from the cache where it has them.

    Raises:
        InputError: the repository has not all of them, as a shallow or partial clone may.
    """
    into = cache / DIRECTORY / commit
    if not into.is_dir():
        into.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=into.parent) as scratch:
            archive, aside = Path(scratch, "files.tar"), Path(scratch, "files")
            aside.mkdir()
            there = [name for name in EXPORTED if name.startswith(":") or _ask(checkout, "ls-tree", commit, name)]
            try:
                git: list[str | Path] = [
                    "git",
                    "-C",
                    checkout,
                    "archive",
                    "--format=tar",
                    f"--output={archive}",
                    commit,
                    "--",
                    *there,
                ]
                run(git, timeout=120, what="git archive")
                run(["tar", "-xf", archive, "-C", aside], timeout=120)
            except CommandError as error:
                raise InputError(
                    f"{checkout}: commit {commit[:9]} cannot be read: {_last_line(error.output)}\n"
                    "A shallow or partial clone lacks older files: git fetch --unshallow, or name another --base."
                ) from error
            if not into.is_dir():
                aside.rename(into)
    into.touch()
    _remove_old(into.parent)
    return into


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no reason given")


def _remove_old(directory: Path) -> None:
    """Remove the revisions that were not asked for lately; other runs may do so at the same time."""
    used = {path: last_used(path) for path in directory.iterdir() if not path.name.startswith("tmp-")}
    for old in sorted(used, key=lambda path: used[path], reverse=True)[KEPT:]:
        if used[old] < time.time() - IN_USE:
            # Aside first: half of a revision must never be taken for all of it.
            with tempfile.TemporaryDirectory(prefix="tmp-", dir=directory) as aside, suppress(FileNotFoundError):
                old.rename(Path(aside, old.name))


def _fork_point(checkout: Path) -> str:
    """Return where a branch left main, or HEAD on main itself, which is then compared with what is not committed."""
    head = _ask(checkout, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD")
    names = [head, *(f"refs/remotes/origin/{name}" for name in MAIN), *(f"refs/heads/{name}" for name in MAIN)]
    for name in filter(None, names):
        if found := _ask(checkout, "merge-base", "HEAD", name):
            return found
    return ""


def _ask(checkout: Path, *question: str) -> str:
    """Return git's answer, without a line break at its end; empty where it refuses."""
    try:
        # Optional locks would write to the checkout.
        return run(["git", "--no-optional-locks", "-C", checkout, *question], timeout=60, what="git").strip()
    except CommandError:
        return ""
