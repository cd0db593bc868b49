"""The machine a run happens on: what it has, what it lacks, and getting what it lacks.

A machine that has a working Docker is left as it is, but for the tools a run cannot do without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.quantities import GIB
from harness.base.shell import MARK, CommandError, run
from harness.base.wait import NotYet, TooLateError, wait_until

SYSTEMD = Path("/run/systemd/system")
"""There where systemd runs the machine (sd_booted(3))."""
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where dockerd may be; a user who is not root, or a cron job, has none of these in PATH."""
DISK_COLD = 20 * GIB
"""Bytes that building every artifact and running on them takes at its fullest."""
DISK_WARM = 6 * GIB
"""Bytes that a run on cached artifacts takes at its fullest."""


@dataclass(frozen=True)
class Need:
    """A program that a run needs, why, and the Debian packages that have it."""

    program: str
    why: str
    packages: tuple[str, ...]


DOCKER = Need(
    "docker", "runs the cluster's nodes, the registry, moto and Postgres", ("docker.io", "docker-cli", "iptables")
)
DOCKERD = Need("dockerd", DOCKER.why, DOCKER.packages)
BROWSER = (
    Need("chromium", "shows a student's page as a person sees it", ("chromium",)),
    Need("chromedriver", "lets selenium drive Chromium", ("chromium-driver",)),
)
BUILD = (
    Need("mmdebstrap", "makes the base of all images that are built", ("mmdebstrap",)),
    Need("go", "compiles Kubernetes, kind, helm and the registry", ()),
    Need("npm", "has configurable-http-proxy", ("npm",)),
)


def missing(needs: tuple[Need, ...]) -> tuple[Need, ...]:
    """The needs that the machine does not meet."""
    return tuple(need for need in needs if not shutil.which(need.program, path=_search_path()))


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH])


def prepare(steps: Steps, *, building: bool, may_install: bool, cache: Path) -> None:
    """Get the machine ready for a run: programs, a Docker daemon that answers, room on the disk.

    Raises:
        HarnessError: something is missing and may not be installed (all of it is named, with the command that gets
            it), the daemon refuses, or the disk is too full.
    """
    answers = daemon_answers()
    engine = () if answers else (DOCKER, DOCKERD)
    lacking = missing((*engine, *BROWSER, *(BUILD if building else ())))
    if lacking:
        refusal = why_not_install(may_install, lacking)
        if refusal:
            raise HarnessError(_shopping_list(lacking, refusal))
        install(lacking, steps)
    if not answers and not daemon_answers():
        with steps.step("Docker daemon") as step:
            step.done(start_daemon(cache))


def why_not_install(may_install: bool, lacking: tuple[Need, ...]) -> str | None:
    """Why nothing can be installed here, or None where it can."""
    if not may_install:
        return "installing is turned off (--install never)"
    if os.geteuid() != 0:
        return "not root"
    if not shutil.which("apt-get"):
        return "not Debian or Ubuntu"
    by_hand = [need.program for need in lacking if not need.packages]
    if by_hand:
        return f"{' and '.join(by_hand)} must be installed by hand"
    return None


def _shopping_list(lacking: tuple[Need, ...], refusal: str) -> str:
    names = "; ".join(f"{need.program} ({need.why})" for need in lacking)
    # Debian 12 and Ubuntu have no docker-cli, and where there is one, docker.io recommends it.
    packages = sorted({package for need in lacking for package in need.packages} - {"docker-cli"})
    by_hand = [f"{need.program} from its own site" for need in lacking if not need.packages]
    get = "apt-get install" if shutil.which("apt-get") else "this system's packages like Debian's"
    commands = [f"{get} {' '.join(packages)}"] if packages else []
    return f"This machine lacks {names}.\nNothing was installed: {refusal}. Get it: {', and '.join(commands + by_hand)}"


def install(lacking: tuple[Need, ...], steps: Steps) -> None:
    """Install what is missing from the machine's own Debian or Ubuntu mirror, saying what and why."""
    for packages in dict.fromkeys(need.packages for need in lacking):
        needs = [need for need in lacking if need.packages == packages]
        programs = " and no ".join(need.program for need in needs)
        steps.say(f"Installing {', '.join(packages)}: no {programs} here, and it {needs[0].why}")
    wanted = sorted({package for need in lacking for package in need.packages})
    with steps.step("packages") as step, tempfile.TemporaryDirectory() as scratch:
        apt = _apt(Path(scratch))
        if DOCKER in lacking or DOCKERD in lacking:
            wanted = _docker_packages(apt, wanted)
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        run(
            [*apt, "install", "--yes", "--no-install-recommends", *wanted],
            timeout=900,
            env=env,
            what="apt-get install",
        )
        step.done(" ".join(wanted))


