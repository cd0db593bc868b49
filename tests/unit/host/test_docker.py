"""The containers beside the cluster: how docker is called, and how a run finds what is its own."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentFault
from harness.base.shell import CommandError
from harness.host import docker
from harness.host.identity import identity
from tests.unit.fakes import Program


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory before all others in PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "bin"


CONTAINERS = """
case "$*" in
  "rm "*) : > "$here/gone" ;;
  "ps "*) [ ! -f "$here/gone" ] || exit 0 ;;
esac
case "$*" in
  "ps "*label=ol-jupyterhub-harness=jh-1*) printf "jh-1-moto\\njh-1-registry\\n" ;;
  "ps "*label=io.x-k8s.kind.cluster=jh-1*) echo jh-1-control-plane ;;
  "network ls "*) echo bridge; echo jh-1; echo jh-11 ;;
esac
"""


def started(path: Path, tmp_path: Path) -> str:
    fake = Program(path, "docker", 'echo "$PASSWORD" > "$here/seen"')
    started_with(tmp_path)
    [call] = fake.calls
    return call


def started_with(tmp_path: Path) -> None:
    docker.start(
        "jh-1-postgres",
        "postgres:17",
        owner="jh-1",
        network="jh-1",
        ports=[5432],
        env={"PASSWORD": "hunter2"},
        volumes={tmp_path / "init.sql": "/init.sql:ro"},
        command=["postgres", "-c", "fsync=off"],
    )


class TestStart:
    def test_call(self, path: Path, tmp_path: Path) -> None:
        words = started(path, tmp_path).split()
        assert words[:2] == ["run", "--detach"]
        assert words[-4:] == ["postgres:17", "postgres", "-c", "fsync=off"]
        for option, value in (
            ("--name", "jh-1-postgres"),
            ("--label", "ol-jupyterhub-harness=jh-1"),
            ("--network", "jh-1"),
            ("--publish", "127.0.0.1::5432"),
            ("--pull", "never"),
            ("--mount", f"type=bind,source={tmp_path}/init.sql,target=/init.sql,readonly"),
        ):
            assert words[words.index(option) + 1] == value

    def test_secrets_are_in_no_process_list(self, path: Path, tmp_path: Path) -> None:
        call = started(path, tmp_path)
        assert "--env PASSWORD " in call
        assert "hunter2" not in call
        assert (path / "seen").read_text() == "hunter2\n"

    @pytest.mark.parametrize(
        ("name", "source"), [("a:b", "source={}/a:b"), ("a,b", '"source={}/a,b"'), ("a b", "source={}/a b")]
    )
    def test_mounts_a_path_of_any_characters(self, path: Path, tmp_path: Path, name: str, source: str) -> None:
        fake = Program(path, "docker")
        docker.start("a", "a", owner="jh-1", network="jh-1", ports=[1], volumes={tmp_path / name: "/x"})
        assert f"--mount type=bind,{source.format(tmp_path)},target=/x a" in fake.calls[0]

    def test_a_daemon_that_does_not_see_the_files(self, path: Path, tmp_path: Path) -> None:
        error = "invalid mount config for type bind: bind source path does not exist: /x"
        Program(path, "docker", f"echo '{error}' >&2; exit 125")
        with pytest.raises(
            EnvironmentFault, match=r"does not see this machine's files .*: /x\)\.\nA run in a container"
        ):
            started_with(tmp_path)

    def test_failure_names_the_container(self, path: Path) -> None:
        Program(path, "docker", "echo no such image >&2; exit 125")
        with pytest.raises(CommandError, match=r"\Astarting jh-1-moto: exit code 125\.\n  \| no such image\Z"):
            docker.start("jh-1-moto", "moto", owner="jh-1", network="jh-1", ports=[5000])


def test_published(path: Path) -> None:
    fake = Program(path, "docker", "echo 127.0.0.1:32768; echo '[::1]:32768'")
    assert docker.published("jh-1-moto", 5000) == "127.0.0.1:32768"
    assert fake.calls == ["port jh-1-moto 5000/tcp"]


def test_address(path: Path) -> None:
    networks = {"bridge": {"IPAddress": "172.17.0.2"}, "jh-1": {"IPAddress": "172.18.0.3"}}
    Program(path, "docker", f"echo '{json.dumps([{'NetworkSettings': {'Networks': networks}}])}'")
    assert docker.address("jh-1-moto", "jh-1") == "172.18.0.3"


def test_a_failure_names_the_command(path: Path) -> None:
    Program(path, "docker", "echo refused >&2; exit 1")
    with pytest.raises(CommandError, match=r"\Adocker exec: exit code 1\.\n  \| refused\Z"):
        docker.docker("exec", "a", "b")


def test_running_is_what_has_the_label_or_is_a_node(path: Path) -> None:
    fake = Program(path, "docker", CONTAINERS)
    assert docker.running("jh-1") == {"jh-1-control-plane", "jh-1-moto", "jh-1-registry"}
    assert all("--filter status=running" in call for call in fake.calls)


class TestNetwork:
    def test_labels_tell_whose_it_is(self, path: Path, tmp_path: Path) -> None:
        fake = Program(path, "docker")
        docker.create_network("jh-1", tmp_path, kept=True)
        [call] = fake.calls
        labels = dict(word.removeprefix("--label=").split("=") for word in call.split()[2:-1])
        assert labels == {
            "ol-jupyterhub-harness": "jh-1",
            "ol-jupyterhub-harness.checkout": str(tmp_path),
            "ol-jupyterhub-harness.kept": "yes",
            "ol-jupyterhub-harness.identity": identity(tmp_path),
            "ol-jupyterhub-harness.host": socket.gethostname(),
        }

    @pytest.mark.parametrize(
        "error",
        [
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to it",
            "all predefined address pools have been fully subnetted",
        ],
    )
    def test_no_addresses_left(self, path: Path, tmp_path: Path, error: str) -> None:
        Program(path, "docker", f"echo Error response from daemon: '{error}' >&2; exit 1")
        with pytest.raises(EnvironmentFault, match=r"\ADocker has no range of addresses left .*docker network prune"):
            docker.create_network("jh-1", tmp_path, kept=False)

    def test_another_failure_stays(self, path: Path, tmp_path: Path) -> None:
        Program(path, "docker", "echo network with name jh-1 already exists >&2; exit 1")
        with pytest.raises(CommandError, match="already exists"):
            docker.create_network("jh-1", tmp_path, kept=False)


class TestRemove:
    def test_everything_of_the_run(self, path: Path) -> None:
        fake = Program(path, "docker", CONTAINERS)
        gone = ["jh-1-control-plane", "jh-1-moto", "jh-1-registry", "jh-1"]
        assert docker.remove("jh-1", "jh-1") == gone
        assert [call for call in fake.calls if call.startswith("ps ")]
        assert all("--all" in call for call in fake.calls if call.startswith("ps "))
        assert [call for call in fake.calls if " rm " in f" {call} "] == [
            "rm --force --volumes jh-1-control-plane jh-1-moto jh-1-registry",
            "network rm jh-1",
        ]

    def test_what_was_just_being_started_goes_too(self, path: Path) -> None:
        script = """case "$*" in
          "rm "*moto*) : > "$here/first" ;;
          "rm "*) : > "$here/second" ;;
          "ps "*harness=*) [ -f "$here/second" ] || { [ -f "$here/first" ] && echo jh-1-postgres || echo jh-1-moto; } ;;
        esac"""
        Program(path, "docker", script)
        assert docker.remove("jh-1", "jh-1") == ["jh-1-moto", "jh-1-postgres"]

    def test_nothing_there(self, path: Path) -> None:
        fake = Program(path, "docker", '[ "$1" != network ] || { echo bridge; echo jh-11; }')
        assert docker.remove("jh-1", "jh-1") == []
        assert not [call for call in fake.calls if " rm " in f" {call} "]

    def test_a_network_alone(self, path: Path) -> None:
        Program(path, "docker", '[ "$1 $2" != "network ls" ] || echo jh-1')
        assert docker.remove("jh-1", "jh-1") == ["jh-1"]


def test_failures(path: Path) -> None:
    fake = Program(path, "docker", "echo jh-1-moto die; echo something else; echo; echo jh-1-worker pause")
    with docker.failures(["jh-1-moto", "jh-1-worker"]) as failures:
        assert list(failures) == ["jh-1-moto died", "jh-1-worker was paused"]
    [call] = fake.calls
    asked = "--filter=container=jh-1-moto --filter=container=jh-1-worker --filter=event=die --filter=event=pause"
    assert call == "events --format={{.Actor.Attributes.name}} {{.Action}} " + asked


class TestLogs:
    def test_both_streams(self, path: Path) -> None:
        fake = Program(path, "docker", "echo out; echo err >&2")
        assert docker.logs("jh-1-moto", 7) == "out\nerr\n"
        assert fake.calls == ["logs --tail 7 jh-1-moto"]

    def test_no_such_container(self, path: Path) -> None:
        Program(path, "docker", "echo Error: No such container >&2; exit 1")
        assert docker.logs("jh-1-moto") == ""


class TestStopped:
    LISTED = "\\n".join(
        (
            "jh-1-moto\\t\\trunning\\tUp 2 minutes",
            "jh-1-worker\\t\\tpaused\\tUp 2 minutes (Paused)",
            "jh-1-new\\t\\tcreated\\tCreated",
            "jh-1-keycloak\\ttrue\\texited\\tExited (143) 1 second ago",
        )
    )

    def test_all_run(self, path: Path) -> None:
        fake = Program(path, "docker", "printf 'jh-1-moto\\t\\trunning\\tUp 2 minutes\\n'")
        assert docker.stopped("jh-1", ["jh-1-moto"]) is None
        assert "--all --filter name=^/?jh-1-" in fake.calls[0]

    def test_one_does_not_and_one_is_gone(self, path: Path) -> None:
        Program(path, "docker", f"""case "$1" in ps) printf '{self.LISTED}' ;; logs) echo 'no space left' ;; esac""")
        assert docker.stopped("jh-1", ["jh-1-moto", "jh-1-registry"]) == (
            "container jh-1-worker does not run: Up 2 minutes (Paused), its last line: no space left; "
            "container jh-1-registry is gone"
        )

    def test_one_on_demand_counts_where_it_is_expected(self, path: Path) -> None:
        Program(path, "docker", f"""case "$1" in ps) printf '{self.LISTED}' ;; esac""")
        found = docker.stopped("jh-1", ["jh-1-keycloak"], others=False)
        assert found == "container jh-1-keycloak does not run: Exited (143) 1 second ago"

    def test_nobody_answers(self, path: Path) -> None:
        Program(path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
        found = docker.stopped("jh-1")
        assert found == "Docker does not answer: docker ps: exit code 1. | Cannot connect to the Docker daemon"
