"""A drill's changes, made to a plan, a course's image, a hub's packages and the owners' program."""

from __future__ import annotations

import base64
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.artifacts.oci import OciImage
from harness.base.errors import HarnessError
from harness.base.files import parse_python, read_text
from harness.base.shell import CommandError, run, tail
from harness.charts.chart import Chart
from harness.charts.values import merge_values
from harness.courses.images import CourseBuilder
from harness.deployment.gate import gate_routes, written
from harness.deployment.releases import replaced_values
from harness.drills.model import DoesNotApplyError, Drill, Edit, RepositoryChange, ValueChanges
from harness.plan.hubs import AUTHORING, HUBS, STUDENT, HubSpec
from harness.plan.plan import Plan
from harness.program.closure import SOURCE


def plant(drill: Drill, plan: Plan, chart: Chart, scratch: Path) -> Plan:
    """Return the plan of a deployment with the drill's change in its values, spawner, chart and gate.

    Args:
        chart: the one that the plan's releases are of.
        scratch: directory for the changed files, which is made anew.

    Raises:
        DoesNotApplyError: the deployment lacks what the drill changes.
        HarnessError: the drill leaves no spawner that is Python, or there is no such package.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    package = values_with_wheel(download_wheel(drill.hub_package, scratch)) if drill.hub_package else {}
    changes = {hub_spec: drill.values.get(hub_spec, ValueChanges()).and_also(package) for hub_spec in HUBS}
    return dataclasses.replace(
        plan,
        values=_values(changes[STUDENT], plan, STUDENT, scratch / "values.yaml"),
        authoring_values=_values(changes[AUTHORING], plan, AUTHORING, scratch / "authoring.yaml"),
        spawner=_spawner(drill, plan, scratch / "dynamicImageConfig.py"),
        chart=_chart(drill, plan, chart, scratch / "chart"),
        gate=_gate(drill, plan, scratch / "gate.yaml"),
    )


def build_changed_image(
    drill: Drill, builder: CourseBuilder, repositories: Mapping[str, Path], scratch: Path
) -> dict[str, OciImage]:
    """Build the image of a course after the drill's change to its repository; returned by tag, if the drill has one.

    Raises:
        DoesNotApplyError: the course has no repository, or not that file or line.
        HarnessError: the changed Dockerfile does not build.
    """
    if drill.image is None:
        return {}
    changed = copy_repository(drill.image, repositories, scratch / "repository")
    return builder.images([drill.image.course], {drill.image.course: changed})


def copy_repository(change: RepositoryChange, repositories: Mapping[str, Path], into: Path) -> Path:
    """Copy a course's repository, with a change made to it; returns the copy.

    Raises:
        DoesNotApplyError: the course has no repository, or not that file or line.
    """
    if change.course not in repositories:
        raise DoesNotApplyError(f"course {change.course} has no repository")
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(repositories[change.course], into)
    dockerfile = into / "Dockerfile"
    dockerfile.write_text(_edited(dockerfile.read_text(), change.dockerfile, "Dockerfile"))
    for name, text in change.files.items():
        file = into / name
        if text is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        elif file.is_file():
            file.unlink()
        else:
            raise DoesNotApplyError(f"course {change.course} has no file {name}")
    return into


def copy_checkout(drill: Drill, checkout: Path, into: Path) -> None:
    """Copy what is evaluated of the owners' checkout, with the drill's edits made to it.

    Args:
        into: directory of the copy, which is made anew.

    Raises:
        DoesNotApplyError: the checkout lacks what the drill changes.
        HarnessError: the edits leave a file as it was.
    """
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(checkout / SOURCE, into / SOURCE, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("uv.lock", "pyproject.toml"):
        if (checkout / name).is_file():
            shutil.copy(checkout / name, into)
    for name, edits in drill.program.items():
        file = into / name
        if not file.is_file():
            raise DoesNotApplyError(f"the checkout has no file {name}")
        before = file.read_text(encoding="utf-8")
        after = _edited(before, edits, name)
        if after == before:
            raise HarnessError(f"{drill.where}: it leaves {name} as it was")
        file.write_text(after, encoding="utf-8")


def download_wheel(package: str, into: Path) -> Path:
    """Download the wheel of a package, without its dependencies.

    Raises:
        HarnessError: the package index has none, or cannot be reached.
    """
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet", "--dest", str(into)]
    try:
        run([sys.executable, "-m", "pip", "download", *options, package], timeout=120, what=f"pip download {package}")
    except CommandError as error:
        raise HarnessError(f"There is no wheel of {package}{tail(error.output)}") from error
    return next(into.glob("*.whl"))


def values_with_wheel(wheel: Path) -> dict[str, Any]:
    """Return values by which a hub imports from a wheel what its image has in another version."""
    place = f"/opt/{wheel.name}"
    return {
        "hub.extraFiles.wheel": {"mountPath": place, "binaryData": base64.b64encode(wheel.read_bytes()).decode()},
        # Python imports from a zip file, which a wheel is, and from here before all other places.
        "hub.extraEnv.PYTHONPATH": place,
    }


def _values(changes: ValueChanges, plan: Plan, hub_spec: HubSpec, into: Path) -> tuple[Path, ...]:
    if not changes.paths:
        return plan.values_of(hub_spec)
    for path in changes.paths:
        for other in replaced_values(plan, hub_spec):
            if f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}."):
                raise DoesNotApplyError(f"this run has a {other} of its own, in place of the one in the values")
    # In one file, because a key that is deleted from one of several is still in the others.
    into.write_text(json.dumps(changes.on(merge_values(plan.values_of(hub_spec))), indent=1))
    return (into,)


def _spawner(drill: Drill, plan: Plan, into: Path) -> Path:
    if not drill.spawner:
        return plan.spawner
    into.write_text(_edited(read_text(plan.spawner, "--spawner"), drill.spawner, "the spawner"))
    parse_python(into, "--spawner")
    return into


def _gate(drill: Drill, plan: Plan, into: Path) -> Path | None:
    if not drill.gate.paths:
        return plan.gate
    into.write_text(json.dumps(drill.gate.on(written(gate_routes(plan))), indent=1))
    gate_routes(dataclasses.replace(plan, gate=into))
    return into


def _chart(drill: Drill, plan: Plan, chart: Chart, into: Path) -> str:
    if not drill.chart:
        return plan.chart
    shutil.copytree(chart.path, into)
    for name, edits in drill.chart.items():
        file = into / name
        if not file.is_file():
            raise DoesNotApplyError(f"this chart has no file {name}")
        file.write_text(_edited(file.read_text(), edits, name))
    return str(into)


def _edited(text: str, edits: Iterable[Edit], what: str) -> str:
    for edit in edits:
        try:
            text = edit.on(text)
        except DoesNotApplyError as error:
            raise DoesNotApplyError(f"{what}: {error}") from error
    return text
