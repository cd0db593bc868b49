"""The objects that a program gives to APISIX, in the form that the owners' components write them."""

from __future__ import annotations

import copy
from typing import Any

from harness.program.closure import Place
from harness.program.model import Program, Resource

PLACE = Place("src/here.py", 7)
TYPE = "kubernetes:apisix.apache.org/v2:{}"
SECRET_TYPE = "kubernetes:secrets.hashicorp.com/v1beta1:VaultStaticSecret"
NAMESPACE, HOST, LOGIN = "jupyter", "nb.example", "oidc-secrets"
SPECS: dict[str, dict[str, Any]] = {
    "ApisixRoute": {
        "ingressClassName": "apache-apisix",
        "http": [
            {
                "name": "hub",
                "priority": 0,
                "match": {"hosts": [HOST], "paths": ["/*"]},
                "backends": [
                    {"serviceName": "proxy-public", "servicePort": "http", "resolveGranularity": "service"},
                ],
                "plugins": [
                    {"name": "openid-connect", "enable": True, "secretRef": LOGIN, "config": {"scope": "openid"}},
                ],
                "plugin_config_name": "shared",
                "timeout": {"connect": "60s", "send": "60s", "read": "1m30s"},
                "websocket": True,
            }
        ],
    },
    "ApisixPluginConfig": {"plugins": [{"name": "redirect", "enable": True, "config": {"http_to_https": True}}]},
    "ApisixTls": {
        "hosts": [HOST],
        "ingressClassName": "apache-apisix",
        "secret": {"name": "tls-pair", "namespace": NAMESPACE},
    },
}
TEMPLATES = {
    "client_id": '{{ get .Secrets "client_id" }}',
    "client_secret": '{{ get .Secrets "client_secret" }}',
    "realm": '{{ get .Secrets "realm_name" }}',
    "discovery": '{{ get .Secrets "url" }}/.well-known/openid-configuration',
    "session.secret": '{{ get .Secrets "secret" }}',
}


def program_of(
    specs: dict[str, dict[str, Any]] | None = None, templates: dict[str, str] | None = None, target: str = LOGIN
) -> Program:
    """A program with one object of each kind, and a Secret that Vault fills."""
    resources = [
        Resource(TYPE.format(kind), kind.lower(), True, _body(kind, spec), PLACE)
        for kind, spec in (SPECS if specs is None else specs).items()
    ]
    texts = {key: {"text": text} for key, text in (TEMPLATES if templates is None else templates).items()}
    destination = {"name": target, "transformation": {"templates": texts}}
    vault = {"mount": "secret-operations", "path": "sso/mitlearn", "destination": destination}
    inputs = {"kind": "VaultStaticSecret", "metadata": {"name": target, "namespace": NAMESPACE}, "spec": vault}
    return Program("QA", "jupyterhub", "ours", (*resources, Resource(SECRET_TYPE, target, True, inputs, PLACE)))


def changed(kind: str, path: str, value: Any = None) -> dict[str, dict[str, Any]]:
    """The specifications with another value at a dotted path of one, or without it if that is None."""
    specs = copy.deepcopy(SPECS)
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    holder: Any = specs[kind]
    for key in parents:
        holder = holder[key]
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return specs


def _body(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": f"the-{kind.lower()}", "namespace": NAMESPACE, "labels": {"ou": "mit-learn"}}
    return {"apiVersion": "apisix.apache.org/v2", "kind": kind, "metadata": metadata, "spec": spec}
