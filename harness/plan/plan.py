"""The plan: all that a run is going to do, decided before anything starts."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.base.errors import HarnessError
from harness.base.files import parse_python, read_text
from harness.charts.chart import chart_directory
from harness.host import runs
from harness.host.identity import STATE_DIRECTORY, identity
from harness.plan.contract import KNOWN_COURSES
from harness.plan.course_repository import Repository, check_out, parse_course, read_repository
from harness.plan.hubs import AUTHORING, HUBS, SCALED, STUDENT, HubSpec
from harness.plan.sources import ol_infrastructure as owners
from harness.plan.sources.new_courses import named_in
from harness.plan.sources.ol_infrastructure import OlInfrastructure
from harness.plan.versions import read_versions

HOW = ("auto", "pull", "build")
MONITORING = ("auto", "required", "off")
"""Where a test asks for the monitoring it is there, and what it cannot check is listed; or that is a failure; or it is
never there."""
REGISTRIES = ("docker.io", "quay.io", "registry.k8s.io")
MIRRORED = (*REGISTRIES, "tools", "charts")


@dataclass(frozen=True)
class Plan:
    """Everything a run was asked to do. Two runs with equal plans do the same."""

    checkout: Path
    name: str
    """Name of the run's cluster, network and containers; another checkout or another user has another."""
    state: Path
    """Directory for what the run keeps about itself: kubeconfig, secrets, logs. Inside the checkout, not in git."""
    cache: Path
    """Directory for what was built or downloaded; shared by all checkouts."""
    evidence: Path
    chart: str
    spawner: Path
    values: tuple[Path, ...]
    authoring_values: tuple[Path, ...]
    ol_infrastructure: OlInfrastructure | None
    """A checkout of mitodl/ol-infrastructure, evaluated; its values and its spawner stand in place of our own."""
    course_sources: Mapping[str, str]
    """Where the course repositories are that the run was given, by tag: as they were given, paths and git URLs."""
    courses: tuple[Repository, ...]
    """The same, to take through the whole workflow: copies of ours, in `state`. `check_out_courses` makes them."""
    cell_timeout: float
    """Seconds for each of their cells."""
    run_timeout: float
    """Seconds for the run as a whole; 0 for no limit."""
    artifacts: str
    kubernetes: str
    """Version of Kubernetes, or 'pinned'."""
    mirrors: Mapping[str, str]
    may_install: bool
    keep: bool
    hub_port: int
    authoring_port: int
    gate: Path | None = None
    """The gate's routes; None for those of the evaluated program, or without one for those in helm/values/gate.yaml."""
    monitoring: str = MONITORING[0]
    """One of MONITORING."""
    monitored: bool = False
    """True if a test of the monitoring is among those that run; known once they are collected."""

    @property
    def monitoring_values(self) -> Path:
        """Values that let a Prometheus read the hubs' metrics; laid beneath those of a monitored run."""
        return self.checkout / "helm/values/monitoring.yaml"

    @property
    def secrets(self) -> Path:
        """File of the run's passwords and tokens, which nothing that is kept as evidence may show."""
        return self.state / "secrets.json"

    @property
    def hubs(self) -> tuple[HubSpec, ...]:
        """The two hubs, under the names that the owners' program gives them, or else our values files."""
        return self.ol_infrastructure.hubs if self.ol_infrastructure else HUBS

    def hub(self, known: HubSpec) -> HubSpec:
        """Return a hub under its names in this run."""
        return next((spec for spec in self.hubs if spec == known), known)

    def values_of(self, hub: HubSpec) -> tuple[Path, ...]:
        """Return the values files of a hub; later ones win."""
        return self.authoring_values if hub == AUTHORING else self.values

    @property
    def namespaces(self) -> list[str]:
        """The namespaces of all hubs that a run may have."""
        return [spec.namespace for spec in (*self.hubs, SCALED)]

    def describe(self) -> list[str]:
        """Return the plan as lines for the report header."""
        shown = {
            "chart": self.chart,
            "spawner": self._short(self.spawner),
            "values": " ".join(map(self._short, self.values)),
            "authoring": " ".join(map(self._short, self.authoring_values)),
            **(
                {"metrics": f"{self._short(self.monitoring_values)}, beneath both hubs' values"}
                if self.monitored
                else {}
            ),
            **({"ol-infra": str(self.ol_infrastructure)} if self.ol_infrastructure else {}),
            **({"courses": ", ".join(map(str, self.courses))} if self.courses else {}),
            **({"k8s": self.kubernetes} if self.kubernetes != "pinned" else {}),
            "artifacts": self.artifacts + "".join(f" {key}={value}" for key, value in self.mirrors.items()),
            "cluster": f"{self.name}{', kept' if self.keep else ''}",
            "evidence": self._short(self.evidence),
        }
        return [f"{key + ':':<11}{value}" for key, value in shown.items()]

    def _short(self, path: Path) -> str:
        return str(path.relative_to(self.checkout)) if path.is_relative_to(self.checkout) else str(path)


