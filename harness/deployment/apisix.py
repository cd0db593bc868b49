"""Real APISIX in front of the hubs, with the objects of the owners' evaluated program; --artifacts pull alone has it.

Written to the chart and to the ingress controller's source, and never run: no image of it could be pulled where this
was made. Nothing of the program's objects is changed: a copy has production's namespaces and releases, and so the
Services that the routes name. The Secrets that Vault and cert-manager fill in production are made here, by their names.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import yaml

from harness.base.errors import HarnessError
from harness.base.http import Client
from harness.base.names import Names
from harness.base.progress import Steps
from harness.base.wait import NotYet, wait_until
from harness.charts.chart import Release
from harness.charts.manifests import Manifest
from harness.deployment.model import Deployment
from harness.deployment.releases import APISIX_ADMIN, APISIX_SESSION, APISIX_VIEWER, read_secrets
from harness.deployment.rollout import wait_until_ready
from harness.gate.gate import names_behind
from harness.plan.contract import SSO_CLIENT, SSO_REALM
from harness.plan.hubs import GATE_HTTP_NODE_PORT, GATE_HTTPS_NODE_PORT
from harness.plan.plan import Plan
from harness.plan.versions import read_versions
from harness.program.apisix import apisix_objects
from harness.program.model import KubernetesObject, Program
from harness.services.authority import Authority
from harness.services.container import HEALTH_TIMEOUT
from harness.services.keycloak import Keycloak

CHART, RELEASE, NAMESPACE = "apisix", "apache-apisix", "operations"
"""The chart, and production's names of its release."""
VALUES = "helm/values/apisix.yaml"
AUTHORITY, AUTHORITY_FILE = "run-authority", "ca.crt"
"""The Secret with the certificate that APISIX trusts Keycloak by, and its key, as VALUES name them."""
ROUTES_TIMEOUT = 120.0
"""Seconds for the ingress controller to bring the routes into APISIX: it looks at everything once a minute."""
NOT_PRODUCTIONS = (
    "APISIX's branded error page, its telemetry and its trust in Fastly's addresses",
    "several APISIX pods, their autoscaler and a rolling update of them",
    "cert-manager's and Vault's Secrets: those here are the run's own",
)
"""Parts of production's gate that an APISIX of the harness's own values does not show."""
_LOOKUP = re.compile(r'\{\{-?\s*get\s+\.Secrets\s+"([^"]+)"\s*-?\}\}')
"""The one form of template in the owners' Secrets for APISIX (components/services/apisix.py)."""


@dataclass(frozen=True)
class Inputs:
    """All that APISIX is given in a copy.

    Attributes:
        secrets: by namespace; routes and hosts refer to them.
        objects: the program's own, as they are applied.
        values: what the run decides of the release.
    """

    secrets: Mapping[str, list[Manifest]]
    objects: list[KubernetesObject]
    values: Mapping[str, Any]

    @property
    def hosts(self) -> list[str]:
        """Hosts that there is a certificate for."""
        return [host for each in self.objects if each.kind == "ApisixTls" for host in each.spec["hosts"]]


def apisix_inputs(program: Program, secret: Mapping[str, str], keycloak: Keycloak) -> Inputs:
    """Return what APISIX is given, of an evaluated program.

    Args:
        secret: passwords and tokens of the run, by name.

    Raises:
        ProgramError: an object is not what the ingress controller takes.
        HarnessError: a Secret asks for something that production's Vault does not have there.
    """
    objects = apisix_objects(program)
    plugins = [plugin for each in objects for plugin in _plugins(each)]
    wanted = {plugin["secretRef"] for plugin in plugins if plugin.get("secretRef")}
    made = {NAMESPACE: [_secret(AUTHORITY, {AUTHORITY_FILE: keycloak.authority.certificate.read_text()})]}
    for namespace, each in _logins(program, wanted, _vault(secret, keycloak)):
        made.setdefault(namespace, []).append(each)
    for namespace, each in _certificates(objects, keycloak.authority):
        made.setdefault(namespace, []).append(each)
    return Inputs(made, objects, _values(secret, {plugin["name"] for plugin in plugins}))


