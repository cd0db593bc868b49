"""Fixtures that the tests of harness/cluster share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.fakes import Program


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything lies, with a blank in its name; `timeout` is a stand-in that writes down what it is given."""
    place = tmp_path / "my checkout"
    (place / "state").mkdir(parents=True)
    Program(place / "bin", "timeout", 'while case "$1" in -*) ;; *) false ;; esac; do shift; done; shift; exec "$@"')
    monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
    return place
