"""The options of a run, given on the command line, as HARNESS_… in the environment, or in an ini file.

The command line wins over the environment, and the environment over the ini file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """One option, with its name in each place where it can be given."""

    name: str
    help: str
    default: str = ""
    metavar: str = "PATH"
    repeat: bool = False

    @property
    def flag(self) -> str:
        return f"--{self.name}"

    @property
    def dest(self) -> str:
        return self.name.replace("-", "_")

    @property
    def env(self) -> str:
        return f"HARNESS_{self.dest.upper()}"

    @property
    def text(self) -> str:
        """The help text with the option's default and its name in the environment, and whether it is repeatable."""
        notes = [
            *(["repeatable"] if self.repeat else []),
            *([f"default: {self.default}"] if self.default else []),
            f"also {self.env}",
        ]
        return f"{self.help} ({'; '.join(notes)})"

    @property
    def ini(self) -> str:
        return f"harness_{self.dest}"


OPTIONS = (
    Option(
        "chart",
        "the JupyterHub chart: 'pinned', 'latest' or a VERSION of the chart repository; a PATH to a checkout "
        "or an unpacked chart; 'builtin'; or 'auto': the pinned version (that of --ol-infrastructure, if given), and "
        "only if the repository cannot be reached the built-in chart",
        default="auto",
        metavar="CHART",
    ),
    Option("spawner", "the custom spawner, in place of helm/spawner/dynamicImageConfig.py"),
    Option("values", "values of the student hub, in place of helm/values/production.yaml; later wins", repeat=True),
    Option("authoring-values", "the same for the authoring hub, in place of helm/values/authoring.yaml", repeat=True),
    Option("gate", "the gate's routes to both hubs, in place of helm/values/gate.yaml"),
    Option(
        "ol-infrastructure",
        "a checkout of mitodl/ol-infrastructure, whose Pulumi program is evaluated, shut in: its values, its spawner, "
        "its gate, its courses and its chart version take the place of ours; --values, --authoring-values, --spawner, "
        "--gate and --chart win over it",
    ),
    Option(
        "stack",
        "the stack of it that a copy is made of: CI, QA or Production; 'none' for values from "
        "files, and all else as for Production",
        "Production",
        metavar="STACK",
    ),
    Option(
        "base",
        "the revision of it to compare with, to show what a branch changes; by default the one at which the "
        "branch left the main branch",
        metavar="REF",
    ),
    Option(
        "artifacts",
        "'pull' the published images and tools, 'build' them from package registries, or 'auto': pull if they answer",
        default="auto",
        metavar="HOW",
    ),
    Option(
        "kubernetes",
        "the version of Kubernetes: 'pinned', the 'oldest' or the 'newest' that is supported upstream, or a VERSION "
        "that kindest/node is published with; with --artifacts build, the pinned one alone",
        default="pinned",
        metavar="VERSION",
    ),
    Option(
        "mirror",
        "where 'pull' finds what is published at UPSTREAM (docker.io, quay.io, registry.k8s.io, tools, or charts, "
        "which counts with 'build' too); https unless it begins with http://",
        metavar="UPSTREAM=LOCATION",
        repeat=True,
    ),
    Option(
        "course",
        "a course repository, a directory or a git URL, to take through the whole workflow: build, push, open and run "
        "every notebook; the other tests are left out",
        metavar="[TAG=]REPOSITORY",
        repeat=True,
    ),
    Option("cell-timeout", "seconds for each cell of a --course", default="300", metavar="SECONDS"),
    Option(
        "run-timeout",
        "seconds for the whole run, after which it ends as by Ctrl-C; 0 for no limit, which is also that of --pdb",
        default="7200",
        metavar="SECONDS",
    ),
    Option(
        "monitoring",
        "'auto': Prometheus and its sources are built and started when a test of the monitoring runs; if they do not "
        "come up, these tests are listed as not checked; 'required': then they fail; 'off': they are not checked",
        default="auto",
        metavar="HOW",
    ),
    Option("install", "'never' to install nothing on this machine", default="auto", metavar="HOW"),
    Option("hub-port", "loopback port of the student hub; 0 for any free one", default="0", metavar="PORT"),
    Option("authoring-port", "loopback port of the authoring hub; 0 for any free one", default="0", metavar="PORT"),
    Option("evidence", "directory for evidence, screenshots and reports", default=".evidence"),
)


def read(
    given: Callable[[Option], list[str]], environ: Mapping[str, str], ini: Callable[[Option], list[str]]
) -> dict[str, list[str]]:
    """Return the values of all options by name: of command line, else environment, else ini file, else the default.

    A repeatable option takes several values; in the environment they are separated by blanks.
    """
    found: dict[str, list[str]] = {}
    for option in OPTIONS:
        from_env = environ.get(option.env, "")
        env_values = (from_env.split() if option.repeat else [from_env]) if from_env else []
        default = [option.default] if option.default else []
        found[option.name] = given(option) or env_values or ini(option) or default
    return found
