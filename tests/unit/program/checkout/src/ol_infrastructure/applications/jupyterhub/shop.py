"""One shop: its release, the route to it, and its account in the database."""

from pathlib import Path
from typing import Any

import httpx
import pulumi
from ol_infrastructure.lib import kinds

VERSION = "1.2.3"


def open_shop(hub: dict[str, Any], database: dict[str, str], regions: int, role: pulumi.Output[str]) -> None:
    name, namespace, domain = hub["name"], hub["namespace"], hub["domain"]
    certificate = httpx.get("https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem").text
    kinds.Kind("aws:rds/instance:Instance", name, dbName=name, password=database["password"], monitoringRoleArn=role)
    kinds.Kind(
        "kubernetes:yaml/v2:ConfigGroup",
        f"{name}-secrets",
        objs=[
            {
                "kind": "VaultDynamicSecret",
                "metadata": {"name": f"{name}-database", "namespace": namespace, "annotations": None},
                "spec": {
                    "mount": f"postgres-{name}",
                    "path": "creds/app",
                    "destination": {
                        "name": f"{name}-creds",
                        "transformation": {"includes": ["user"], "templates": {"URL": {"text": f"pg://host/{name}"}}},
                    },
                },
            }
        ],
    )
    kinds.custom(
        "ApisixPluginConfig",
        f"{name}-shared",
        namespace,
        {"plugins": [{"name": "gzip", "enable": False}, {"name": "cors", "config": {"allow": "none"}}]},
    )
    kinds.custom(
        "ApisixRoute",
        name,
        namespace,
        {
            "http": [
                {
                    "name": name,
                    "match": {"hosts": [domain], "paths": ["/*"]},
                    "backends": [{"serviceName": "proxy-public", "servicePort": 80}],
                    "plugins": [{"name": "cors", "enable": True, "config": {"allow": "all"}}],
                    "plugin_config_name": f"{name}-shared",
                    "websocket": True,
                }
            ]
        },
    )
    metadata = {"name": f"{name}-account", "namespace": namespace, "annotations": {"role": "reader"}}
    kinds.Kind("kubernetes:core/v1:ServiceAccount", f"{name}-account", metadata=metadata)
    kinds.Kind(
        "kubernetes:helm.sh/v3:Release",
        name,
        name=name,
        namespace=namespace,
        chart="shop",
        version=VERSION,
        repositoryOpts={"repo": "https://charts.example.org"},
        values={
            "replicas": hub.get("replicas", 1),
            "memory": 0.5,
            "nothing": None,
            "regions": regions,
            "password": hub["password"],
            "certificate": certificate,
            "settings": Path(__file__).with_name("welcome.json").read_text(),
        },
    )
