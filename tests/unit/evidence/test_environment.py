"""The test environment: what of it failed is named, and what works is not."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import EnvironmentFault
from harness.cluster.kind import Cluster
from harness.evidence import environment as health
from tests.unit.fakes import Program

UP = {f"jh-1-{part}": "Up 2 minutes" for part in ("control-plane", "worker", "registry", "moto", "postgres")}
DOCKER = """
case "$*" in
  info*) echo / ;;
  "ps "*label=ol-jupyterhub-harness=jh-1*) cat "$here/containers" ;;
  logs*) echo "panic: no space"; echo "exit status 2" >&2 ;;
esac
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plan of a run whose containers are as the file `containers` says: well."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(health, "FULL_DISK", 0)
    Program(tmp_path / "bin", "docker", DOCKER)
    write(tmp_path)
    return SimpleNamespace(name="jh-1", state=tmp_path / "state", cache=tmp_path, evidence=tmp_path)


def write(tmp_path: Path, **other: str | None) -> None:
    """Have Docker say something else of some parts; None for one that is gone."""
    statuses: dict[str, str | None] = {
        **UP,
        **{f"jh-1-{part.replace('_', '-')}": status for part, status in other.items()},
    }
    lines = [f"{name}\t{status}\n" for name, status in statuses.items() if status]
    (tmp_path / "bin/containers").write_text("".join(lines))


def cluster(why: str = "", ended: dict[str, str] | None = None, **lost: str) -> Any:
    return SimpleNamespace(
        why_silent=lambda seconds: why,
        lost=lambda seconds: lost,
        ended_pods=lambda namespace, seconds: (ended or {}) if namespace == "gate" else {},
        pods=lambda namespace: SimpleNamespace(logs=lambda pod: "AH00094: Command line\nAH00051: child exit signal\n"),
    )


class TestFault:
    def test_none(self, plan: Any) -> None:
        assert health.fault(plan, cluster()) == ""

    def test_the_daemon_is_dead(self, plan: Any, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "docker", "echo Cannot connect >&2; exit 1")
        fault = "The Docker daemon does not answer: nothing of jh-1 can be reached. docker info: exit code 1."
        assert health.fault(plan, cluster()) == fault

    def test_the_disk_is_full(self, plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "FULL_DISK", 2**60)
        fault = health.fault(plan, cluster())
        assert fault.startswith("The disk is full: ")
        assert fault.endswith(" GiB are free under /. Make room (docker system prune).")

    @pytest.mark.parametrize(
        ("part", "status", "fault"),
        [
            (
                "control_plane",
                "Up 2 minutes (Paused)",
                "The node container jh-1-control-plane is paused: nothing in the cluster answers.",
            ),
            (
                "worker",
                "Exited (137) 3 seconds ago",
                "The node container jh-1-worker does not run (Exited (137) 3 seconds ago): none of its pods answers. "
                "Its last line: panic: no space exit status 2",
            ),
            ("moto", None, "The container of moto jh-1-moto is gone: AWS does not answer."),
            ("registry", None, "The container of the private registry jh-1-registry is gone: no image can be pulled."),
            ("postgres", None, "The container of Postgres jh-1-postgres is gone: the hubs have no database."),
        ],
    )
    def test_a_container(self, plan: Any, tmp_path: Path, part: str, status: str | None, fault: str) -> None:
        write(tmp_path, **{part: status})
        assert health.fault(plan, cluster()) == fault

    def test_what_is_not_there_yet_is_no_fault(self, plan: Any, tmp_path: Path) -> None:
        write(tmp_path, worker=None, moto=None, postgres="Created")
        assert health.fault(plan, None, whole=False) == ""

    def test_what_ended_while_others_come_up_is_one(self, plan: Any, tmp_path: Path) -> None:
        write(tmp_path, worker=None, moto="Exited (1) 1 second ago")
        assert health.fault(plan, None, whole=False).startswith("The container of moto jh-1-moto does not run (Exited")

    def test_the_api_server_is_silent(self, plan: Any) -> None:
        fault = "The API server gives no answer within 5 s, asked 2 times: refused"
        assert health.fault(plan, cluster("refused")) == fault

    def test_a_node_is_lost(self, plan: Any) -> None:
        fault = "The node worker is lost: Kubelet stopped posting node status. None of its pods answers."
        assert health.fault(plan, cluster(worker="Kubelet stopped posting node status.")) == fault

    def test_the_gate_has_ended(self, plan: Any) -> None:
        assert health.fault(plan, cluster(ended={"gate": "container gate ended with exit code 137"})) == (
            "The pod of the gate does not run (container gate ended with exit code 137): "
            "no hub can be reached by its name. Its last line: AH00051: child exit signal"
        )

    def test_one_slow_answer_is_none(self, plan: Any) -> None:
        answers = iter(["slow", ""])
        once = cluster()
        once.why_silent = lambda seconds: next(answers)
        assert health.fault(plan, once) == ""


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "environment"]


class TestWatched:
    def faults(self, tmp_path: Path, script: str) -> list[str]:
        """What is reported of a run's environment until `docker events`, which does as a script says, has ended."""
        Program(tmp_path / "bin", "docker", script)
        faults: list[str] = []
        with health.watched("jh-1", lambda error: faults.append(str(error))):
            for listener in listeners():
                listener.join(10)
                assert not listener.is_alive()
        return faults

    def test_a_container_that_dies(self, plan: Any, tmp_path: Path) -> None:
        assert self.faults(tmp_path, "echo jh-1-worker die; sleep 60") == ["The container jh-1-worker died."]

    def test_the_daemon_dies(self, plan: Any, tmp_path: Path) -> None:
        assert self.faults(tmp_path, "exit 1") == ["The Docker daemon does not answer."]

    def test_docker_tells_no_more_but_answers(self, plan: Any, tmp_path: Path) -> None:
        assert self.faults(tmp_path, "echo 28") == []

    def test_the_end_of_the_run_is_no_fall(self, plan: Any, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "docker", "[ $1 = events ] && exec sleep 60; exit 1")
        faults: list[EnvironmentFault] = []
        with health.watched("jh-1", faults.append):
            [listener] = listeners()
        listener.join(10)
        assert not listener.is_alive()
        assert not faults


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo ok", ""),
        ("echo 'Error from server (Forbidden): no' >&2; exit 1", ""),
        ("echo; echo 'Unable to connect to the server: net/http: TLS handshake timeout' >&2; exit 1",
         "Unable to connect to the server: net/http: TLS handshake timeout"),
    ],
)  # fmt: skip
def test_why_the_api_server_is_silent(tmp_path: Path, script: str, why: str) -> None:
    kubectl = Program(tmp_path, "kubectl", script)
    it = Cluster("jh-1", tmp_path, kind=tmp_path / "kind", kubectl=kubectl.path, image="node")
    assert it.why_silent(5) == why
    assert kubectl.calls == [f"--kubeconfig {tmp_path}/kubeconfig get --raw=/livez --request-timeout=5s"]
