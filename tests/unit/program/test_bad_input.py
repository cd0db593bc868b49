"""Bad input: a checkout, a machine or an option with which nothing can be evaluated, as a person is told of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.program.closure import APPLICATIONS

ROOT = Path(__file__).parents[3]
LOCK = 'version = 1\nrequires-python = "{python}"\npackage = []\n'
NO_VERDICT = 10


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a program of one line, and a lock without packages."""
    directory = tmp_path / "checkout" / APPLICATIONS["jupyterhub"]
    directory.mkdir(parents=True)
    (directory / "__main__.py").write_text("import pulumi\n")
    (tmp_path / "checkout/uv.lock").write_text(LOCK.format(python=">=3.11"))
    return tmp_path / "checkout"


def preview(checkout: Path, *options: str) -> tuple[int, str]:
    """Run `tox -e preview` as tox does, and return its exit code and its message."""
    command = [sys.executable, "-m", "pytest", "tests/e2e/test_infrastructure.py", "-p", "no:cacheprovider"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("HARNESS_", "PYTEST_"))}
    ended = subprocess.run(
        [*command, "--ol-infrastructure", checkout, "--evidence", checkout.parent / "evidence", *options],
        cwd=ROOT,
        env={**environ, "HARNESS_CACHE": str(checkout.parent / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in ended.stdout + ended.stderr
    found = re.search(r"Exit: error: (.*?) !+\s*$", ended.stdout + ended.stderr, re.MULTILINE | re.DOTALL)
    return ended.returncode, found[1] if found else ended.stdout


def test_no_lock(checkout: Path) -> None:
    (checkout / "uv.lock").unlink()
    code, message = preview(checkout)
    assert code == NO_VERDICT
    assert "uv.lock: cannot be read: No such file" in message
    assert len(message.splitlines()) == 2


def test_a_lock_that_lacks_a_package(checkout: Path) -> None:
    code, message = preview(checkout)
    assert code == NO_VERDICT
    assert message.startswith("src/ol_infrastructure/applications/jupyterhub/__main__.py, line 1: imports pulumi")
    assert len(message.splitlines()) == 2


def test_no_python_for_the_lock(checkout: Path) -> None:
    (checkout / "uv.lock").write_text(LOCK.format(python=">=3.99"))
    code, message = preview(checkout)
    assert code == NO_VERDICT
    assert re.match(r"no Python >=3\.99, .*; found 3\.\d+", message)
    assert len(message.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--stack", "Staging"), "--stack Staging: expected CI, QA, Production"),
        (("--base", "main"), "is no Git repository, so there is nothing to compare with"),
    ],
)
def test_options(checkout: Path, options: tuple[str, ...], expected: str) -> None:
    code, message = preview(checkout, *options)
    assert code == NO_VERDICT
    assert expected in message


def test_no_checkout(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    code, message = preview(tmp_path / "checkout")
    assert code == NO_VERDICT
    assert "is this a checkout of mitodl/ol-infrastructure?" in message


@pytest.mark.parametrize(
    ("depth", "base", "expected"),
    [
        ("1", "HEAD~1", "The checkout is shallow: git fetch --unshallow"),
        ("2", "nowhere", "The checkout is shallow: git fetch --unshallow"),
        ("9", "nowhere", "expected a commit of"),
    ],
    ids=["shallow", "shallow too", "whole"],
)
def test_a_base_that_is_not_there(checkout: Path, depth: str, base: str, expected: str) -> None:
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for command in (["init", "-q"], ["add", "."], *[["commit", "-q", "--allow-empty", "-m", "a"]] * 3):
        subprocess.run(["git", "-C", checkout, *author, *command], check=True, timeout=20)
    clone = checkout.parent / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", depth, f"file://{checkout}", clone], check=True, timeout=20)
    code, message = preview(clone, "--base", base)
    assert code == NO_VERDICT
    assert message.startswith(f"--base {base}: expected a commit of")
    assert expected in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["up", "--ol-infrastructure", "{0}", "--stack", "Staging"], "--stack Staging: expected CI, QA, Production"),
        (["up", "--ol-infrastructure", "{0}/src"], "is this a checkout of mitodl/ol-infrastructure?"),
        (["drills", "--ol-infrastructure", "{0}", "--base", "main"], "is no Git repository"),
        (["replays", "{0}"], "expected a Git checkout of mitodl/ol-infrastructure, found no repository"),
    ],
    ids=["stack", "checkout", "base", "history"],
)
def test_commands(checkout: Path, arguments: list[str], expected: str) -> None:
    """The commands beside the tests end in the same way."""
    command = [sys.executable, "-m", "harness", *(each.format(checkout) for each in arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == NO_VERDICT, ended.stderr
    assert expected in ended.stderr
    assert len(ended.stderr.splitlines()) <= 2
