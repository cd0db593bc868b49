"""Requirements of a run: check the machine, install what is missing where that is possible, refuse what cannot work.

A machine that has a working Docker is left as it is, but for the tools a run cannot do without.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import EnvironmentFault
from harness.base.progress import Steps
from harness.base.quantities import GIB
from harness.base.shell import MARK, CommandError, environment, run
from harness.base.wait import NotYet, TooLateError, wait_until
from harness.host import docker_config
from harness.host.isolation import OPEN_FILES

INSTALL = Path(__file__).parents[2] / "scripts/install-packages"
SYSTEMD = Path("/run/systemd/system")
"""Exists where systemd is the init system (sd_booted(3))."""
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
"""Directories that dockerd may be in; a user who is not root, or a cron job, has none of these in PATH."""
INOTIFY = Path("/proc/sys/fs/inotify")
INOTIFY_LIMITS = {"max_user_instances": 100, "max_user_watches": 4096}
"""Lowest values that a run works with: its nodes and its browser have about 50 instances open. Linux has 128 and 8192
or more by default."""
INOTIFY_ADVICE = {"max_user_instances": 512, "max_user_watches": 524288}
"""Values that kind's documentation advises (Known issues, pod errors due to "too many open files")."""
CONTAINER = Path("/.dockerenv")
"""Exists inside a Docker container."""
DISK_COLD = 20 * GIB
"""Most bytes that building every artifact and running on them takes."""
DISK_WARM = 6 * GIB
"""Most bytes that a run on cached artifacts takes."""


@dataclass(frozen=True)
class Need:
    """A program that a run needs, the reason, and the Debian packages that have it."""

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
    """Return the needs that the machine does not meet."""
    return tuple(need for need in needs if not shutil.which(need.program, path=_search_path()))


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PATH])


def prepare(steps: Steps, *, building: bool, may_install: bool, cache: Path, checkout: Path) -> None:
    """Get the machine ready for a run: limits, programs, a Docker daemon of this machine that answers.

    Raises:
        EnvironmentFault: a limit is too low, something is missing and may not be installed (all of it is named, with
            the command that gets it), or the daemon refuses, or belongs to another machine.
    """
    check_directories(checkout, cache)
    check_limits()
    if shutil.which("docker"):
        docker_config.check_daemon_is_here(os.environ)
    answers = daemon_answers()
    engine = () if answers else (DOCKER, DOCKERD)
    lacking = missing((*engine, *BROWSER, *(BUILD if building else ())))
    if lacking:
        refusal = why_not_install(may_install, lacking)
        if refusal:
            raise EnvironmentFault(_shopping_list(lacking, refusal))
        install(lacking, steps)
    if not answers and not daemon_answers():
        with steps.step("Docker daemon") as step:
            step.done(start_daemon(cache))
    if CONTAINER.exists():
        check_network_is_shared()


def check_directories(*directories: Path) -> None:
    """Check that programs can be run from some directories, and that Docker can mount them.

    Raises:
        EnvironmentFault: they cannot.
    """
    for directory in directories:
        if os.pathsep in str(directory):
            raise EnvironmentFault(
                f"{directory} has a colon in its path, and there a path ends to kind, Docker and the shell's PATH. "
                "Move it to a path without one."
            )
        there = next(path for path in (directory, *directory.parents) if path.exists())
        if os.statvfs(there).f_flag & os.ST_NOEXEC:
            raise EnvironmentFault(
                f"{there} is on a file system that is mounted noexec, and programs of a run are there. "
                "Move it, or mount it with exec (mount -o remount,exec)."
            )


def check_limits() -> None:
    """Check that the kernel lets nodes and browser watch files, and this process open them.

    Raises:
        EnvironmentFault: a limit is too low.
    """
    for name, least in INOTIFY_LIMITS.items():
        file = INOTIFY / name
        if file.exists() and int(file.read_text()) < least:
            raise EnvironmentFault(
                f"fs.inotify.{name} is {file.read_text().strip()}, too low for kubelet and containerd in the nodes: "
                f"expected {least} or more. Raise it: sysctl fs.inotify.{name}={INOTIFY_ADVICE[name]}"
            )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        raise EnvironmentFault(
            f"A process here may open {soft} files ({hard} at most), too few for the browser: expected {OPEN_FILES}. "
            f"Raise it: ulimit -n {OPEN_FILES}"
        )


