"""Removal of a run from the machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

from harness.base.errors import HarnessError
from harness.base.progress import Steps
from harness.base.signals import uninterrupted
from harness.deployment.state import STATE
from harness.host import docker, runs
from harness.host import requirements as machine
from harness.host.identity import STAY
from harness.host.runs import Run
from harness.plan.plan import Plan


def undo_boot(plan: Plan, steps: Steps) -> None:
    """Remove what a boot built before it failed, or leave it where the plan keeps it."""
    if plan.keep:
        steps.say(f"Kept as it is, because of --keep-cluster: {plan.name}. 'tox -e down' removes it.")
    else:
        remove(plan, steps)


def remove(plan: Plan, steps: Steps) -> None:
    """Remove every trace of the plan's run from the machine; what is cached for later runs stays.

    Raises:
        HarnessError: Docker does not answer, or cannot remove something; the message lists what is left.
    """
    remove_run(plan.name, plan.state, steps)


def remove_run(name: str, state: Path | None, steps: Steps) -> None:
    """Remove every trace of a run.

    Args:
        state: the run's directory; None where that is gone.

    Raises:
        HarnessError: as `remove`.
    """
    with uninterrupted(name, steps.say), steps.step("teardown", always=True) as step:
        if machine.daemon_answers():
            gone = docker.remove(name, name)
        elif state and (state / STATE).exists():
            raise HarnessError(
                f"The Docker daemon does not answer: the containers of {name} are left as they are. "
                f"Start it (systemctl start docker), then 'tox -e down' removes them."
            )
        else:
            gone = []
        step.done(f"removed {' '.join(gone)}" if gone else "nothing was there")
        for path in state.glob("*") if state else ():
            if path.name not in STAY:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_left(found: Iterable[Run], steps: Steps) -> None:
    """Remove runs that are not in use, those that were kept on purpose too.

    Raises:
        HarnessError: one is in use, is another user's, or does not go.
    """
    for run in found:
        steps.say(str(run))
        try:
            directory = run.directory
        except PermissionError as error:
            raise HarnessError(f"{run.name} is another user's: {run.checkout} cannot be read") from error
        with runs.held(directory, run.name) if directory else nullcontext():
            remove_run(run.name, directory, steps)
