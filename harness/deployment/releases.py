"""The releases: which chart, with which values and secrets, and their prerequisites."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from harness.artifacts import resolve as artifacts
from harness.base.errors import EnvironmentFault
from harness.charts import chart, manifests
from harness.charts.chart import Chart, Release
from harness.charts.helm import ChartRepositoryError, Helm, UnknownValuesError
from harness.charts.manifests import Manifest
from harness.charts.values import value_at
from harness.deployment.scaling import write_overlay
from harness.gate.gate import PASSPHRASE
from harness.plan.hubs import AUTHORING, HUBS, SCALED, HubSpec
from harness.plan.plan import Plan
from harness.plan.sources.new_courses import pre_puller_with, spawner_with
from harness.services import catalogue
from harness.services.postgres import Postgres

BUILTIN = "the built-in chart"
"""The beginning of the origin of the chart in helm/jupyterhub."""
APISIX_ADMIN, APISIX_VIEWER, APISIX_SESSION = "apisix_admin", "apisix_viewer", "apisix_session"
"""Names among the secrets of the keys of APISIX's Admin API, and of the one that encrypts its sessions."""
HARNESS_SCOPES = ["admin:users", "admin:servers", "tokens", "proxy", "read:hub", "read:metrics", "list:services"]


def create_secrets(file: Path) -> None:
    """Write new passwords and tokens for a new cluster; a kept one gets those that an older harness did not make."""
    known = read_secrets(file) if file.exists() else {}
    hubs = [name for spec in (*HUBS, SCALED) for name in (spec.name, metrics_token(spec))]
    of_gates = (PASSPHRASE, APISIX_ADMIN, APISIX_VIEWER, APISIX_SESSION)
    names = (*catalogue.secrets(), *of_gates, "admin_password", *hubs)
    if known.keys() >= set(names):
        return
    scratch = file.with_suffix(".new")
    scratch.touch(0o600)
    scratch.write_text(json.dumps({name: secrets.token_hex(32) for name in names} | known))
    scratch.replace(file)


def metrics_token(hub_spec: HubSpec) -> str:
    """Return the name among the secrets of the token that reads a hub's metrics, and nothing else."""
    return f"{hub_spec.name}-metrics"


def read_secrets(file: Path) -> dict[str, str]:
    """Return the passwords and tokens of the run's cluster, by name."""
    found: dict[str, str] = json.loads(file.read_text())
    return found


def find_chart(plan: Plan, helm: Helm) -> Chart:
    """Return the chart that the plan asks for, pulled where it is a published one.

    Raises:
        HarnessError: it is not there; only 'auto' falls back, and only if the repository cannot be reached.
    """
    theirs = plan.ol_infrastructure.chart_repository if plan.ol_infrastructure else ""
    repository = plan.mirrors.get("charts", theirs or artifacts.chart_repository(plan.checkout))
    builtin = plan.checkout / "helm/jupyterhub"
    into = plan.cache / "charts"
    if plan.chart in ("builtin", str(builtin.resolve())):
        return chart.load_chart(builtin, scratch=plan.state, origin=BUILTIN)
    if plan.chart == "auto":
        try:
            return helm.pull(repository, pinned_chart(plan), into)
        except ChartRepositoryError:
            origin = f"{BUILTIN}, because {repository} cannot be reached"
            return chart.load_chart(builtin, scratch=plan.state, origin=origin)
    if Path(plan.chart).is_absolute():
        return chart.load_chart(Path(plan.chart), scratch=plan.state / "chart")
    if plan.chart == "latest":
        return helm.pull(repository, helm.newest(repository), into)
    return helm.pull(repository, pinned_chart(plan) if plan.chart == "pinned" else plan.chart, into)


def pinned_chart(plan: Plan) -> str:
    """Return the version of the chart that 'auto' and 'pinned' ask the repository for."""
    theirs = plan.ol_infrastructure
    return theirs.chart_version if theirs else artifacts.pinned_chart(plan.checkout)


def replaced_values(plan: Plan, hub_spec: HubSpec) -> dict[str, Any]:
    """Return the values of a release that the run's options put in place of those in files, by dotted key."""
    return {} if hub_spec == AUTHORING else pre_puller_with(course.tag for course in plan.courses)


def spawner_file(plan: Plan) -> Path:
    """Return where the spawner of a run is: the plan's own file, or the one that `write_spawner` makes of it."""
    return plan.state / "spawner.py" if plan.courses else plan.spawner


def write_spawner(plan: Plan) -> None:
    """Write the spawner that also knows the courses that the run was given; without such courses nothing is written.

    Raises:
        HarnessError: the plan's spawner cannot be read.
    """
    if plan.courses:
        gpus = {course.tag: course.needs_gpu for course in plan.courses}
        spawner_file(plan).write_text(spawner_with(plan.spawner, gpus))


