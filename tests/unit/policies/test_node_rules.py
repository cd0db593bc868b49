"""Tests of the rules in each node, in an iptables that only writes down what it is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.policies.node_rules import ADDRESS, CHAIN, put_in, take_out


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What iptables and ip were asked, a line each."""
    written = tmp_path / "asked"
    for program in ("iptables", "ip"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "{program} $*" >>{written}\n')
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return written


def run(script: str) -> None:
    subprocess.run(["sh", "-euc", script], check=True, timeout=20)


def test_new_connections_of_pods_are_queued_on_their_way_out_and_to_the_node(asked: Path) -> None:
    run(put_in())
    lines = asked.read_text().splitlines()
    queued = [line for line in lines if "--jump NFQUEUE --queue-num 98" in line]
    assert [line.split()[6] for line in queued] == ["--source", "--destination"]
    assert lines.index(queued[0]) > next(number for number, line in enumerate(lines) if "ESTABLISHED" in line)
    assert any(f"--append POSTROUTING --match owner ! --uid-owner 0 --jump {CHAIN}" in line for line in lines)
    assert any(f"--append INPUT --jump {CHAIN}" in line for line in lines)


def test_nothing_passes_where_the_program_is_gone() -> None:
    assert "bypass" not in put_in()


def test_all_that_is_put_in_is_taken_out(asked: Path) -> None:
    run(f"{ADDRESS} && {put_in()}")
    brought = [
        line for line in asked.read_text().splitlines() if "--append" in line and f"--append {CHAIN}" not in line
    ]
    asked.write_text("")
    run(take_out())
    taken = asked.read_text()
    for line in brought:
        assert line.replace("--append", "--delete") in taken
    assert f"--flush {CHAIN}" in taken
    assert f"--delete-chain {CHAIN}" in taken
    assert "ip address delete 169.254.169.254/32 dev lo scope host" in taken


def test_where_nothing_is_nothing_fails(asked: Path) -> None:
    for program in ("iptables", "ip"):
        (asked.parent / program).write_text("#!/bin/sh\nexit 1\n")
    run(take_out())
