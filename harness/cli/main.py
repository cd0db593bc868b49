"""`tox -e up`, `down`, `runs`, `bench` and `drills`: what a person does with a deployment outside a test run."""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from pathlib import Path

from rich.console import Console

from harness.artifacts.build import build_helm
from harness.base.errors import NO_VERDICT, EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.signals import listen
from harness.charts.chart import SPAWNER_KEY, Release, load_chart
from harness.charts.helm import Helm
from harness.cli.bench import bench
from harness.deployment import boot, releases, teardown
from harness.drills.run import Asked, drills, report_again
from harness.host import runs
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.options import OPTIONS, Option, read
from harness.plan.plan import Plan, make_plan
from harness.plan.versions import read_versions

CHECKOUT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "build a private copy of the deployment, leave it running, and print its URLs"),
        ("down", "remove every trace of it, or of other runs on this machine"),
        ("runs", "list the runs on this machine, of all checkouts: name, whether in use, age, checkout"),
        ("bench", "measure the harness against the bare floor, and write bench.json"),
        ("drills", "plant regressions and valid changes one by one, and see that the suite tells them apart"),
        ("lint", "see that Helm finds nothing wrong with the built-in chart and the values"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        for option in OPTIONS:
            command.add_argument(option.flag, help=option.text, metavar=option.metavar, action="append", default=[])
        if name == "down":
            which = command.add_mutually_exclusive_group()
            which.add_argument("name", nargs="?", default="", help="the run to remove, of 'runs'; this checkout's own")
            which.add_argument("--all", action="store_true", help="remove all runs on this machine that nobody uses")
        if name == "drills":
            _add_drill_options(command)
    given = parser.parse_args(arguments)
    steps = Steps(Console(stderr=False))
    listen()
    try:
        if given.command == "runs" or (given.command == "down" and (given.all or given.name)):
            others(given, steps)
            return 0
        plan = plan_from(given)
        if given.command == "lint":
            lint(plan, steps)
            return 0
        if given.command == "bench":
            bench(plan, steps)
            return 0
        if given.command == "drills":
            if given.report:
                report_again(given.report, plan, steps)
            else:
                asked = Asked(given.k, given.drills, given.resume, given.thorough, given.keep_cluster)
                drills(plan, steps, asked)
            return 0
        with boot.only_run(plan):
            if given.command == "up":
                up(plan, steps)
            else:
                teardown.remove(plan, steps)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_VERDICT if isinstance(error, EnvironmentFault) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def _add_drill_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("-k", help="only drills with WORDS in their name or subject", metavar="WORDS", default="")
    command.add_argument("--drills", help="only one of N equal parts", metavar="I/N", default="")
    command.add_argument("--resume", help="leave out what ended well before and has not changed", action="store_true")
    command.add_argument(
        "--thorough",
        help="the whole suite on each valid change, and on what neither its own promise nor a cheap one catches",
        action="store_true",
    )
    command.add_argument("--keep-cluster", help="leave the deployment running at the end", action="store_true")
    command.add_argument(
        "--report",
        help="plant nothing: one report of what drills.json files of earlier runs say, of all parts for instance",
        metavar="PATH",
        nargs="+",
        type=Path,
    )


def plan_from(given: argparse.Namespace) -> Plan:
    """The plan from a command's arguments, the environment and pyproject.toml."""
    ini = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]

    def from_ini(option: Option) -> list[str]:
        value = ini.get(option.ini, [])
        return [value] if isinstance(value, str) else list(value)

    options = read(lambda option: getattr(given, option.dest), os.environ, from_ini)
    keep = given.command == "up"
    return make_plan(options, checkout=CHECKOUT, cwd=Path.cwd(), environ=os.environ, keep=keep)


def up(plan: Plan, steps: Steps) -> None:
    """Boot, or bring up to date what is there, and say how to use it."""
    running = boot.boot(plan, steps)
    link = "/tmplogin?course=supervised_learning_fundamentals&notebook=lectures%2Flecture1%2Fregression.ipynb"
    steps.say(f"A student's link:     {running.student.url}{link}")
    steps.say(f"kubectl:              {running.artifacts.kubectl} --kubeconfig {running.cluster.kubeconfig}")
    steps.say("'tox -e down' removes it.")


def others(given: argparse.Namespace, steps: Steps) -> None:
    """List the runs on this machine, or remove those that nobody uses."""
    found = [runs.find(given.name)] if given.command == "down" and given.name else runs.all_runs()
    if given.command == "down":
        removable = [run for run in found if given.name or run.state in (runs.KEPT, runs.ORPHANED)]
        teardown.remove_left(removable, steps)
        for run in found:
            if run not in removable:
                steps.say(f"{run}: left alone")
    else:
        for run in found:
            steps.say(str(run))
    if not found:
        steps.say("No run has anything on this machine.")


def lint(plan: Plan, steps: Steps) -> None:
    """Lint and render the built-in chart with the values of both hubs.

    Raises:
        HarnessError: Helm finds something wrong.
    """
    helm = Helm(build_helm(read_versions(), plan.cache, steps))
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    builtin = load_chart(CHECKOUT / "helm/jupyterhub", scratch=plan.state)
    kind = CHECKOUT / "helm/values/kind.yaml"
    for role, values in ((STUDENT, plan.values), (AUTHORING, plan.authoring_values)):
        replaced = releases.replaced_values(plan, role)
        release = Release("lint", "lint", (*values, kind), {SPAWNER_KEY: plan.spawner}, replaced)
        helm.lint(builtin, release)
        helm.template(builtin, release)
        steps.say(f"helm lint: {' '.join(path.name for path in release.values)}: nothing wrong")