def make_plan(
    options: Mapping[str, list[str]],
    *,
    checkout: Path,
    cwd: Path,
    environ: Mapping[str, str],
    ol_infrastructure: OlInfrastructure | None = None,
    keep: bool = False,
    cluster_name: str | None = None,
) -> Plan:
    """Return the plan that a person's options ask for. Nothing is written: `check_out_courses` gets its courses.

    Args:
        options: values by option name, as harness.plan.options.read gives them; relative paths count from `cwd`.
        ol_infrastructure: as `evaluate_ol_infrastructure` returns it.

    Raises:
        HarnessError: an option is not what it should be, or a file it names is missing or broken.
    """

    def one(name: str) -> str:
        given = options[name]
        return given[-1] if given else ""

    def files(name: str, hub_spec: HubSpec, default: str) -> tuple[Path, ...]:
        given = tuple(cwd / Path(value).expanduser() for value in options[name])
        for path in given:
            read_values(path, f"--{name}")
        if ol_infrastructure and hub_spec in ol_infrastructure.values:
            return (ol_infrastructure.values[hub_spec], *given)
        return given or (checkout / default,)

    def path(name: str) -> Path | None:
        return cwd / Path(one(name)).expanduser() if one(name) else None

    spawner = path("spawner") or (
        ol_infrastructure.spawner if ol_infrastructure else checkout / "helm/spawner/dynamicImageConfig.py"
    )
    # It is run by the hub alone; here it has to be Python.
    parse_python(spawner, "--spawner")
    chart = one("chart")
    if os.sep in chart or chart in (".", ".."):
        chart = str((cwd / Path(chart).expanduser()).resolve())
        chart_directory(Path(chart))
    gate = path("gate")
    if gate:
        read_values(gate, "--gate")
    hub_port, authoring_port = (_port(f"--{name}", one(name)) for name in ("hub-port", "authoring-port"))
    if hub_port and hub_port == authoring_port:
        raise HarnessError(f"--authoring-port {authoring_port}: --hub-port has it. Give another, or 0 for any free one")
    return Plan(
        checkout=checkout,
        name=cluster_name or run_name(checkout),
        state=checkout / STATE_DIRECTORY,
        cache=cwd / default_cache(environ),
        evidence=cwd / Path(one("evidence")).expanduser(),
        chart=chart,
        spawner=spawner,
        values=files("values", STUDENT, "helm/values/production.yaml"),
        authoring_values=files("authoring-values", AUTHORING, "helm/values/authoring.yaml"),
        ol_infrastructure=ol_infrastructure,
        course_sources=_course_sources(options["course"], spawner, ol_infrastructure),
        courses=(),
        cell_timeout=_seconds("--cell-timeout", one("cell-timeout")),
        run_timeout=_seconds("--run-timeout", one("run-timeout"), least=0),
        artifacts=_one_of("--artifacts", one("artifacts"), HOW),
        kubernetes=_kubernetes(one("kubernetes"), checkout),
        mirrors=_mirrors(options["mirror"]),
        may_install=_one_of("--install", one("install"), ("auto", "never")) == "auto",
        keep=keep,
        hub_port=hub_port,
        authoring_port=authoring_port,
        gate=gate,
        monitoring=_one_of("--monitoring", one("monitoring"), MONITORING),
    )


def check_out_courses(plan: Plan, cwd: Path) -> Plan:
    """Copy the course repositories of a plan into its state directory, and return the plan with them.

    Args:
        cwd: where relative paths count from.

    Raises:
        InUseError: another run of this checkout is under way, whose courses are there.
        HarnessError: one cannot be had, or is not a course repository.
    """
    if not plan.course_sources:
        return plan
    into = plan.state / "courses"
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with runs.held(plan.state, plan.name):
        found = {tag: check_out(source, into / tag, cwd) for tag, source in plan.course_sources.items()}
    return dataclasses.replace(plan, courses=tuple(read_repository(each, tag) for tag, each in found.items()))