def templates(helm: Helm, source: Chart, releases: Mapping[HubSpec, Release]) -> dict[HubSpec, list[Manifest]]:
    """Render several releases side by side.

    Raises:
        EnvironmentFault: the built-in chart does not know some of the values, which the real one may well know.
        HarnessError: the chart does not take the values.
    """
    try:
        with ThreadPoolExecutor() as pool:
            rendered = pool.map(functools.partial(helm.template, source), releases.values())
            return dict(zip(releases, rendered, strict=True))
    except UnknownValuesError as error:
        if not source.origin.startswith(BUILTIN):
            raise
        raise EnvironmentFault(
            f"The built-in chart does not know {' and '.join(error.keys)}, which the values set: that is its limit, "
            "and no verdict about the deployment. Run on the real chart: --chart pinned, or --chart VERSION or PATH."
        ) from error


def production(plan: Plan, hub_spec: HubSpec) -> Release:
    """Return a release as production would have it."""
    named = plan.hub(hub_spec)
    return Release(
        name=named.release,
        namespace=named.namespace,
        values=plan.values_of(hub_spec),
        set_files={} if _spawner_is_in_values(plan) else {chart.SPAWNER_KEY: spawner_file(plan)},
        replaced=replaced_values(plan, hub_spec),
    )


def _spawner_is_in_values(plan: Plan) -> bool:
    theirs = plan.ol_infrastructure
    return theirs is not None and bool(theirs.values) and spawner_file(plan) == theirs.spawner


def productions(plan: Plan) -> dict[HubSpec, Release]:
    """Return both releases as production would have them."""
    return {spec: production(plan, spec) for spec in plan.hubs}


def release(plan: Plan, hub_spec: HubSpec) -> Release:
    """Return a release as in production, scaled for kind, and with the values that this run decides."""
    own = production(plan, hub_spec)
    # Beneath: what a deployment sets itself wins.
    beneath = (plan.monitoring_values,) if plan.monitored else ()
    decided = (scaled_file(plan, hub_spec), run_values_file(plan, hub_spec))
    return dataclasses.replace(own, values=(*beneath, *own.values, *decided))


def scaled_file(plan: Plan, hub_spec: HubSpec) -> Path:
    """Return where `write_run_values` writes what is scaled for kind."""
    return plan.state / f"{hub_spec.name}-scaled-for-kind.yaml"


def run_values_file(plan: Plan, hub_spec: HubSpec) -> Path:
    """Return where `write_run_values` writes what the run decides."""
    return plan.state / f"{hub_spec.name}.yaml"


def write_run_values(plan: Plan, hub_spec: HubSpec, secret: Mapping[str, str]) -> None:
    """Write what is scaled for kind, and what this run decides: kind's NodePort, and the harness's own access.

    Args:
        secret: passwords and tokens by name.

    Raises:
        HarnessError: a file with the release's own values cannot be read.
    """
    write_overlay(production(plan, hub_spec).values, scaled_file(plan, hub_spec))
    hub: dict[str, Any] = {
        "services": {"harness": {"apiToken": secret[hub_spec.name]}},
        "loadRoles": {"harness": {"services": ["harness"], "scopes": HARNESS_SCOPES}},
    }
    if plan.monitored:
        hub["services"]["prometheus"] = {"apiToken": secret[metrics_token(hub_spec)]}
    if hub_spec == AUTHORING:
        hub["config"] = {"SharedPasswordAuthenticator": {"admin_password": secret["admin_password"]}}
    service = {"type": "NodePort", "nodePorts": {"http": hub_spec.node_port}}
    file = run_values_file(plan, hub_spec)
    file.touch(0o600)
    file.chmod(0o600)
    file.write_text(yaml.safe_dump({"hub": hub, "proxy": {"service": service}}))


def prerequisites(objects: list[dict[str, Any]], hub_spec: HubSpec, database: Postgres) -> list[dict[str, Any]]:
    """Return what production makes beside the chart, and a release needs: the database's address, an account.

    Their names are taken from the rendered values, so that values of any author find theirs. A Secret of which only the
    name is known here has a stand-in for each text, without which no pod starts that asks for it.
    """
    values = manifests.hub_values(objects)
    of_release = {each["metadata"]["name"] for each in objects if each["kind"] == "Secret"}
    texts: dict[str, dict[str, str]] = {}
    for part in ("hub", "proxy.chp", "singleuser"):
        for name, variable in manifests.variables(value_at(values, part) or {}).items():
            ref = manifests.secret_reference(variable)
            if ref and ref["name"] not in of_release:
                text = database.url(hub_spec.database) if name == "DATABASE_URL" else _stand_in(ref)
                texts.setdefault(ref["name"], {})[ref["key"]] = text
    made: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}
        for name, data in texts.items()
    ]
    if account := values.get("singleuser", {}).get("serviceAccountName"):
        made.append({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    return made


def _stand_in(reference: Mapping[str, Any]) -> str:
    """Return 32 bytes as hexadecimal digits, the form of keys that JupyterHub wants; the same in every run."""
    return hashlib.sha256(f"{reference['name']}/{reference['key']}".encode()).hexdigest()