def start_apisix(running: Deployment, program: Program, keycloak: Keycloak, steps: Steps) -> Names:
    """Install APISIX with an evaluated program's objects, and return the way to their hosts and to Keycloak.

    Raises:
        HarnessError: as `apisix_inputs`; there is no such chart, the cluster refuses an object, or no pod comes up.
    """
    plan, cluster = running.plan, running.cluster
    given = apisix_inputs(program, read_secrets(plan.secrets), keycloak)
    pinned = read_versions().table(f"published.charts.{CHART}")
    with steps.step("APISIX") as step:
        repository = plan.mirrors.get("charts", pinned["repository"])
        chart = running.helm.pull(repository, pinned["version"], plan.cache / "charts", CHART)
        for namespace, secrets in given.secrets.items():
            cluster.apply(namespace, *secrets)
        running.helm.upgrade_install(chart, release(plan, given.values))
        for namespace in sorted({each.namespace for each in given.objects}):
            # A kept copy may have another program's. They do not wait for APISIX, which is not ready without any.
            cluster.kubectl("--namespace", namespace, "delete", "apisixroutes,apisixpluginconfigs,apisixtlses", "--all")
            cluster.apply(namespace, *(dict(each.body) for each in given.objects if each.namespace == namespace))
        wait_until_ready(cluster, NAMESPACE)
        names = names_behind(cluster, keycloak, given.hosts)
        for host in given.hosts:
            routed = functools.partial(_is_routed, names, host)
            wait_until(f"APISIX's route to {host}", routed, timeout=ROUTES_TIMEOUT)
        step.done(f"chart {chart.version}, {len(given.objects)} objects of the program")
    return names


def release(plan: Plan, values: Mapping[str, Any]) -> Release:
    """Write what the run decides, and return the release."""
    file = plan.state / "apisix.yaml"
    file.touch(0o600)
    file.write_text(yaml.safe_dump(dict(values)))
    return Release(RELEASE, NAMESPACE, (plan.checkout / VALUES, file))


def _values(secret: Mapping[str, str], plugins: Iterable[str]) -> dict[str, Any]:
    """Return what the run decides: NodePorts, the keys of the Admin API, and the plugins that the objects use.

    Production switches on APISIX's default plugins and opentelemetry, by a list that takes the place of the default; an
    object with a plugin that is not in the list is refused whole.
    """
    admin = {"admin": secret[APISIX_ADMIN], "viewer": secret[APISIX_VIEWER]}
    control_plane = {"auth": {"adminKey": {"value": secret[APISIX_ADMIN]}}}
    return {
        "service": {
            "type": "NodePort",
            "http": {"nodePort": GATE_HTTP_NODE_PORT},
            "tls": {"nodePort": GATE_HTTPS_NODE_PORT},
        },
        "apisix": {"plugins": sorted(plugins), "admin": {"credentials": admin}},
        "ingress-controller": {"gatewayProxy": {"provider": {"controlPlane": control_plane}}},
    }


def _vault(secret: Mapping[str, str], keycloak: Keycloak) -> dict[str, str]:
    """Return what production's Vault has of the gate's client, without the realm's public key.

    The keys are those of secret-operations/sso/mitlearn, which substructure/keycloak/olapps.py writes.
    """
    return {
        "url": keycloak.issuer,
        "client_id": SSO_CLIENT,
        "client_secret": keycloak.client_secret,
        "secret": secret[APISIX_SESSION],
        "realm_id": SSO_REALM,
        "realm_name": SSO_REALM,
    }


def _logins(program: Program, wanted: set[str], vault: Mapping[str, str]) -> Iterator[tuple[str, Manifest]]:
    """Yield the Secrets that Vault's operator would fill for routes, each after its namespace."""
    for each in program.secrets:
        if each.target not in wanted:
            continue
        data = {}
        for key, template in each.templates.items():
            if unknown := sorted({*_LOOKUP.findall(template)} - vault.keys()):
                raise HarnessError(
                    f"{each.place}: {key} of the Secret {each.target} asks Vault for {unknown[0]} at {each.mount}/"
                    f"{each.path}, expected one of {', '.join(sorted(vault))}"
                )
            data[key] = _LOOKUP.sub(lambda found: vault[found[1]], template)
        yield each.namespace, _secret(each.target, data)


def _certificates(objects: Iterable[KubernetesObject], authority: Authority) -> Iterator[tuple[str, Manifest]]:
    """Yield the Secrets that cert-manager would fill for hosts, each after its namespace."""
    for each in objects:
        if each.kind == "ApisixTls":
            name, namespace = each.spec["secret"]["name"], each.spec["secret"]["namespace"]
            issued = authority.issue(name, *each.spec["hosts"])
            pair = {"tls.crt": issued.chain.read_text(), "tls.key": issued.key.read_text()}
            yield namespace, {**_secret(name, pair), "type": "kubernetes.io/tls"}


def _secret(name: str, data: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}


def _plugins(each: KubernetesObject) -> Iterator[Mapping[str, Any]]:
    for holder in (each.spec, *each.spec.get("http", [])):
        yield from holder.get("plugins", [])


def _is_routed(names: Names, host: str) -> bool | NotYet:
    """Return True once APISIX has certificate and route of a host; of errors beyond that the tests tell."""
    try:
        with Client(timeout=HEALTH_TIMEOUT, transport=names.transport()) as client:
            status = client.get(f"https://{host}/").status_code
    except httpx.TransportError as error:
        return NotYet(str(error) or type(error).__name__)
    return status != 404 or NotYet("404: it has no such route yet")