def check_network_is_shared() -> None:
    """Check that a run in a container reaches what its Docker daemon publishes on the host's loopback.

    Raises:
        EnvironmentFault: the container has a network of its own.
    """
    mode = ["docker", "container", "inspect", "--format", "{{.HostConfig.NetworkMode}}", socket.gethostname()]
    try:
        network = run(mode, timeout=20, what="docker container inspect").strip()
    except CommandError:
        return  # The daemon is not the one that this container belongs to.
    if network != "host":
        raise EnvironmentFault(
            f"This container has a network of its own ({network}), and the run's ports are on its host's loopback. "
            "Start the container with --network host."
        )


def why_not_install(may_install: bool, lacking: tuple[Need, ...]) -> str | None:
    """Return why nothing can be installed here, or None where it can."""
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
    # Debian 12 and Ubuntu have no docker-cli; elsewhere docker.io recommends it.
    packages = sorted({package for need in lacking for package in need.packages} - {"docker-cli"})
    by_hand = [f"{need.program} from its own site" for need in lacking if not need.packages]
    get = "apt-get install" if shutil.which("apt-get") else "this system's packages like Debian's"
    commands = [f"{get} {' '.join(packages)}"] if packages else []
    return f"This machine lacks {names}.\nNothing was installed: {refusal}. Get it: {', and '.join(commands + by_hand)}"


def install(lacking: tuple[Need, ...], steps: Steps) -> None:
    """Install what is missing from the machine's own Debian or Ubuntu mirror; a line for each names it and the reason.

    Raises:
        EnvironmentFault: apt-get fails (its last lines are shown).
    """
    for packages in dict.fromkeys(need.packages for need in lacking):
        needs = [need for need in lacking if need.packages == packages]
        programs = " and no ".join(need.program for need in needs)
        steps.say(f"Installing {', '.join(packages)}: no {programs} here, and it {needs[0].why}")
    wanted = sorted({package for need in lacking for package in need.packages})
    with steps.step("packages") as step:
        try:
            step.done(run(["bash", INSTALL, *wanted], timeout=1500, what="apt-get install").strip())
        except CommandError as error:
            raise EnvironmentFault(str(error)) from error


def daemon_answers() -> bool:
    """Return True if a Docker daemon answers.

    Raises:
        EnvironmentFault: there is one, and it refuses this user.
    """
    if not shutil.which("docker"):
        return False
    try:
        run(["docker", "version", "--format", "{{.Server.Version}}"], timeout=20, what="docker version")
    except CommandError as error:
        if "permission denied" in error.output.lower():
            raise EnvironmentFault(
                "The Docker daemon refuses this user: permission denied on its socket.\n"
                "Add the user to the docker group (usermod -aG docker USER, then log in again), or run as root."
            ) from error
        return False
    return True


def start_daemon(cache: Path) -> str:
    """Start an installed Docker daemon that is down, and return how it was started.

    Raises:
        EnvironmentFault: this user is not root, or the daemon does not start, or does not answer within 60 s (its last
            lines are shown).
    """
    if os.geteuid() != 0:
        raise EnvironmentFault(
            "The Docker daemon is not running, and only root can start it: sudo systemctl start docker"
        )
    log = cache / "dockerd.log"
    if SYSTEMD.exists():
        try:
            run(["systemctl", "start", "docker"], timeout=90)
        except CommandError as error:
            raise EnvironmentFault(f"The Docker daemon does not start: {error}") from error
        how = "started by systemd"
    else:
        cache.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as out:
            # It outlives the run on purpose: images and layers stay warm for the next one.
            env = environment(PATH=_search_path())
            env.pop(MARK, None)
            subprocess.Popen(["setsid", "--fork", "dockerd"], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env)
        how = "started, no init system here"

    def answers() -> str | NotYet:
        return how if daemon_answers() else NotYet("no answer")

    try:
        return wait_until("the Docker daemon", answers, timeout=60)
    except TooLateError as error:
        lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
        raise EnvironmentFault("\n  | ".join([f"{error}. It was {how}; its last lines:", *lines])) from error


def docker_root() -> Path:
    """Return Docker's own directory.

    Raises:
        CommandError: the daemon does not answer.
    """
    return Path(run(["docker", "info", "--format", "{{.DockerRootDir}}"], timeout=20, what="docker info").strip())


def check_disk(needed: int, *places: Path) -> None:
    """Check that there is room for `needed` bytes in Docker's directory and in each of the places.

    Raises:
        EnvironmentFault: a disk has less.
    """
    for place in (docker_root(), *places):
        there = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
        free = shutil.disk_usage(there).free
        if free < needed:
            raise EnvironmentFault(
                f"The disk is nearly full: this run needs {needed / GIB:.0f} GiB under {place}, "
                f"and {free / GIB:.1f} GiB are free. Make room (docker system prune) and run again."
            )
