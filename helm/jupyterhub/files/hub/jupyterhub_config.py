"""The hub's configuration, made of the chart's values as the hub's Secret holds them."""
# ruff: noqa: F821 (c is JupyterHub's)

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from tornado.httpclient import AsyncHTTPClient

SECRET = Path(__file__).parent / "secret"
VALUES = yaml.safe_load((SECRET / "values.yaml").read_text())


def value(path: str) -> Any:
    """Return the value at this dotted path, None where there is none."""
    found: Any = VALUES
    for key in path.split("."):
        found = (found or {}).get(key)
    return found


def configure(section: Any, source: str, **traits: str) -> None:
    """Set each trait to the value at its path; without a value it keeps its own default."""
    for trait, path in traits.items():
        if (setting := value(f"{source}.{path}")) is not None:
            section[trait] = setting


def secret(key: str) -> str:
    """Return what the chart chose or generated under this name, whether or not the values have it."""
    return (SECRET / key).read_text()


# Tornado's own client is too slow for a hub that tells a proxy about a class of students.
if find_spec("pycurl"):
    AsyncHTTPClient.configure("tornado.curl_httpclient.CurlAsyncHTTPClient")

# The hub, and the proxy that is a pod of its own. Users' servers outlive a restart of the hub.
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.last_activity_interval = 60
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.cookie_secret = secret("hub.config.JupyterHub.cookie_secret")
c.CryptKeeper.keys = secret("hub.config.CryptKeeper.keys").split(";")
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://proxy-api:8001"
if value("hub.db.type") == "sqlite-memory":
    c.JupyterHub.db_url = "sqlite://"
configure(
    c.JupyterHub,
    "hub",
    active_server_limit="activeServerLimit",
    allow_named_servers="allowNamedServers",
    base_url="baseUrl",
    concurrent_spawn_limit="concurrentSpawnLimit",
    db_url="db.url",
)
configure(c.Spawner, "hub", consecutive_failure_limit="consecutiveFailureLimit")

# The users' pods.
release = value("Release.Name")
chart = f"{value('Chart.Name')}-{value('Chart.Version')}"
c.KubeSpawner.namespace = os.environ["POD_NAMESPACE"]
c.KubeSpawner.common_labels = {
    "app": value("Chart.Name"),
    "app.kubernetes.io/name": value("Chart.Name"),
    "release": release,
    "app.kubernetes.io/instance": release,
    "chart": chart,
    "helm.sh/chart": chart,
    "app.kubernetes.io/managed-by": "kubespawner",
}
c.KubeSpawner.image = f"{value('singleuser.image.name')}:{value('singleuser.image.tag')}"
c.KubeSpawner.image_pull_secrets = (value("imagePullSecrets") or []) + (value("singleuser.image.pullSecrets") or [])
c.KubeSpawner.allow_privilege_escalation = value("singleuser.allowPrivilegeEscalation")
c.KubeSpawner.tolerations = value("scheduling.userPods.tolerations") + value("singleuser.extraTolerations")
c.KubeSpawner.node_affinity_preferred = [
    {
        "weight": 100,
        "preference": {
            "matchExpressions": [{"key": "hub.jupyter.org/node-purpose", "operator": "In", "values": ["user"]}]
        },
    }
]
if value("scheduling.userScheduler.enabled"):
    c.KubeSpawner.scheduler_name = f"{release}-user-scheduler"
if value("scheduling.podPriority.enabled"):
    c.KubeSpawner.priority_class_name = f"{release}-default-priority"
