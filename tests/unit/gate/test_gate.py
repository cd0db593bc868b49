"""The running gate: its files, its start, and the ways to it."""

from __future__ import annotations

import base64
import io
import os
import tarfile
from pathlib import Path

import pytest
import yaml

from harness.base.names import Names
from harness.base.shell import CommandError
from harness.base.wait import NeverError, NotYet
from harness.cluster.kind import Cluster
from harness.gate.gate import Gate
from harness.gate.settings import GatedRoute
from harness.plan.contract import SSO_HOST
from harness.services.keycloak import Keycloak
from tests.unit.fakes import Program

HOST = "nb.learn.mit.edu"
ROUTE = GatedRoute("jupyterhub", (HOST,), ("/*",), True, {"openid-connect": {}})
DOCKER = """
case "$1" in
  port) echo "127.0.0.1:${3%/tcp}" ;;
  inspect) echo '[{"NetworkSettings": {"Networks": {"jh-1": {"IPAddress": "172.18.0.5"}}}}]' ;;
esac
"""
KUBECTL = """
case "$*" in
  *apply*) cat > "$here/applied" ;;
  *exec*) cat "$here/answer" 2>/dev/null || true ;;
esac
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A kubectl that keeps what is applied, and answers in a pod with the file `answer`."""
    Program(tmp_path / "bin", "docker", DOCKER)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return Program(tmp_path / "bin", "kubectl", KUBECTL)


@pytest.fixture
def gate(tmp_path: Path, kubectl: Program, monkeypatch: pytest.MonkeyPatch) -> Gate:
    monkeypatch.setattr(Gate, "is_healthy", lambda self: True)
    cluster = Cluster("jh-1", tmp_path, kind=tmp_path / "kind", kubectl=kubectl.path, image="node")
    cluster.__dict__["api"] = None
    cluster.gate_files.mkdir()
    return Gate(cluster, Keycloak("jh-1", tmp_path), "gate:1", "phra5e")


def done(kubectl: Program) -> list[str]:
    return [call.partition("/kubeconfig ")[2] for call in kubectl.calls]


class TestStart:
    def test_the_pod_is_made_anew(self, gate: Gate, kubectl: Program, tmp_path: Path) -> None:
        gate.start([(ROUTE, "proxy-public.jupyter:80")])
        assert done(kubectl) == [
            "--namespace gate delete pod gate --ignore-not-found",
            "--namespace gate apply --filename -",
        ]
        applied = {each["kind"]: each for each in yaml.safe_load_all((tmp_path / "bin/applied").read_text())}
        assert applied["Pod"]["spec"]["containers"][0]["image"] == "gate:1"
        assert applied["EndpointSlice"]["endpoints"] == [{"addresses": ["172.18.0.5"]}]

    def test_its_files_are_there(self, gate: Gate) -> None:
        gate.start([(ROUTE, "proxy-public.jupyter:80")])
        files = gate.cluster.gate_files
        assert sorted(each.name for each in files.iterdir()) == [
            "authority.pem", "clock", "gate.key", "gate.pem", "routes.conf",
        ]  # fmt: skip
        written = (files / "routes.conf").read_text()
        assert f"ServerName {HOST}" in written
        assert "http://proxy-public.jupyter:80/" in written
        assert (files / "clock").read_text() == "+0\n"

    def test_secrets_are_readable_for_root_alone(self, gate: Gate) -> None:
        gate.start([(ROUTE, "proxy-public.jupyter:80")])
        modes = {each.name: each.stat().st_mode & 0o777 for each in gate.cluster.gate_files.iterdir()}
        assert {name for name, mode in modes.items() if mode == 0o600} == {"gate.key", "routes.conf"}
        assert {mode for name, mode in modes.items() if name not in ("gate.key", "routes.conf")} == {0o644}

    def test_the_key_of_the_authority_stays_outside(self, gate: Gate) -> None:
        """The pod is to show one certificate, and to issue none."""
        gate.start([(ROUTE, "proxy-public.jupyter:80")])
        key = (gate.keycloak.authority.directory / "authority.key").read_text()
        assert not [each for each in gate.cluster.gate_files.iterdir() if key in each.read_text()]

    def test_one_that_does_not_come_up_is_named(self, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("harness.gate.gate.seldom", lambda look: look)
        monkeypatch.setattr("harness.cluster.pods.PodWatch.look", lambda self, selector="": [])
        monkeypatch.setattr("harness.cluster.pods.PodWatch.stuck_reason", lambda self, pods: "pod gate has failed")
        monkeypatch.setattr(Gate, "is_healthy", lambda self: NotYet("refused"))
        with pytest.raises(NeverError, match=r"the gate: will not come, .*pod gate has failed"):
            gate.restart()


class TestWhileItRuns:
    @pytest.mark.parametrize(("address", "connection"), [("172.18.0.9", 0), ("", 1)], ids=["it runs", "it is gone"])
    def test_another_address_of_keycloak_is_known_when_it_returns(
        self, gate: Gate, kubectl: Program, tmp_path: Path, address: str, connection: int
    ) -> None:
        """A node follows a moment later: a login before that would be refused."""
        Program(tmp_path / "bin", "docker", DOCKER.replace("172.18.0.5", address))
        follows = f'[ "$(grep -c exec "$calls")" -lt 3 ] && echo {1 - connection} || echo {connection}'
        Program(tmp_path / "bin", "kubectl", KUBECTL.replace('cat "$here/answer" 2>/dev/null || true', follows))
        gate.find_keycloak()
        applied = list(yaml.safe_load_all((tmp_path / "bin/applied").read_text()))
        assert [each["kind"] for each in applied] == ["Namespace", "Service", "EndpointSlice"]
        assert applied[2]["endpoints"] == ([{"addresses": [address]}] if address else [])
        assert len([call for call in kubectl.calls if " exec " in call]) == 3

    def test_it_reads_its_files_again(self, gate: Gate, kubectl: Program) -> None:
        gate.reload()
        assert done(kubectl) == ["exec --namespace gate gate -- apache2 -f /etc/gate/apache.conf -k graceful"]

    def test_hosts_lead_to_its_node_ports(self, gate: Gate) -> None:
        names: Names = gate.names([HOST])
        assert (names.place(HOST, 443), names.place(HOST, 80)) == (("127.0.0.1", 30443), ("127.0.0.1", 30080))
        assert gate.hosts_of(names) == [HOST]
        assert names.place(SSO_HOST, 443) == ("127.0.0.1", 443)


class TestTrust:
    def test_the_browsers_database_is_fetched(self, gate: Gate, tmp_path: Path) -> None:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as files:
            files.addfile(tarfile.TarInfo("./cert9.db"))
        (tmp_path / "bin/answer").write_bytes(base64.encodebytes(archive.getvalue()))
        gate.trust_in(tmp_path / "home")
        assert (tmp_path / "home/.pki/nssdb/cert9.db").is_file()

    def test_a_failure_is_one(self, gate: Gate, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "kubectl", "echo 'certutil: function failed' >&2; exit 1")
        with pytest.raises(CommandError):
            gate.trust_in(tmp_path / "home")
