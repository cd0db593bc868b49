"""Faults of the login: what they break is whole again at their end, also after a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.base.names import Names
from harness.cluster.kind import Cluster
from harness.faults.broken_login import certificate_expired, keycloak_gone, keycloak_silent
from harness.gate.gate import Gate
from harness.plan.contract import SSO_HOST
from harness.services.keycloak import Keycloak
from tests.unit.fakes import Program

HOST = "nb.learn.mit.edu"
# Another port and another address each time that Keycloak starts.
DOCKER = """
starts=$(grep -c ^start "$calls")
case "$1" in
  port) echo "127.0.0.1:$starts" ;;
  inspect) echo '[{"NetworkSettings": {"Networks": {"jh-1": {"IPAddress": "172.18.0.'$starts'"}}}}]' ;;
esac
"""
KUBECTL = """
case "$*" in
  *apply*) cat > "$here/applied" ;;
  *dev/tcp*) echo 0 ;;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    program = Program(tmp_path / "bin", "docker", DOCKER)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(Keycloak, "is_healthy", lambda self: True)
    return program


@pytest.fixture
def kubectl(tmp_path: Path) -> Program:
    return Program(tmp_path / "bin", "kubectl", KUBECTL)


@pytest.fixture
def gate(tmp_path: Path, docker: Program, kubectl: Program) -> Gate:
    cluster = Cluster("jh-1", tmp_path, kind=tmp_path / "kind", kubectl=kubectl.path, image="node")
    cluster.gate_files.mkdir()
    return Gate(cluster, Keycloak("jh-1", tmp_path), "gate:1", "phra5e")


@pytest.fixture
def names(gate: Gate) -> Names:
    return gate.names([HOST])


def test_keycloak_comes_back_at_another_port(gate: Gate, names: Names, docker: Program, tmp_path: Path) -> None:
    assert names.place(SSO_HOST, 443) == ("127.0.0.1", 0)
    with pytest.raises(KeyError), keycloak_gone(gate, names):
        raise KeyError
    done = [call for call in docker.calls if call.startswith(("stop", "start"))]
    assert done == ["stop --time 2 jh-1-keycloak", "start jh-1-keycloak"]
    assert names.place(SSO_HOST, 443) == ("127.0.0.1", 1)
    assert "- 172.18.0.1\n" in (tmp_path / "bin/applied").read_text(), "the gate looks for it at another address"


def test_keycloak_answers_again(gate: Gate, docker: Program) -> None:
    with pytest.raises(KeyError), keycloak_silent(gate.keycloak):
        raise KeyError
    assert docker.calls[-2:] == ["pause jh-1-keycloak", "unpause jh-1-keycloak"]


def test_the_good_certificate_is_shown_again(
    gate: Gate, names: Names, kubectl: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    files: list[str] = []

    def refused(names: Names, host: str) -> str:
        shown.append(host)
        files.append((gate.cluster.gate_files / "gate.pem").read_text())
        return "certificate has expired" if len(shown) == 1 else ""

    monkeypatch.setattr("harness.faults.broken_login.refusal", refused)
    with certificate_expired(gate, names):
        assert shown == [HOST]
    assert shown == [HOST, HOST]
    assert len(set(files)) == 2, "the certificate did not change"
    assert kubectl.calls[-1].endswith("exec --namespace gate gate -- apache2 -f /etc/gate/apache.conf -k graceful")
