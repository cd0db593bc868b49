"""Calendars that a test moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gate import addon as gate_addon
from harness.plan.versions import IMAGES
from harness.services.clock import DAY, PLACE, Clock, move


@pytest.mark.parametrize(
    ("seconds", "written"), [(13 * DAY, "+1123200\n"), (-300, "-300\n"), (0, "+0\n")], ids=["ahead", "behind", "agree"]
)
def test_its_file_is_what_libfaketime_reads(tmp_path: Path, seconds: float, written: str) -> None:
    moved = Clock(tmp_path / "gate.clock")
    moved.set_ahead(seconds)
    assert moved.file.read_text() == written
    assert moved.file.stat().st_mode & 0o444 == 0o444


def test_a_container_that_has_it_mounted_sees_the_change(tmp_path: Path) -> None:
    """A file that replaces it would be another one for Docker."""
    moved = Clock(tmp_path / "gate.clock")
    moved.set_ahead(0)
    before = moved.file.stat().st_ino
    moved.set_ahead(DAY)
    assert moved.file.stat().st_ino == before


def test_calendars_move_together(tmp_path: Path) -> None:
    gate, keycloak = Clock(tmp_path / "gate.clock"), Clock(tmp_path / "keycloak.clock")
    move(DAY, gate, keycloak)
    assert gate.file.read_text() == keycloak.file.read_text() == "+86400\n"


@pytest.mark.parametrize(("image", "place"), [("gate", f"{gate_addon.PLACE}/clock"), ("keycloak", PLACE)])
def test_its_image_reads_the_file_each_time_and_moves_no_waits(image: str, place: str) -> None:
    """A Java whose waits are moved as well takes a processor for itself."""
    text = (IMAGES / image / "Dockerfile").read_text()
    for variable in (f"TIMESTAMP_FILE={place}", "NO_CACHE=1", "DONT_FAKE_MONOTONIC=1", "FORCE_MONOTONIC_FIX=0"):
        assert f"FAKETIME_{variable}" in text