configure(c.Spawner, "singleuser", cmd="cmd", default_url="defaultUrl")
configure(
    c.KubeSpawner,
    "singleuser",
    cpu_guarantee="cpu.guarantee",
    cpu_limit="cpu.limit",
    environment="extraEnv",
    events_enabled="events",
    extra_annotations="extraAnnotations",
    extra_labels="extraLabels",
    extra_resource_guarantees="extraResource.guarantees",
    extra_resource_limits="extraResource.limits",
    fs_gid="fsGid",
    image_pull_policy="image.pullPolicy",
    mem_guarantee="memory.guarantee",
    mem_limit="memory.limit",
    node_selector="nodeSelector",
    service_account="serviceAccountName",
    start_timeout="startTimeout",
    uid="uid",
)
if files := value("singleuser.extraFiles"):
    items = [
        {"key": key, "path": key} | ({"mode": file["mode"]} if "mode" in file else {}) for key, file in files.items()
    ]
    c.KubeSpawner.volumes = {"files": {"name": "files", "secret": {"secretName": "singleuser", "items": items}}}
    c.KubeSpawner.volume_mounts = {
        f"{number}-files": {"name": "files", "mountPath": file["mountPath"], "subPath": key}
        for number, (key, file) in enumerate(files.items())
    }
if value("singleuser.cloudMetadata.blockWithIptables"):
    outgoing = {"append": "OUTPUT", "protocol": "tcp", "destination": value("singleuser.cloudMetadata.ip")}
    rule = {**outgoing, "destination-port": "80", "jump": "DROP"}
    c.KubeSpawner.init_containers = [
        {
            "name": "block-cloud-metadata",
            "image": f"{value('singleuser.networkTools.image.name')}:{value('singleuser.networkTools.image.tag')}",
            "command": ["iptables", *(word for key, given in rule.items() for word in (f"--{key}", given))],
            "securityContext": {"privileged": True, "runAsUser": 0, "capabilities": {"add": ["NET_ADMIN"]}},
            "resources": value("singleuser.networkTools.resources"),
        }
    ]

# Services: the culler, with a role of just what it does, and all others that the values name.
c.JupyterHub.services = []
c.JupyterHub.load_roles = []
if value("cull.enabled"):
    api = f"http://localhost:8081{value('hub.baseUrl').rstrip('/')}/hub/api"
    command = ["python3", "-m", "jupyterhub_idle_culler", f"--url={api}"]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    # A zero is left out, and the culler then has a default of its own.
    numbers = {"timeout": "timeout", "cull-every": "every", "concurrency": "concurrency"}
    command += [f"--{flag}={number}" for flag, key in numbers.items() if (number := value(f"cull.{key}"))]
    if value("cull.users"):
        command += ["--cull-users"]
        scopes += ["admin:users"]
    if not value("cull.adminUsers"):
        command += ["--cull-admin-users=false"]
    if value("cull.removeNamedServers"):
        command += ["--remove-named-servers"]
    if age := value("cull.maxAge"):
        command += [f"--max-age={age}"]
    culler = "jupyterhub-idle-culler"
    c.JupyterHub.services += [{"name": culler, "command": command}]
    c.JupyterHub.load_roles += [{"name": culler, "scopes": scopes, "services": [culler]}]

for name, service in (value("hub.services") or {}).items():
    given = {key: setting for key, setting in service.items() if key not in ("apiToken", "api_token")}
    c.JupyterHub.services += [{"name": name} | given | {"api_token": secret(f"hub.services.{name}.apiToken")}]
for name, role in (value("hub.loadRoles") or {}).items():
    c.JupyterHub.load_roles += [{"name": name} | role]

if value("debug.enabled"):
    c.JupyterHub.log_level = "DEBUG"
    c.Spawner.debug = True

# What the values say in JupyterHub's own words. The secrets among it have come from the Secret already.
SECRETS = {"JupyterHub": "cookie_secret", "CryptKeeper": "keys", "ConfigurableHTTPProxy": "auth_token"}
for section, traits in (value("hub.config") or {}).items():
    if not section[:1].isupper():
        raise SystemExit(f"hub.config.{section}: a section is the name of a class, such as JupyterHub")
    c[section].update({trait: setting for trait, setting in traits.items() if trait != SECRETS.get(section)})

for name, source in sorted((value("hub.extraConfig") or {}).items()):
    print(f"Running hub.extraConfig.{name}")
    exec(compile(source, name, "exec"))
