"""`tox -e up`, `down`, `runs`, `build`, `bench` and `drills`: commands for a deployment outside a test run."""

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
from harness.base.shell import kill_children
from harness.base.signals import listen
from harness.charts.chart import SPAWNER_KEY, Release, load_chart
from harness.charts.helm import Helm
from harness.cli.bench import bench
from harness.deployment import boot, releases, teardown
from harness.deployment.scaling import write_overlay
from harness.drills.replays import ReplaysRequest, replays
from harness.drills.run import DrillsRequest, drills, report_again
from harness.host import runs
from harness.plan.hubs import HUBS
from harness.plan.options import OPTIONS, Option, read
from harness.plan.plan import Plan, check_out_courses, evaluate_ol_infrastructure, make_plan
from harness.plan.versions import read_versions

CHECKOUT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
"""Exit code of a shell for Ctrl-C."""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("up", "build a private copy of the deployment, leave it running, and print its URLs"),
        ("down", "remove every trace of it, or of other runs on this machine"),
        ("runs", "list the runs on this machine, of all checkouts: name, state, age, checkout"),
        ("build", "build or pull everything that a run is made of, and start nothing"),
        ("bench", "measure the harness against the bare floor, and write bench.json"),
        ("drills", "plant regressions and valid changes one by one, and check that the suite tells them apart"),
        ("replays", "check that the owners' past fixes, in a checkout with history, are what the promises see"),
        ("lint", "check with Helm that nothing is wrong with the built-in chart and the values"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        for option in OPTIONS:
            command.add_argument(option.flag, help=option.text, metavar=option.metavar, action="append", default=[])
        if name == "down":
            which = command.add_mutually_exclusive_group()
            which.add_argument("name", nargs="?", default="", help="the run to remove, of 'runs'; this checkout's own")
            which.add_argument("--all", action="store_true", help="remove all kept and orphaned runs of this machine")
        if name == "drills":
            _add_drill_options(command)
        if name == "replays":
            command.add_argument("checkout", help="of mitodl/ol-infrastructure, with its history", type=Path)
            command.add_argument("-k", help="only those with WORDS in commit, promise or what was wrong", default="")
            at_the_gate = "by the promises about the running gate, on a copy with the routes of each; takes minutes"
            command.add_argument("--at-the-gate", help=at_the_gate, action="store_true")
            command.add_argument("--walk", help="evaluate each commit since a DATE instead", metavar="DATE", default="")
    given = parser.parse_args(arguments)
    steps = Steps(Console(stderr=False))
    listen()
    try:
        run_command(given, steps)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return NO_VERDICT if isinstance(error, EnvironmentFault) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        # Programs that a thread still has under way: Python waits for its threads.
        kill_children()
    return 0


def run_command(given: argparse.Namespace, steps: Steps) -> None:
    """Run the command that the arguments name.

    Raises:
        EnvironmentFault: it failed because of Docker, the disk or a container, or at a limit of the built-in chart.
        HarnessError: it failed, or an option is not what it should be.
    """
    if given.command == "runs" or (given.command == "down" and (given.all or given.name)):
        others(given, steps)
        return
    plan = plan_from(given)
    if given.command == "lint":
        lint(plan, steps)
    elif given.command == "build":
        boot.prepare(plan, steps)
    elif given.command == "bench":
        bench(plan, steps)
    elif given.command == "replays":
        checkout = given.checkout.expanduser().absolute()
        replays(ReplaysRequest(checkout, given.k, given.walk, given.at_the_gate), plan, steps)
    elif given.command == "drills" and given.report:
        report_again(given.report, plan, steps)
    elif given.command == "drills":
        request = DrillsRequest(given.k, given.drills, given.resume, given.thorough, given.keep_cluster)
        drills(plan, steps, request)
    else:
        with boot.only_run(plan):
            if given.command == "up":
                up(plan, steps)
            else:
                teardown.remove(plan, steps)


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
        help="plant nothing: one report of the drills.json files of earlier runs, of all parts for instance",
        metavar="PATH",
        nargs="+",
        type=Path,
    )


def plan_from(given: argparse.Namespace) -> Plan:
    """Make the plan from a command's arguments, the environment and pyproject.toml, and check out its courses.

    What goes away needs neither courses nor files that the environment or pyproject.toml name: they may be gone.
    """
    removes = given.command == "down"
    ini = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]

    def from_ini(option: Option) -> list[str]:
        value = [] if removes else ini.get(option.ini, [])
        return [value] if isinstance(value, str) else list(value)

    options = read(lambda option: getattr(given, option.dest), {} if removes else os.environ, from_ini)
    keep = given.command == "up"
    owners = evaluate_ol_infrastructure(options, cwd=Path.cwd(), environ=os.environ)
    plan = make_plan(
        options, checkout=CHECKOUT, cwd=Path.cwd(), environ=os.environ, ol_infrastructure=owners, keep=keep
    )
    return plan if removes else check_out_courses(plan, Path.cwd())


def up(plan: Plan, steps: Steps) -> None:
    """Boot a deployment, or bring the one that is there up to date, and print how to use it."""
    running = boot.boot(plan, steps)
    link = "/tmplogin?course=supervised_learning_fundamentals&notebook=lectures%2Flecture1%2Fregression.ipynb"
    steps.say(f"A student's link:     {running.student.url}{link}")
    steps.say(f"kubectl:              {running.artifacts.kubectl} --kubeconfig {running.cluster.kubeconfig}")
    steps.say("'tox -e down' removes it.")


def others(given: argparse.Namespace, steps: Steps) -> None:
    """List the runs on this machine, or remove those that are not in use."""
    found = [runs.find(given.name)] if given.command == "down" and given.name else runs.all_runs()
    if given.command == "down":
        removable = [run for run in found if given.name or run.state in (runs.KEPT, runs.ORPHANED)]
        teardown.remove_left(removable, steps)
        for run in found:
            if run not in removable:
                steps.say(f"{run}: not removed")
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
    for hub_spec in HUBS:
        values = plan.values_of(hub_spec)
        replaced = releases.replaced_values(plan, hub_spec)
        scaled = releases.scaled_file(plan, hub_spec)
        write_overlay(values, scaled)
        release = Release("lint", "lint", (*values, scaled), {SPAWNER_KEY: plan.spawner}, replaced)
        helm.lint(builtin, release)
        helm.template(builtin, release)
        steps.say(f"helm lint: {' '.join(path.name for path in release.values)}: nothing wrong")
