"""Faults of the login: what they break is whole again at their end, also after a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.base.names import Names
from harness.faults.broken_login import certificate_expired, keycloak_gone, keycloak_silent, restart_gate
from harness.plan.contract import SSO_HOST
from harness.services.gate import Gate
from harness.services.keycloak import Keycloak
from tests.unit.fakes import Program

HOST = "nb.learn.mit.edu"
# Another port each time that a container starts.
DOCKER = """
case "$1" in
  port) echo "127.0.0.1:$(grep -c ^start "$calls")" ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program(tmp_path / "bin", "docker", DOCKER)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    for kind in (Keycloak, Gate):
        monkeypatch.setattr(kind, "is_healthy", lambda self: True)
    return program


@pytest.fixture
def gate(tmp_path: Path, docker: Program) -> Gate:
    return Gate("jh-1", tmp_path, Keycloak("jh-1", tmp_path), "phra5e")


@pytest.fixture
def names(gate: Gate) -> Names:
    return gate.names([HOST])


def test_keycloak_comes_back_at_another_port(gate: Gate, names: Names, docker: Program) -> None:
    assert names.place(SSO_HOST, 443) == ("127.0.0.1", 0)
    with pytest.raises(KeyError), keycloak_gone(gate.keycloak, names):
        raise KeyError
    done = [call for call in docker.calls if call.startswith(("stop", "start"))]
    assert done == ["stop --time 2 jh-1-keycloak", "start jh-1-keycloak"]
    assert names.place(SSO_HOST, 443) == ("127.0.0.1", 1)


def test_keycloak_answers_again(gate: Gate, docker: Program) -> None:
    with pytest.raises(KeyError), keycloak_silent(gate.keycloak):
        raise KeyError
    assert docker.calls[-2:] == ["pause jh-1-keycloak", "unpause jh-1-keycloak"]


def test_a_gate_that_starts_again_is_found_again(gate: Gate, names: Names) -> None:
    restart_gate(gate, names)
    assert names.place(HOST, 443) == names.place(HOST, 80) == ("127.0.0.1", 1)


def test_the_good_certificate_is_shown_again(
    gate: Gate, names: Names, docker: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []

    def refused(names: Names, host: str) -> str:
        shown.append(host)
        return "certificate has expired" if len(shown) == 1 else ""

    monkeypatch.setattr("harness.faults.broken_login.refusal", refused)
    with certificate_expired(gate, names):
        assert shown == [HOST]
    assert shown == [HOST, HOST]
    assert docker.calls[-1] == "exec jh-1-gate apache2 -f /etc/gate/apache.conf -k graceful"