def _os_release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _apt(scratch: Path) -> list[str]:
    """The apt-get command, its lists fresh.

    Debian 12's own Docker 20.10 cannot start privileged containers on a machine without CAP_SYS_RESOURCE. Debian 13's
    runs on Debian 12 beside Debian 12's runc, so there apt-get also gets to see Debian 13, at a priority at which only
    what is asked for by name comes from it, and in lists of its own so that the machine's stay as they are.
    """
    command = ["apt-get"]
    if _os_release().get("VERSION_CODENAME") == "bookworm":
        sources, lists, preferences = scratch / "sources", scratch / "lists", scratch / "preferences"
        for directory in (sources, lists, preferences):
            directory.mkdir()
        main = Path("/etc/apt/sources.list")
        if main.exists():
            shutil.copy(main, sources / "machine.list")
        for file in Path("/etc/apt/sources.list.d").glob("*"):
            shutil.copy(file, sources)
        for key, path in (("SourceParts", sources), ("PreferencesParts", preferences)):
            command += ["-o", f"Dir::Etc::{key}={path}"]
        command += ["-o", "Dir::Etc::SourceList=/dev/null", "-o", f"Dir::State::Lists={lists}"]
        # A mirror is not among apt's answers before its lists are there, which they are not on a new machine.
        run([*command, "update"], timeout=300, what="apt-get update")
        asked = ["indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
        targets = run([*command, *asked], timeout=60, what="asking apt for its mirrors")
        mirrors = {uri for uri, release in (line.split() for line in targets.splitlines()) if release == "bookworm"}
        (sources / "trixie.list").write_text("".join(f"deb {uri} trixie main\n" for uri in sorted(mirrors)))
        (preferences / "trixie").write_text("Package: *\nPin: release n=trixie*\nPin-Priority: 50\n")
    run([*command, "update"], timeout=300, what="apt-get update")
    return command


def _docker_packages(apt: list[str], packages: list[str]) -> list[str]:
    if len(apt) == 1:
        # Debian 13 has it apart, Ubuntu within docker.io.
        apart = run(["apt-cache", "search", "--names-only", "^docker-cli$"], timeout=60, what="apt-cache search")
        return [package for package in packages if package != "docker-cli" or (apart and not shutil.which("docker"))]
    if shutil.which("docker"):
        packages = [package for package in packages if package != "docker-cli"]
    from_trixie = {"docker.io", "docker-cli"}
    return [f"{package}/trixie" if package in from_trixie else package for package in packages] + ["containerd/trixie"]


def daemon_answers() -> bool:
    """Whether a Docker daemon answers.

    Raises:
        HarnessError: one is there and refuses us.
    """
    if not shutil.which("docker"):
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20, what="docker version")
    except CommandError as error:
        if "permission denied" in error.output.lower():
            raise HarnessError(
                "The Docker daemon refuses this user: permission denied on its socket.\n"
                "Add the user to the docker group (usermod -aG docker USER, then log in again), or run as root."
            ) from error
        return False
    return True


def start_daemon(cache: Path) -> str:
    """Start an installed Docker daemon that is down; returns how it was started.

    Raises:
        HarnessError: we may not, or it does not come up within 60 s (its last lines are shown).
    """
    if os.geteuid() != 0:
        raise HarnessError("The Docker daemon is not running, and only root can start it: sudo systemctl start docker")
    log = cache / "dockerd.log"
    if SYSTEMD.exists():
        run(["systemctl", "start", "docker"], timeout=90)
        how = "started by systemd"
    else:
        cache.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            # It outlives the run on purpose: images and layers stay warm for the next one.
            env = {key: value for key, value in os.environ.items() if key != MARK} | {"PATH": _search_path()}
            subprocess.Popen(["setsid", "--fork", "dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        how = "started, no init system here"

    def answers() -> str | NotYet:
        return how if daemon_answers() else NotYet("no answer")

    try:
        return wait_until("the Docker daemon", answers, timeout=60)
    except TooLateError as error:
        lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        raise HarnessError("\n  | ".join([f"{error}. It was {how}; its last lines:", *lines])) from error


def docker_root() -> Path:
    """Docker's own directory.

    Raises:
        CommandError: the daemon does not answer.
    """
    return Path(run(["docker", "info", "--format", "{{.DockerRootDir}}"], timeout=20, what="docker info").strip())


def check_disk(needed: int, *places: Path) -> None:
    """See that there is room, in Docker's directory and in each of the places, for `needed` bytes.

    Raises:
        HarnessError: there is not.
    """
    for place in (docker_root(), *places):
        there = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
        free = shutil.disk_usage(there).free
        if free < needed:
            raise HarnessError(
                f"The disk is nearly full: this run needs {needed / GIB:.0f} GiB under {place}, "
                f"and {free / GIB:.1f} GiB are free. Make room (docker system prune) and run again."
            )