def evaluate_ol_infrastructure(
    options: Mapping[str, list[str]], *, cwd: Path, environ: Mapping[str, str]
) -> OlInfrastructure | None:
    """Evaluate the checkout that --ol-infrastructure names, which takes seconds; None without the option.

    Raises:
        HarnessError: it is no checkout, it cannot be evaluated here, or --stack or --base is not there.
        ProgramError: its program does not evaluate; the owners' file and line are named.
    """
    given = {name: options[name][-1] if options[name] else "" for name in ("ol-infrastructure", "stack", "base")}
    if not given["ol-infrastructure"]:
        return None
    checkout = cwd / Path(given["ol-infrastructure"]).expanduser()
    return owners.read(checkout, cwd / default_cache(environ), given["stack"], given["base"])


def default_cache(environ: Mapping[str, str]) -> Path:
    """Return the directory for what runs build and download, outside every checkout; HARNESS_CACHE names another."""
    home = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(environ.get("HARNESS_CACHE") or home / "ol-jupyterhub-harness")


def run_name(checkout: Path) -> str:
    """Return the name of a run: the same for the same user and checkout, another for any other."""
    whose = f"{os.getuid()}:{checkout.resolve()}:{identity(checkout)}"
    return f"jh-{hashlib.sha256(whose.encode()).hexdigest()[:8]}"


def read_values(path: Path, option: str) -> dict[str, object]:
    """Return what is in a Helm values file.

    Raises:
        HarnessError: it is missing, not YAML (the line is named), or not a mapping.
    """
    text = read_text(path, option)
    try:
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise HarnessError(f"{option} {path}{where}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # a control character; a date such as 2026-02-31
        raise HarnessError(f"{option} {path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise HarnessError(f"{option} {path}: expected a mapping of Helm values, found a {type(values).__name__}")
    return values


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise HarnessError(f"{option} {value}: expected one of {', '.join(choices)}")
    return value


def _kubernetes(value: str, checkout: Path) -> str:
    words = read_versions(checkout / "images/versions.toml").table("published.kubernetes")
    if value != "pinned" and value not in words and not re.fullmatch(r"\d+\.\d+\.\d+", value):
        raise HarnessError(
            f"--kubernetes {value}: expected pinned, {', '.join(words)}, or a version such as {words['newest']}"
        )
    return words.get(value, value)


def _port(option: str, value: str) -> int:
    if not value.isdecimal() or int(value) > 65535:
        raise HarnessError(f"{option} {value}: expected a port from 1 to 65535, or 0 for any free one")
    return int(value)


def _seconds(option: str, value: str, least: int = 1) -> float:
    if not value.isdecimal() or int(value) < least:
        raise HarnessError(f"{option} {value}: expected a number of seconds, {least} or more")
    return float(value)


def _course_sources(given: list[str], spawner: Path, theirs: OlInfrastructure | None) -> dict[str, str]:
    found: dict[str, str] = {}
    known = KNOWN_COURSES
    if given:
        # A spawner may work its list out; what it does not name, the pre-puller or a build job does.
        known |= named_in(spawner) | (theirs.pre_pulled | theirs.built if theirs else frozenset())
    for each in given:
        tag, source = parse_course(each)
        if tag in found:
            raise HarnessError(f"--course {each}: another --course has the tag {tag}. Give one of them another: TAG=…")
        if tag in known and each == source:
            raise HarnessError(
                f"--course {each}: there is a course {tag} already. A new one needs another tag, --course TAG={each}; "
                f"if this is an update of that very course, say so: --course {tag}={each}"
            )
        found[tag] = source
    return found


def _mirrors(given: list[str]) -> dict[str, str]:
    mirrors = {}
    for item in given:
        upstream, found, location = item.partition("=")
        if not found or not location or upstream not in MIRRORED:
            raise HarnessError(
                f"--mirror {item}: expected UPSTREAM=LOCATION with UPSTREAM one of {', '.join(MIRRORED)}"
            )
        mirrors[upstream] = location
    return mirrors
