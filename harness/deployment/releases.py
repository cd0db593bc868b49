"""The releases: which chart, with which values and secrets, and what they take for granted."""

from __future__ import annotations

import dataclasses
import functools
import json
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from harness.artifacts import resolve as artifacts
from harness.charts import chart, manifests
from harness.charts.chart import Chart, Release
from harness.charts.helm import ChartRepositoryError, Helm
from harness.charts.manifests import Manifest
from harness.plan.hubs import AUTHORING, HUBS, SCALED, HubSpec
from harness.plan.plan import Plan
from harness.plan.sources import ol_infrastructure
from harness.plan.sources.onboarding import pre_puller_with, spawner_with
from harness.services import catalogue
from harness.services.postgres import Postgres


def read_secrets(file: Path) -> dict[str, str]:
    """Passwords and tokens, new for each cluster and kept with it."""
    if not file.exists():
        names = (*catalogue.secrets(), "admin_password", *(role.release for role in (*HUBS, SCALED)))
        scratch = file.with_suffix(".new")
        scratch.touch(0o600)
        scratch.write_text(json.dumps({name: secrets.token_hex(32) for name in names}))
        scratch.replace(file)
    found: dict[str, str] = json.loads(file.read_text())
    return found


def find_chart(plan: Plan, helm: Helm) -> Chart:
    """The chart that the plan asks for.

    Raises:
        HarnessError: it is not there; only 'auto' falls back, and only if the repository cannot be reached.
    """
    repository = plan.mirrors.get("charts", artifacts.chart_repository(plan.checkout))
    builtin = plan.checkout / "helm/jupyterhub"
    into = plan.cache / "charts"
    if plan.chart == "builtin":
        return chart.load_chart(builtin, scratch=plan.state, origin="the built-in chart")
    if plan.chart == "auto":
        try:
            return helm.pull(repository, pinned_chart(plan), into)
        except ChartRepositoryError:
            origin = f"the built-in chart, because {repository} cannot be reached"
            return chart.load_chart(builtin, scratch=plan.state, origin=origin)
    if Path(plan.chart).is_absolute():
        return chart.load_chart(Path(plan.chart), scratch=plan.state / "chart")
    if plan.chart == "latest":
        return helm.pull(repository, helm.newest(repository), into)
    return helm.pull(repository, pinned_chart(plan) if plan.chart == "pinned" else plan.chart, into)


def pinned_chart(plan: Plan) -> str:
    """Version of the chart that 'auto' and 'pinned' ask the repository for."""
    theirs = plan.ol_infrastructure
    return theirs.chart_version if theirs else artifacts.pinned_chart(plan.checkout)


def replaced_values(plan: Plan, role: HubSpec) -> dict[str, Any]:
    """Values of a release that the run's options put in place of those in files, by dotted key."""
    found: dict[str, Any] = {}
    if plan.ol_infrastructure:
        theirs = ol_infrastructure.authoring_values if role is AUTHORING else ol_infrastructure.values
        found |= theirs(plan.ol_infrastructure)
    if role is not AUTHORING:
        found |= pre_puller_with(course.tag for course in plan.courses)
    return found


def spawner_of(plan: Plan) -> Path:
    """The spawner file of a run: the plan's, which knows the courses that the run was given too."""
    if not plan.courses:
        return plan.spawner
    extended = plan.state / "spawner.py"
    extended.write_text(spawner_with(plan.spawner, {course.tag: course.needs_gpu for course in plan.courses}))
    return extended


def templates(helm: Helm, source: Chart, releases: Mapping[HubSpec, Release]) -> dict[HubSpec, list[Manifest]]:
    """The objects of several releases, side by side.

    Raises:
        HarnessError: the chart does not take the values.
    """
    with ThreadPoolExecutor() as side:
        rendered = side.map(functools.partial(helm.template, source), releases.values())
        return dict(zip(releases, rendered, strict=True))


def production(plan: Plan, role: HubSpec) -> Release:
    """A release as production would have it."""
    return Release(
        name=role.release,
        namespace=role.namespace,
        values=plan.authoring_values if role is AUTHORING else plan.values,
        set_files={chart.SPAWNER_KEY: spawner_of(plan)},
        replaced=replaced_values(plan, role),
    )


def productions(plan: Plan) -> dict[HubSpec, Release]:
    """Both releases as production would have them."""
    return {role: production(plan, role) for role in HUBS}


def release(plan: Plan, role: HubSpec, secret: Mapping[str, str]) -> Release:
    """A release of the deployment: as in production, with what kind needs otherwise, and what this run decides."""
    own = production(plan, role)
    run_values = plan.state / f"{role.release}.yaml"
    run_values.write_text(yaml.safe_dump(_run_values(role, secret)))
    run_values.chmod(0o600)
    return dataclasses.replace(own, values=(*own.values, plan.checkout / "helm/values/kind.yaml", run_values))


def _run_values(role: HubSpec, secret: Mapping[str, str]) -> dict[str, Any]:
    """Values that this run decides: the NodePort that kind publishes, and who the harness is."""
    hub: dict[str, Any] = {
        "services": {"harness": {"apiToken": secret[role.release]}},
        "loadRoles": {"harness": {"services": ["harness"], "scopes": HARNESS_SCOPES}},
    }
    if role is AUTHORING:
        hub["config"] = {"SharedPasswordAuthenticator": {"admin_password": secret["admin_password"]}}
    service = {"type": "NodePort", "nodePorts": {"http": role.node_port}}
    return {"hub": hub, "proxy": {"service": service}}


HARNESS_SCOPES = ["admin:users", "admin:servers", "tokens", "proxy", "read:hub", "read:metrics", "list:services"]


def surroundings(objects: list[dict[str, Any]], role: HubSpec, database: Postgres) -> list[dict[str, Any]]:
    """What production makes beside the chart and its values take for granted: the database's address, an account.

    Their names are taken from the rendered values, so that somebody's own values find theirs.
    """
    values = manifests.hub_values(objects)
    made: list[dict[str, Any]] = []
    source = manifests.variables(values.get("hub", {})).get("DATABASE_URL")
    if isinstance(source, dict) and (ref := source.get("valueFrom", {}).get("secretKeyRef")):
        data = {ref["key"]: database.url(role.database)}
        made.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": ref["name"]}, "stringData": data})
    if account := values.get("singleuser", {}).get("serviceAccountName"):
        made.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    return made
