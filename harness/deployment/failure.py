"""The end of a boot that fails: its evidence is kept, its error made one for people, and its work undone."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.client import ApiException

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.shell import kill_children
from harness.base.signals import uninterrupted
from harness.base.timeline import BOOT, render
from harness.deployment.context import BootContext
from harness.deployment.teardown import undo_boot
from harness.evidence import bundle, environment
from harness.evidence import store as evidence
from harness.evidence.diagnosis import mentions_cause
from harness.plan.plan import Plan

NO_VERDICT = "The run ends and has no verdict about the deployment."
CALLS = (httpx.HTTPError, urllib3.exceptions.HTTPError, BotoCoreError, ClientError, ConnectionError, TimeoutError)
"""Errors, beside ApiException, of what a boot asks of hubs, registry, cluster and moto."""


@contextmanager
def undone_on_failure(plan: Plan, steps: Steps, undo: Callable[[], None] | None = None) -> Iterator[None]:
    """Remove everything again when the block fails or is interrupted, unless the plan keeps it.

    Args:
        undo: called in place of the removal.
    """
    try:
        yield
    except BaseException:
        with uninterrupted(plan.name, steps.say):
            (undo or (lambda: undo_boot(plan, steps)))()
        raise


@contextmanager
def faults_named(plan: Plan, find_fault: Callable[..., str] = environment.fault) -> Iterator[None]:
    """Distinguish faults of the environment while there is nothing yet of which evidence could be kept.

    Args:
        find_fault: as `with_evidence` takes it.

    Raises:
        EnvironmentFault, HarnessError: as `with_evidence`.
    """
    try:
        with failed_calls_named():
            yield
    except EnvironmentFault:
        raise
    except HarnessError as error:
        fault = find_fault(plan, None, whole=False)
        # A build that fails gives back what it had taken.
        if not fault and os.strerror(errno.ENOSPC).lower() in str(error).lower():
            fault = f"The disk was full: {error}\nMake room (docker system prune)."
        if fault:
            raise EnvironmentFault(f"{fault} {NO_VERDICT}") from error
        raise


@contextmanager
def with_evidence(
    context: BootContext,
    find_fault: Callable[..., str] = environment.fault,
    write: Callable[..., str | None] = bundle.write_boot,
) -> Iterator[None]:
    """Keep the evidence of a failure before anything is removed, and distinguish faults of the environment.

    Args:
        find_fault: returns what failed of the environment, in a line; nothing where it is sound.
        write: writes the evidence, and returns the likely cause.

    Raises:
        EnvironmentFault: in place of an error that Docker, the disk or a container was the cause of.
        HarnessError: in place of the error of a call to the cluster, the registry, a hub or moto.
    """
    plan = context.plan
    try:
        with failed_calls_named():
            yield
    except HarnessError as error:
        with uninterrupted(plan.name, context.steps.say):
            fault = find_fault(plan, context.cluster if context.cluster_ready else None, whole=False)
            if context.nodes_exist and not fault:
                _keep_evidence(context, error, write)
        if fault:
            raise EnvironmentFault(f"{fault} {NO_VERDICT}") from error
        raise


def _keep_evidence(context: BootContext, error: HarnessError, write: Callable[..., str | None]) -> None:
    into = evidence.directory(context.plan.evidence, BOOT)
    scene = bundle.Scene(context.plan, context.cluster, context.running)
    happened = context.timeline.slice(context.began, time.time(), set()) if context.timeline else []
    extra = {"timeline.txt": render(happened, context.began)} if happened else {}
    cause = write(scene, into, str(error), since=context.began, extra=extra)
    if cause and not mentions_cause(str(error), cause):
        context.steps.say(f"Likely cause: {cause}")
        error.add_note(cause)
    context.steps.say(f"Logs, pods and events: {into}")


@contextmanager
def failed_calls_named() -> Iterator[None]:
    """Make the error of a library's call one for people.

    Raises:
        HarnessError: in place of the error of a call to the cluster, the registry, a hub or moto, or of a file.
    """
    try:
        yield
    except HarnessError:
        # One of the cluster's is an error of urllib3 too, and names its call already.
        raise
    except ApiException as error:
        raise HarnessError(f"The cluster's API server refused a call: {error.status} {_reason(error)}") from error
    except CALLS as error:
        reason = " ".join(str(error).split()) or "it gives no reason"
        raise HarnessError(f"A call of the boot failed, {type(error).__name__}: {reason}") from error
    except OSError as error:
        raise HarnessError(f"A file of the boot cannot be read or written: {error}") from error


def _reason(refusal: ApiException) -> str:
    """Return the API server's own words (metav1.Status, its message), or else HTTP's."""
    try:
        return str(json.loads(refusal.body or "")["message"])
    except (ValueError, LookupError, TypeError):
        return str(refusal.reason)


@contextmanager
def side_by_side(name: str, steps: Steps, kill: Callable[[], None] = kill_children) -> Iterator[ThreadPoolExecutor]:
    """Open a pool of two threads; when the block fails, they begin nothing more, and are over when this returns.

    Args:
        name: the run's.
        kill: ends the programs that the threads wait for.
    """
    with ThreadPoolExecutor(2) as pool:
        try:
            yield pool
        except BaseException:
            with uninterrupted(name, steps.say):
                steps.stop()
                kill()
                pool.shutdown(cancel_futures=True)
            raise
