"""Every pin is one that the update bot finds, and the lock has the versions that everything else installs."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
NO_VERSIONS = ("url", "checksum", "repository", "suite", "base", "packages", "programs")


def found_by_renovate(text: str, manager: dict[str, Any]) -> Iterator[str]:
    """Yield the versions that one of the bot's expressions finds, as the bot combines them; of an image, tag@digest."""
    expressions = [re.sub(r"\(\?<(?=\w)", "(?P<", each) for each in manager["matchStrings"]]
    texts = [text]
    for outer in expressions[:-1]:
        texts = [found[0] for each in texts for found in re.finditer(outer, each)]
    for each in texts:
        for found in (match.groupdict() for match in re.finditer(expressions[-1], each)):
            yield "@".join(filter(None, (found["currentValue"], found.get("currentDigest"))))


def pinned(table: dict[str, Any]) -> Iterator[str]:
    """Yield the versions of a table and of those in it; of an image's name, its tag and digest."""
    for key, value in table.items():
        if isinstance(value, dict):
            # Digests follow their versions.
            yield from pinned(value if key != "node_digests" else {})
        elif key not in NO_VERSIONS:
            name, at, digest = value.partition("@")
            yield name.rpartition(":")[2] + at + digest


def test_renovate_finds_every_version() -> None:
    text = (ROOT / "images/versions.toml").read_text()
    managers = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
    ours = [each for each in managers if "versions" in each["managerFilePatterns"][0]]
    found = [version for manager in ours for version in found_by_renovate(text, manager)]
    assert sorted(found) == sorted(pinned(tomllib.loads(text)))


def test_renovate_finds_the_tools_of_tox() -> None:
    text = (ROOT / "tox.ini").read_text()
    managers = json.loads((ROOT / "renovate.json").read_text())["customManagers"]
    ours = [each for each in managers if "tox" in each["managerFilePatterns"][0]]
    found = {version for manager in ours for version in found_by_renovate(text, manager)}
    assert found == set(re.findall(r"@(v[\d.]+)", text)) | set(re.findall(r"[>=]=([\d.]+)", text))


@pytest.fixture(scope="module")
def lock() -> str:
    return (ROOT / "requirements.lock").read_text()


class TestLock:
    def test_has_the_versions_of_the_constraints(self, lock: str) -> None:
        locked = re.findall(r"^([a-z0-9].*?) *\\$", lock, re.MULTILINE)
        constraints = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
        assert locked == constraints, "they differ: run 'tox -e lock', which writes both"

    def test_has_hashes_of_all(self, lock: str) -> None:
        without = [part for part in re.split(r"\n(?=[a-z0-9])", lock) if "--hash=sha256:" not in part]
        assert without == []

    def test_names_no_registry(self, lock: str) -> None:
        assert "://" not in lock
        assert "-index" not in lock

    def test_has_all_groups(self, lock: str) -> None:
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        wanted = {re.split(r"[\[>=<~]", package)[0] for group in groups.values() for package in group}
        assert wanted <= set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)), "run 'tox -e lock'"
