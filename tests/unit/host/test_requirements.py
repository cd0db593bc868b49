"""The machine: what it lacks said at once, nothing touched that need not be, and every refusal a message."""

from __future__ import annotations

import io
import os
import resource
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from harness.base.errors import EnvironmentFault
from harness.base.progress import Steps
from harness.base.quantities import GIB
from harness.base.wait import wait_until
from harness.host import requirements as machine
from tests.unit.fakes import Program

ANSWERS = 'case "$1" in version) echo 28.0 ;; info) echo /no-such-docker-root ;; esac'
DOWN = "echo Cannot connect to the Docker daemon >&2; exit 1"


@pytest.fixture
def bin_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory that programs are found in, on a machine without systemd."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    monkeypatch.setattr(machine, "SYSTEM_PATH", f"{tmp_path}/sbin")
    monkeypatch.setattr(machine, "SYSTEMD", tmp_path / "systemd")
    monkeypatch.setattr(machine, "CONTAINER", tmp_path / "dockerenv")
    monkeypatch.setattr(machine, "INOTIFY", tmp_path / "inotify")
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def system(bin_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the machine a release of Debian or Ubuntu, with the programs that the installing script is made of."""
    for name in ("bash", "cp", "mkdir", "mktemp", "rm", "sort"):
        (bin_ / name).symlink_to(str(shutil.which(name, path=os.defpath)))

    def system(codename: str) -> None:
        (tmp_path / "os-release").write_text(f'VERSION_CODENAME="{codename}"\n')
        monkeypatch.setenv("OS_RELEASE", f"{tmp_path}/os-release")

    return system


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 65534)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], None]:
    """Gives each place its free GiB; any other place has plenty."""

    def disk(free: dict[str, float]) -> None:
        def usage(place: Path) -> SimpleNamespace:
            return SimpleNamespace(free=int(free.get(str(place), 1000) * GIB))

        monkeypatch.setattr(shutil, "disk_usage", usage)

    disk({})
    return disk


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def steps(out: io.StringIO) -> Steps:
    return Steps(Console(file=out, width=80))


def have(bin_: Path, *names: str) -> None:
    for name in names:
        Program(bin_, name)


def prepare(steps: Steps, cache: Path, **more: Any) -> None:
    given: dict[str, Any] = {"building": True, "may_install": True, **more}
    machine.prepare(steps, cache=cache, checkout=cache, **given)


def refusal(work: Callable[[], object]) -> str:
    """The message with which something is refused, seen to be of one or two lines."""
    with pytest.raises(EnvironmentFault) as error:
        work()
    message = str(error.value)
    assert len(message.splitlines()) <= 2, message
    return message


class TestLacking:
    EVERYTHING = (
        "This machine lacks docker (runs the cluster's nodes, the registry, moto and Postgres); "
        "dockerd (runs the cluster's nodes, the registry, moto and Postgres); "
        "chromium (shows a student's page as a person sees it); "
        "chromedriver (lets selenium drive Chromium); "
        "mmdebstrap (makes the base of all images that are built); "
        "go (compiles Kubernetes, kind, helm and the registry); "
        "npm (has configurable-http-proxy)."
    )
    # No docker-cli: Debian 12 and Ubuntu know no such package, and apt-get would refuse the whole command.
    PACKAGES = "chromium chromium-driver docker.io iptables mmdebstrap npm, and go from its own site"
    COMMAND = f"Get it: apt-get install {PACKAGES}"

    @pytest.mark.usefixtures("nobody")
    def test_all_at_once_where_not_root(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        have(bin_, "apt-get")
        found, do = refusal(lambda: prepare(steps, tmp_path)).splitlines()
        assert found == self.EVERYTHING
        assert do == f"Nothing was installed: not root. {self.COMMAND}"

    @pytest.mark.usefixtures("root")
    def test_all_at_once_where_installing_is_off(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        apt = Program(bin_, "apt-get")
        found, do = refusal(lambda: prepare(steps, tmp_path, may_install=False)).splitlines()
        assert found == self.EVERYTHING
        assert do == f"Nothing was installed: installing is turned off (--install never). {self.COMMAND}"
        assert apt.calls == []

    @pytest.mark.usefixtures("root", "bin_")
    def test_all_at_once_where_not_debian(self, steps: Steps, tmp_path: Path) -> None:
        found, do = refusal(lambda: prepare(steps, tmp_path)).splitlines()
        assert found == self.EVERYTHING
        assert do == (
            f"Nothing was installed: not Debian or Ubuntu. Get it: this system's packages like Debian's {self.PACKAGES}"
        )

    @pytest.mark.usefixtures("root")
    def test_what_no_package_has(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        apt = Program(bin_, "apt-get")
        have(bin_, "chromium", "chromedriver", "mmdebstrap", "npm", "dockerd")
        Program(bin_, "docker", ANSWERS)
        message = refusal(lambda: prepare(steps, tmp_path))
        assert message == (
            "This machine lacks go (compiles Kubernetes, kind, helm and the registry).\n"
            "Nothing was installed: go must be installed by hand. Get it: go from its own site"
        )
        assert apt.calls == []

    @pytest.mark.usefixtures("nobody")
    def test_only_what_the_run_needs(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        have(bin_, "apt-get")
        Program(bin_, "docker", ANSWERS)
        message = refusal(lambda: prepare(steps, tmp_path, building=False))
        assert message.startswith("This machine lacks chromium (shows a student's page as a person sees it); chromed")
        assert message.endswith("Get it: apt-get install chromium chromium-driver")

    @pytest.mark.usefixtures("nobody")
    def test_dockerd_out_of_path_is_not_lacking(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        """Where Debian has it, and where who is not root does not look."""
        Program(bin_, "docker", DOWN)
        have(bin_, "chromium", "chromedriver")
        have(tmp_path / "sbin", "dockerd")
        message = refusal(lambda: prepare(steps, tmp_path, building=False))
        assert message == "The Docker daemon is not running, and only root can start it: sudo systemctl start docker"


class TestReady:
    @pytest.mark.parametrize("building", [True, False])
    def test_nothing_is_touched(
        self, bin_: Path, steps: Steps, out: io.StringIO, tmp_path: Path, building: bool
    ) -> None:
        apt = Program(bin_, "apt-get")
        docker = Program(bin_, "docker", ANSWERS)
        have(bin_, "chromium", "chromedriver", *(("mmdebstrap", "go", "npm") if building else ()))
        prepare(steps, tmp_path, building=building)
        assert apt.calls == []
        assert {call.split()[0] for call in docker.calls} == {"version"}
        assert out.getvalue() == ""

    @pytest.mark.usefixtures("root")
    def test_installs_and_starts(
        self, bin_: Path, steps: Steps, out: io.StringIO, tmp_path: Path, system: Callable[[str], None]
    ) -> None:
        system("noble")
        have(bin_, "chromium", "chromedriver", "apt-cache")
        up = f'[ -f "$here/up" ] || {{ {DOWN}; }}; {ANSWERS}'
        Program(bin_, "ready-docker", up)
        apt = Program(bin_, "apt-get", '[ "$1" = update ] || PATH=/usr/bin:/bin cp "$here/ready-docker" "$here/docker"')
        setsid = Program(bin_, "setsid", ': > "$here/up"')
        prepare(steps, tmp_path / "cache", building=False)
        assert [call.split()[0] for call in apt.calls] == ["update", "install"]
        assert setsid.calls == ["--fork dockerd"]
        output = out.getvalue()
        assert (
            "Installing docker.io, docker-cli, iptables: no docker and no dockerd here, and it runs the cluster's nodes"
            in output
        )
        assert "Docker daemon: started, no init system here" in output
        assert output.index("Installing") < output.index("packages:") < output.index("Docker daemon")


class TestInstall:
    SOURCES = """
        case "$*" in
          *update) : > "$here/lists" ;;
          *indextargets*) [ ! -f "$here/lists" ] || echo "http://mirror.example/debian bookworm" ;;
        esac"""
    """An apt-get that knows its mirrors once it has their lists: on a new machine there are none."""
    HAS_CLIENT = 'read -r first < "$here/apt-get.calls"; [ "$first" != update ] || echo "docker-cli - its client"'
    """An apt-cache that knows docker-cli, once the lists are fresh."""

    def installed(self, steps: Steps, apt: Program, *needs: machine.Need) -> list[str]:
        machine.install(needs, steps)
        [call] = [call for call in apt.calls if " install " in f" {call}"]
        return call.rpartition("--no-install-recommends ")[2].split()

    @pytest.mark.parametrize(
        ("codename", "has_client", "known", "packages"),
        [
            ("bookworm", False, False, ["docker-cli/trixie", "docker.io/trixie", "containerd/trixie", "iptables"]),
            ("bookworm", True, False, ["docker.io/trixie", "containerd/trixie", "iptables"]),
            ("trixie", False, True, ["docker-cli", "docker.io", "iptables"]),
            ("noble", False, False, ["docker.io", "iptables"]),
        ],
    )
    def test_docker(
        self,
        bin_: Path,
        steps: Steps,
        system: Callable[[str], None],
        codename: str,
        has_client: bool,
        known: bool,
        packages: list[str],
    ) -> None:
        system(codename)
        if has_client:
            have(bin_, "docker")
        apt, cache = (
            Program(bin_, "apt-get", self.SOURCES),
            Program(bin_, "apt-cache", self.HAS_CLIENT if known else ""),
        )
        assert self.installed(steps, apt, machine.DOCKERD) == packages
        # On Debian 12 it would answer from the machine's own lists, which know no Debian 13.
        assert cache.calls == ([] if codename == "bookworm" else ["search --names-only ^docker-cli$"])

    def test_who_needs_no_docker_asks_for_none(self, bin_: Path, steps: Steps, system: Callable[[str], None]) -> None:
        system("trixie")
        apt, cache = Program(bin_, "apt-get"), Program(bin_, "apt-cache", self.HAS_CLIENT)
        assert self.installed(steps, apt, *machine.BROWSER) == ["chromium", "chromium-driver"]
        assert cache.calls == []

    def test_the_machines_own_lists_stay_as_they_are(
        self, bin_: Path, steps: Steps, system: Callable[[str], None]
    ) -> None:
        """Debian 13 is there for this one call of apt-get, and no longer."""
        system("bookworm")
        apt = Program(
            bin_,
            "apt-get",
            self.SOURCES
            + """
            for it; do case "$it" in
              Dir::Etc::SourceParts=*) cat=${it#*=}/trixie.list; [ ! -f "$cat" ] || read -r line < "$cat" ;;
            esac; done
            echo "sources: $line" >> "$calls" """,
        )
        machine.install((machine.BROWSER[0],), steps)
        changing = [call for call in apt.calls if call.endswith("update") or " install " in call]
        assert len(changing) == 3
        for call in changing:
            assert "-o Dir::State::Lists=" in call
            assert "-o Dir::Etc::SourceList=/dev/null" in call
        assert "sources: deb http://mirror.example/debian trixie main" in apt.calls

    def test_failure_is_named(self, bin_: Path, steps: Steps, system: Callable[[str], None]) -> None:
        system("noble")
        Program(bin_, "apt-get", '[ "$1" = update ] || { echo E: Unable to locate package >&2; exit 100; }')
        with pytest.raises(
            EnvironmentFault, match=r"\Aapt-get install: exit code 100\.\n  \| E: Unable to locate package"
        ):
            machine.install((machine.BROWSER[0],), steps)


class TestDaemon:
    @pytest.mark.parametrize(("script", "answers"), [(ANSWERS, True), (DOWN, False)])
    def test_answers(self, bin_: Path, script: str, answers: bool) -> None:
        Program(bin_, "docker", script)
        assert machine.daemon_answers() is answers

    @pytest.mark.usefixtures("bin_")
    def test_no_docker(self) -> None:
        assert machine.daemon_answers() is False

    def test_refuses(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        apt = Program(bin_, "apt-get")
        error = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"
        Program(bin_, "docker", f"echo {error} >&2; exit 1")
        assert refusal(lambda: prepare(steps, tmp_path)) == (
            "The Docker daemon refuses this user: permission denied on its socket.\n"
            "Add the user to the docker group (usermod -aG docker USER, then log in again), or run as root."
        )
        assert apt.calls == []

    @pytest.mark.usefixtures("root")
    def test_systemd_starts_it(self, bin_: Path, tmp_path: Path) -> None:
        (tmp_path / "systemd").mkdir()
        systemctl = Program(bin_, "systemctl", ': > "$here/up"')
        Program(bin_, "docker", '[ -f "$here/up" ]')
        assert machine.start_daemon(tmp_path) == "started by systemd"
        assert systemctl.calls == ["start docker"]

    @pytest.mark.usefixtures("root")
    def test_systemd_does_not_start_it(self, bin_: Path, tmp_path: Path) -> None:
        (tmp_path / "systemd").mkdir()
        Program(bin_, "systemctl", "echo Unit docker.service is masked. >&2; exit 1")
        Program(bin_, "docker", "exit 1")
        assert "Unit docker.service is masked." in refusal(lambda: machine.start_daemon(tmp_path))

    @pytest.mark.usefixtures("root")
    def test_does_not_come_up(self, bin_: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def impatient(*args: Any, **more: Any) -> object:
            return wait_until(*args, **{**more, "timeout": 0})

        monkeypatch.setattr(machine, "wait_until", impatient)
        Program(bin_, "setsid", 'echo failed to mount overlay: operation not permitted; : > "$here/tried"')
        Program(bin_, "docker", 'while [ ! -f "$here/tried" ]; do :; done; exit 1')
        with pytest.raises(EnvironmentFault) as error:
            machine.start_daemon(tmp_path / "cache")
        assert str(error.value) == (
            "the Docker daemon: not there after 0 s. Last seen: no answer. It was started, no init system here; "
            "its last lines:\n  | failed to mount overlay: operation not permitted"
        )


class TestDaemonElsewhere:
    ELSEWHERE = "that daemon publishes ports and mounts directories of another machine.\nRun on that machine, or "

    @pytest.mark.parametrize("host", ["tcp://elsewhere:2375", "ssh://me@elsewhere"])
    def test_by_its_address(
        self, bin_: Path, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
    ) -> None:
        docker = Program(bin_, "docker", DOWN)
        monkeypatch.setenv("DOCKER_HOST", host)
        message = refusal(lambda: prepare(steps, tmp_path))
        assert message.startswith(f"DOCKER_HOST is {host}: {self.ELSEWHERE}")
        assert docker.calls == [], "nothing is started in its place"

    @pytest.mark.parametrize("by", ["settings", "variable"])
    def test_by_a_context(
        self, bin_: Path, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
    ) -> None:
        docker = Program(bin_, "docker", f'[ "$1" != context ] || echo ssh://elsewhere; {ANSWERS}')
        if by == "variable":
            monkeypatch.setenv("DOCKER_CONTEXT", "far")
        else:
            (tmp_path / "docker-config").mkdir()
            (tmp_path / "docker-config/config.json").write_text('{"currentContext": "far"}')
        assert refusal(lambda: prepare(steps, tmp_path)).startswith(
            f"Docker's context far is ssh://elsewhere: {self.ELSEWHERE}"
        )
        assert docker.calls == ["context inspect far --format {{.Endpoints.docker.Host}}"]

    @pytest.mark.parametrize("host", ["tcp://localhost:2375", "tcp://127.0.0.1:2375", "unix:///run/docker.sock"])
    def test_here(self, bin_: Path, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
        Program(bin_, "docker", ANSWERS)
        have(bin_, "chromium", "chromedriver")
        monkeypatch.setenv("DOCKER_HOST", host)
        prepare(steps, tmp_path, building=False)

    def test_settings_that_cannot_be_read(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        Program(bin_, "docker", ANSWERS)
        (tmp_path / "docker-config").mkdir()
        (tmp_path / "docker-config/config.json").write_text("{")
        message = refusal(lambda: prepare(steps, tmp_path))
        assert message.startswith(f"{tmp_path}/docker-config/config.json cannot be read: ")

    @pytest.mark.parametrize(("network", "here"), [("bridge", False), ("host", True)])
    def test_of_a_containers_host(self, bin_: Path, steps: Steps, tmp_path: Path, network: str, here: bool) -> None:
        docker = Program(bin_, "docker", f'[ "$1" != container ] || echo {network}; {ANSWERS}')
        have(bin_, "chromium", "chromedriver")
        (tmp_path / "dockerenv").touch()
        if here:
            prepare(steps, tmp_path, building=False)
        else:
            assert refusal(lambda: prepare(steps, tmp_path, building=False)) == (
                "This container has a network of its own (bridge), and the run's ports are on its host's loopback. "
                "Start the container with --network host."
            )
        assert docker.calls[-1].endswith(f"{{{{.HostConfig.NetworkMode}}}} {socket.gethostname()}")

    def test_a_container_with_a_daemon_of_its_own(self, bin_: Path, steps: Steps, tmp_path: Path) -> None:
        Program(bin_, "docker", f'[ "$1" != container ] || exit 1; {ANSWERS}')
        have(bin_, "chromium", "chromedriver")
        (tmp_path / "dockerenv").touch()
        prepare(steps, tmp_path, building=False)


@pytest.mark.usefixtures("bin_")
class TestLimits:
    def test_a_colon_in_the_path(self, steps: Steps, tmp_path: Path) -> None:
        message = refusal(lambda: prepare(steps, tmp_path / "a:b"))
        assert message.startswith(f"{tmp_path}/a:b has a colon in its path, ")
        assert message.endswith("Move it to a path without one.")

    def test_a_place_without_programs(self, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.statvfs", lambda place: SimpleNamespace(f_flag=os.ST_NOEXEC | os.ST_NOSUID))
        assert refusal(lambda: prepare(steps, tmp_path / "not/yet")) == (
            f"{tmp_path} is on a file system that is mounted noexec, and programs of a run are there. "
            "Move it, or mount it with exec (mount -o remount,exec)."
        )

    @pytest.mark.parametrize(("name", "advice"), [("max_user_instances", 512), ("max_user_watches", 524288)])
    def test_inotify(self, steps: Steps, tmp_path: Path, name: str, advice: int) -> None:
        (tmp_path / "inotify").mkdir()
        (tmp_path / "inotify" / name).write_text("16\n")
        message = refusal(lambda: prepare(steps, tmp_path))
        assert message.startswith(f"fs.inotify.{name} is 16, too low for kubelet and containerd in the nodes: ")
        assert message.endswith(f"Raise it: sysctl fs.inotify.{name}={advice}")

    def test_open_files(self, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (128, 256))
        assert refusal(lambda: prepare(steps, tmp_path)) == (
            "A process here may open 128 files (256 at most), too few for the browser: expected 1024. "
            "Raise it: ulimit -n 1024"
        )


class TestDisk:
    @pytest.mark.parametrize(
        ("free", "message"),
        [
            ({"/": 3.4}, "this run needs 6 GiB under /no-such-docker-root, and 3.4 GiB are free."),
            ({"{cache}": 5.9}, "this run needs 6 GiB under {cache}/not/yet/there, and 5.9 GiB are free."),
        ],
    )
    def test_nearly_full(
        self,
        bin_: Path,
        disk: Callable[[dict[str, float]], None],
        tmp_path: Path,
        free: dict[str, float],
        message: str,
    ) -> None:
        Program(bin_, "docker", ANSWERS)
        disk({place.format(cache=tmp_path): gib for place, gib in free.items()})
        cache = tmp_path / "not/yet/there"
        found = refusal(lambda: machine.check_disk(machine.DISK_WARM, cache))
        assert found == (
            f"The disk is nearly full: {message.format(cache=tmp_path)} Make room (docker system prune) and run again."
        )

    def test_room_enough(self, bin_: Path, disk: Callable[[dict[str, float]], None], tmp_path: Path) -> None:
        Program(bin_, "docker", ANSWERS)
        disk({str(tmp_path): 10, "/": 10})
        machine.check_disk(machine.DISK_WARM, tmp_path)
        assert "needs 20 GiB" in refusal(lambda: machine.check_disk(machine.DISK_COLD, tmp_path))
