"""Checks of what a hub makes of production's release: the complete pod of every course, and the settings in force.

A check returns what is wrong, each as what was found and what was expected; what is more than expected is right. It
holds for values, `hub.config`, extraConfig and the spawner alike, because it sees what came of all of them.
"""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from kubernetes.utils import parse_quantity

from harness.charts.manifests import Manifest, hub_values
from harness.cluster.kind import Cluster
from harness.hub.culler import MODULE, read_command
from harness.hub.spawner_probe import GPU, GPU_NODE, Choice, Request, Settings, ask
from harness.plan.contract import (
    COURSE_REPOSITORY,
    CPU_GUARANTEE,
    CULL_MAX_AGE,
    CULL_TIMEOUT,
    DEFAULT_COURSE,
    GPU_COURSES,
    KNOWN_COURSES,
)
from harness.plan.hubs import STUDENT, HubSpec

NO_COURSE = "(no course)"
"""In place of a course, a request that names none."""
GIVEN = "given"
"""The configuration as it was set, beside what each part of the hub makes of it."""
CLOSE = 0.9
"""Likeness of two names from which on one is taken for the other misspelt; 1 is the same (difflib)."""
GB = 10**9
MEMORY_LIMIT, MEMORY_GUARANTEE = 4 * GB, 2 * GB
START_TIMEOUT, HTTP_TIMEOUT = 600, 30
"""Seconds within which a server starts, and within which it then answers; no less."""
CLASS = 32
"""Students who arrive together."""
FAILURES = 5
"""Failed starts in a row after which a hub may end itself; no fewer."""
HOME = "/home/jovyan"
OWNER = 1000
"""The user whose home that is, as upstream's notebook images have it."""
PRIVATE = re.compile(
    r"AWS_(ACCESS_KEY_ID|ROLE_ARN)|DATABASE_URL"
    r"|(?!(JUPYTERHUB|JPY)_API_TOKEN$).*_(API_?KEY|ACCESS_KEY|SECRET(_KEY)?|PASSWORD|TOKEN)"
)
"""Variables that no student's server may have: anybody can read them there. A server's own token is its user's."""
BUCKET = "NOTEBOOK_BUCKET"
EVICTABLE = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true", "karpenter.sh/do-not-disrupt": "false"}
"""Annotations by which an autoscaler may remove a pod that runs."""
DISK = 5 * GB
"""Bytes that a server may write before its node evicts it; no less, where there is a limit at all."""
ACTIVITY = "JUPYTERHUB_ACTIVITY_INTERVAL"
ACTIVITY_INTERVAL = 300.0
"""Seconds between two reports of a server's activity, as JupyterHub has it where nothing is set."""
HARMLESS = {"emptyDir", "name"}
"""Keys of a volume that brings nothing from anywhere."""
CULLING = re.compile(r"\b(cull_idle_timeout|shutdown_no_activity_timeout)\b[\"']?\s*[=:]\s*(\d+)")
AUTOSAVE_OFF = re.compile(r"[\"']autosave[\"']\s*:\s*false\b")
"""Setting of @jupyterlab/docmanager-extension:plugin, as JSON has it."""
CULLS_CONNECTED = re.compile(r"\bcull_connected\b[\"']?\s*[=:]\s*(true|True|1)\b")


@dataclass(frozen=True)
class MadeHub:
    """A hub as its image makes it of a release.

    Attributes:
        servers: what its spawner makes of a request for each course.
        configuration: as `spawner_probe.HubAnswer` has it.
        objects: of the release, as they are rendered.
    """

    hub: HubSpec
    servers: Mapping[str, Choice]
    configuration: Mapping[str, Settings]
    objects: list[Manifest]

    @property
    def for_students(self) -> bool:
        return self.hub == STUDENT

    @cached_property
    def values(self) -> dict[str, Any]:
        """Return the values of its release, with the chart's defaults."""
        return hub_values(self.objects)

    @property
    def idle(self) -> float:
        """Return how long a server may be idle, in seconds, as its culler is configured."""
        return float(self.values.get("cull", {}).get("timeout") or CULL_TIMEOUT)

    @property
    def max_age(self) -> float:
        """Return how long a server may live, in seconds, as its culler is configured."""
        return float(self.values.get("cull", {}).get("maxAge") or CULL_MAX_AGE)


ServerCheck = Callable[[MadeHub, str, Choice], Iterable[str]]
HubCheck = Callable[[MadeHub], Iterable[str]]


def make_hub(cluster: Cluster, hub: HubSpec, objects: list[Manifest], beside: Iterable[Manifest]) -> MadeHub:
    """Ask a hub what it makes of its release, with a request for each course as its people make them.

    Args:
        objects: of the release, as they are rendered.
        beside: objects that the release needs beside them.

    Raises:
        HarnessError: as `spawner_probe.ask`.
    """
    requests = {NO_COURSE: Request("")} | {course: _request(hub, course) for course in sorted(KNOWN_COURSES)}
    found = ask(cluster, [*objects, *beside], requests.values())
    return MadeHub(hub, dict(zip(requests, found.choices, strict=True)), found.configuration, objects)


def _request(hub: HubSpec, course: str) -> Request:
    return Request(f"course={quote(course)}") if hub == STUDENT else Request("", form={"course": [course]})


def server_faults(hubs: Iterable[MadeHub], check: ServerCheck) -> list[str]:
    """Return the faults that a check finds in the servers of hubs, each with its hub and its courses."""
    lines = []
    for hub in hubs:
        courses: dict[str, list[str]] = {}
        for course, server in hub.servers.items():
            faults = [f"there is no server, for {server.error}"] if server.error else check(hub, course, server)
            for fault in faults:
                courses.setdefault(fault, []).append(course)
        lines += [f"{hub.hub.release}, {_name(each, len(hub.servers))}: {fault}" for fault, each in courses.items()]
    return lines


def hub_faults(hubs: Iterable[MadeHub], check: HubCheck) -> list[str]:
    """Return the faults that a check finds in hubs, each with its hub."""
    return [f"{hub.hub.release}: {fault}" for hub in hubs for fault in check(hub)]


def _name(courses: list[str], of: int) -> str:
    if len(courses) == of:
        return "every course"
    if len(courses) == 1:
        return f"course {courses[0]}"
    shown = ", ".join(courses[:3])
    return f"{len(courses)} courses ({shown}{', …' if len(courses) > 3 else ''})"


# Servers


def check_image(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a course has its own image, and a GPU on a GPU node if it needs one."""
    expected = DEFAULT_COURSE if course == NO_COURSE else course
    if server.image != f"{COURSE_REPOSITORY}:{expected}":
        yield f"the image is {server.image}, expected {COURSE_REPOSITORY}:{expected}"
    gpu = course in GPU_COURSES
    asked, limit = (int(_resources(server, bound).get(GPU, 0)) for bound in ("requests", "limits"))
    if {asked, limit} != {int(gpu)}:
        yield f"the server has {limit} GPUs and asks for {asked}, expected {int(gpu)}"
    if server.on_gpu_node != gpu:
        yield f"the server {'may land on a node without GPUs' if gpu else 'is bound to the nodes with GPUs'}"
    if gpu and not any(_tolerates_gpu_node(each) for each in _spec(server).get("tolerations") or ()):
        yield f"the server does not tolerate the taint {GPU_NODE}=true:NoSchedule, and no GPU node takes it"


def _tolerates_gpu_node(toleration: Mapping[str, Any]) -> bool:
    exists = toleration.get("operator") == "Exists"
    return (
        (toleration.get("key") == GPU_NODE or (exists and not toleration.get("key")))
        and (exists or toleration.get("value") == "true")
        and toleration.get("effect") in (None, "", "NoSchedule")
    )


def check_memory(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server may use and is guaranteed as much memory as production gives, and never less than it asks."""
    limit, guarantee = (_amount(server, bound, "memory") for bound in ("limits", "requests"))
    if limit is None:
        yield "the server has no memory limit, and may take all that its node has"
    elif limit < MEMORY_LIMIT:
        yield f"the server may use {_gb(limit)} of memory, expected at least {_gb(MEMORY_LIMIT)}"
    if (guarantee or 0) < MEMORY_GUARANTEE:
        yield f"guaranteed memory is {_gb(guarantee or 0)}, expected at least {_gb(MEMORY_GUARANTEE)}"
    if limit is not None and guarantee is not None and limit < guarantee:
        yield f"the memory limit {_gb(limit)} is below the guarantee {_gb(guarantee)}, and Kubernetes refuses the pod"


def check_cpu(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server is guaranteed as much CPU as production gives, and is not held at less than there is."""
    limit, guarantee = (_amount(server, bound, "cpu") for bound in ("limits", "requests"))
    if (guarantee or 0) < CPU_GUARANTEE:
        yield f"guaranteed CPU is {guarantee or 0:g}, expected at least {CPU_GUARANTEE}"
    if limit is not None:
        yield f"the server is held at {limit:g} CPU, expected no limit"


def check_pull_policy(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that each start asks the registry for the course's newest image."""
    policy = _container(server).get("imagePullPolicy")
    if policy != "Always":
        yield f"the image's pull policy is {policy}, expected Always: an author's fix does not arrive"


def check_account(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that students have neither an account nor a token of the cluster, and authors their account."""
    account = _spec(server).get("serviceAccountName") or "default"
    if not hub.for_students:
        expected = hub.values.get("singleuser", {}).get("serviceAccountName") or "one of its own"
        if account == "default" or account != expected:
            yield f"the author's server runs under the account {account}, expected {expected}"
        return
    if account != "default":
        yield f"the student's server runs under the account {account}, expected none"
    if _spec(server).get("automountServiceAccountToken") is not False:
        yield "the student's server has the cluster's token, expected automountServiceAccountToken false"


def check_environment(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that students get no bucket and no credentials, and that authors get the bucket."""
    container = _container(server)
    variables = {each["name"]: each.get("value") or each.get("valueFrom") for each in container.get("env") or ()}
    bucket = variables.get(BUCKET)
    if not hub.for_students:
        if not str(bucket or "").startswith("jupyter-courses-"):
            yield f"the author's server has {BUCKET}={bucket or ''}, expected a bucket jupyter-courses-…"
        return
    if bucket:
        yield f"the student's server has {BUCKET}={bucket}, expected none"
    for name, value in variables.items():
        if PRIVATE.fullmatch(name) and value:
            yield f"the student's server has the variable {name}, expected none: every student may read it"
        elif isinstance(value, Mapping) and "secretKeyRef" in value:
            yield f"the student's server has {name} of the Secret {value['secretKeyRef'].get('name')}, expected none"
    if container.get("envFrom"):
        yield f"the student's server takes its environment from {container['envFrom']}, expected no such source"


def check_start(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that nothing holds up a start: no hook and no further container but those of the values' own keys."""
    singleuser = hub.values.get("singleuser", {})
    hook = (_container(server).get("lifecycle") or {}).get("postStart")
    if hook and (
        hook != (singleuser.get("lifecycleHooks") or {}).get("postStart") or re.search(r"\bsleep\b", str(hook))
    ):
        yield f"each start waits for the hook postStart {_brief(hook)}, expected no hook or that of the values"
    declared = {each["name"] for key in ("initContainers", "extraContainers") for each in singleuser.get(key) or ()}
    if singleuser.get("cloudMetadata", {}).get("blockWithIptables"):
        declared.add("block-cloud-metadata")
    spec = _spec(server)
    for what, found in (("container", spec["containers"][1:]), ("init container", spec.get("initContainers") or ())):
        for name in (each["name"] for each in found if each["name"] not in declared):
            yield f"each start waits for the {what} {name}, expected none but those of the values"


def check_times(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server has as long as production gives to start and to answer."""
    for setting, least in (("start_timeout", START_TIMEOUT), ("http_timeout", HTTP_TIMEOUT)):
        found = server.spawner.get(setting)
        if not isinstance(found, int | float) or found < least:
            yield f"{setting} is {found} s, expected at least {least} s"


def check_mounts(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server has the settings files of the values, and nothing of its node or of others."""
    singleuser = hub.values.get("singleuser", {})
    files = {file["mountPath"] for file in (singleuser.get("extraFiles") or {}).values()}
    storage = singleuser.get("storage") or {}
    more = storage.get("extraVolumeMounts") or ()
    more = more.values() if isinstance(more, Mapping) else more
    # Authors may keep their work; students' goes with the server.
    kept = storage.get("homeMountPath")
    declared = files | {each["mountPath"] for each in more} | ({kept} if kept and not hub.for_students else set())
    volumes = {volume["name"]: volume for volume in _spec(server).get("volumes") or ()}
    mounted = {}
    for mount in _container(server).get("volumeMounts") or ():
        path, volume = mount["mountPath"].rstrip("/"), volumes.get(mount["name"], {})
        mounted[mount["mountPath"]] = volume
        if f"{HOME}/".startswith(f"{path}/"):
            yield f"{_source(volume)} is mounted at {path}, expected nothing over the course's notebooks in {HOME}"
        elif mount["mountPath"] not in declared and volume.keys() - HARMLESS:
            yield f"{_source(volume)} is mounted at {path}, expected no more than the values' files"
    for path in sorted(files - mounted.keys()):
        yield f"the values' file is not at {path}, expected it in each server"
    for name in (name for name, volume in volumes.items() if "hostPath" in volume):
        yield f"the server sees its node's {volumes[name]['hostPath'].get('path')}, expected no hostPath"
    shared = [key for key in ("hostNetwork", "hostPID", "hostIPC") if _spec(server).get(key)]
    if (_container(server).get("securityContext") or {}).get("privileged"):
        shared.append("privileged")
    if shared:
        yield f"the server is part of its node by {', '.join(shared)}, expected none of these"


def check_lasting(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server in use is ended by its hub alone: neither by Kubernetes, nor for want of reports."""
    spec, container = _spec(server), _container(server)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline and deadline < hub.max_age:
        yield f"Kubernetes ends the server after {deadline} s (activeDeadlineSeconds), expected {hub.max_age:.0f} s"
    if container.get("livenessProbe"):
        yield "Kubernetes restarts a server that is too busy to answer its livenessProbe, expected no such probe"
    annotations = server.pod.get("metadata", {}).get("annotations") or {}
    for name in (name for name, value in EVICTABLE.items() if annotations.get(name) == value):
        yield f"an autoscaler may remove the server while it runs, for {name} is {annotations[name]}"
    disk = _amount(server, "limits", "ephemeral-storage")
    if disk is not None and disk < DISK:
        yield f"the server is evicted when it has written {_gb(disk)}, expected at least {_gb(DISK)} or no limit"
    variables = {each["name"]: each.get("value") for each in container.get("env") or ()}
    every = float(variables.get(ACTIVITY) or ACTIVITY_INTERVAL)
    if every > hub.idle / 2:
        yield f"the server reports its use every {every:.0f} s, and is idle to the culler after {hub.idle:.0f} s"


def check_privileges(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that a server does not run as root, and has no capabilities; that its programs may use sudo is wanted."""
    of_pod, own = _spec(server).get("securityContext") or {}, _container(server).get("securityContext") or {}
    user = own.get("runAsUser", of_pod.get("runAsUser"))
    if user == 0:
        yield "the server runs as root, expected a user with fewer rights"
    elif user not in (None, OWNER):
        yield f"the server runs as the user {user}, expected {OWNER}: it may write nothing in {HOME}"
    if more := (own.get("capabilities") or {}).get("add"):
        yield f"the server has the capabilities {', '.join(more)}, expected none more than usual"


def check_kernel_culling(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that no setting of a server ends its kernels sooner than the hub's culler ends the server."""
    container = _container(server)
    arguments = [*(container.get("command") or ()), *(container.get("args") or ())]
    texts = {"the server's command": "\n".join(map(str, arguments)), **mounted_files(hub, server)}
    for where, text in texts.items():
        connected = bool(CULLS_CONNECTED.search(text))
        # An open page keeps a server for as long as it may live.
        least = hub.max_age if connected else hub.idle
        for setting, seconds in CULLING.findall(text):
            if 0 < int(seconds) < least:
                what = "the server" if setting.startswith("shutdown") else "kernels"
                page = "also under an open page, " if connected else ""
                yield f"{where} ends {what} {page}after {seconds} s ({setting}), expected {least:.0f} s or never"


def check_autosave(hub: MadeHub, course: str, server: Choice) -> Iterator[str]:
    """Check that no settings file keeps a student's page from saving by itself: a download has what was saved."""
    if not hub.for_students:
        return
    for where, text in mounted_files(hub, server).items():
        if AUTOSAVE_OFF.search(text):
            yield f"{where} has autosave false, expected true or nothing: who downloads a notebook gets an old one"


def mounted_files(hub: MadeHub, server: Choice) -> dict[str, str]:
    """Return the text of the files that a server gets from objects of the release, by the path of the mount."""
    objects = {(each["kind"], each["metadata"]["name"]): each for each in hub.objects}
    volumes = {volume["name"]: _sources(volume) for volume in _spec(server).get("volumes") or ()}
    found: dict[str, str] = {}
    for mount in _container(server).get("volumeMounts") or ():
        for kind, source in volumes.get(mount["name"], ()):
            name = source.get("secretName") or source.get("name")
            items = {item["path"]: item["key"] for item in source.get("items") or ()}
            files = _texts(objects.get((kind, name), {}))
            files = {path: files[key] for path, key in items.items() if key in files} if items else files
            if part := mount.get("subPath"):
                files = {part: files[part]} if part in files else {}
            found |= {
                mount["mountPath"] if part else f"{mount['mountPath']}/{path}": text for path, text in files.items()
            }
    return found


def _sources(volume: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    each = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    kinds = {"secret": "Secret", "configMap": "ConfigMap"}
    return [(kind, source[key]) for source in each for key, kind in kinds.items() if source.get(key)]


def _texts(holder: Manifest) -> dict[str, str]:
    encoded = {} if holder.get("kind") == "ConfigMap" else holder.get("data") or {}
    plain = (holder.get("data") or {}) if holder.get("kind") == "ConfigMap" else holder.get("stringData") or {}
    return {key: base64.b64decode(text).decode(errors="replace") for key, text in encoded.items()} | dict(plain)


# The hub as a whole


def check_parts(hub: MadeHub) -> Iterator[str]:
    """Check that each part of the hub can be made of its settings."""
    for part, settings in hub.configuration.items():
        if part != GIVEN and "error" in settings:
            yield f"its {part} cannot be made, and the hub does not start: {settings['error']}"


def check_settings(hub: MadeHub) -> Iterator[str]:
    """Check that the hub reads every setting of its configuration: traitlets only warns of one that nothing has.

    A section of a class that this hub does not use is no fault, unless its name is close to that of one that it uses.
    """
    read: dict[str, set[str]] = {}
    for part in (settings for name, settings in hub.configuration.items() if name != GIVEN):
        for section in part.get("sections", ()):
            read.setdefault(section, set()).update(part)
    for section, settings in hub.configuration[GIVEN].items():
        if section not in read:
            near = difflib.get_close_matches(section, [each for each in read if each[0] == section[0]], 1, CLOSE)
            for name in settings if near else ():
                yield f"nothing reads {section}.{name}: expected {near[0]}.{name}"
            continue
        # A name with a capital is a section in this one.
        for name in (name for name in settings if name not in read[section] and not name[0].isupper()):
            near = difflib.get_close_matches(name, read[section], 1)
            yield f"nothing reads {section}.{name}: {section} has no such setting{f', but {near[0]}' if near else ''}"


def check_announcements(hub: MadeHub) -> Iterator[str]:
    """Check that the hub's pages have what the values tell people there, whatever replaces it later."""
    given = hub.values.get("hub") or {}
    of_config = ((given.get("config") or {}).get("JupyterHub") or {}).get("template_vars") or {}
    there = hub.configuration["JupyterHub"].get("template_vars") or {}
    for name in {**(given.get("templateVars") or {}), **of_config}:
        if name not in there:
            yield (
                f"the hub's pages lack {name} of the values: the spawner file or extraConfig replaces "
                f"JupyterHub.template_vars by {', '.join(there) or 'nothing'}, where it has to add to them"
            )


def check_limits(hub: MadeHub) -> Iterator[str]:
    """Check that a class may arrive at once, and that a few failed starts do not end the hub."""
    # Authors share one account, and one server with it.
    people = CLASS if hub.for_students else 1
    limits = {"active_server_limit": people, "concurrent_spawn_limit": people}
    for part, each in (("JupyterHub", limits), ("Spawner", {"consecutive_failure_limit": FAILURES})):
        for setting, least in each.items():
            found = hub.configuration[part].get(setting)
            # Zero is no limit.
            if found and found < least:
                yield f"{part}.{setting} is {found}, expected at least {least}, or 0 for no limit"


def check_lifetimes(hub: MadeHub) -> Iterator[str]:
    """Check that a person stays logged in for as long as their server may live, so that saving works to its end."""
    jupyterhub = hub.configuration["JupyterHub"]
    options = (jupyterhub.get("tornado_settings") or {}).get("cookie_options") or {}
    days = {
        "tornado_settings.cookie_options.expires_days": options.get("expires_days"),
        "cookie_max_age_days": jupyterhub.get("cookie_max_age_days"),
    }
    seconds = {name: each * 86400 for name, each in days.items() if each is not None}
    seconds["oauth_token_expires_in"] = jupyterhub.get("oauth_token_expires_in")
    for name, found in seconds.items():
        if found is not None and found < hub.max_age:
            yield (
                f"JupyterHub.{name} ends a login after {found:.0f} s, expected at least the {hub.max_age:.0f} s that a "
                "server may live: saving fails before"
            )


def check_activity(hub: MadeHub) -> Iterator[str]:
    """Check that the hub learns of a server's use at least twice before the culler takes it for idle."""
    for setting in ("activity_resolution", "last_activity_interval"):
        found = hub.configuration["JupyterHub"].get(setting)
        if found and found > hub.idle / 2:
            yield f"JupyterHub.{setting} is {found} s, expected at most half of the culler's {hub.idle:.0f} s"


CULLER_SCOPES = {
    "list:users": ("users", "admin:users"),
    "read:users:activity": ("read:users", "users:activity", "users", "admin:users"),
    "read:servers": ("servers", "admin:servers"),
    "delete:servers": ("servers", "admin:servers"),
    "delete:users": ("admin:users",),
}
"""Scopes that the culler's work takes, each with those that have it in them (jupyterhub/scopes.py, 5.5)."""


def check_culler(hub: MadeHub) -> Iterator[str]:
    """Check that the hub runs a culler, and that it may do what it is there for."""
    jupyterhub = hub.configuration["JupyterHub"]
    cullers = [each for each in jupyterhub.get("services") or () if MODULE in (each.get("command") or ())]
    if not cullers:
        yield "no service of the hub is a culler: idle servers stay for ever"
    for culler in cullers:
        if culler.get("admin"):
            continue
        roles = [each for each in jupyterhub.get("load_roles") or () if culler["name"] in (each.get("services") or ())]
        there = {scope for role in roles for scope in role.get("scopes") or ()}
        lacks = [each for each, wider in CULLER_SCOPES.items() if there.isdisjoint((each, *wider))]
        if not read_command(culler["command"]).users:
            lacks = [each for each in lacks if each != "delete:users"]
        if lacks:
            yield f"the roles of {culler['name']} lack {', '.join(lacks)}: it cannot cull what it finds"


BEHAVIOUR = {
    "allow_named_servers": (False, "each student may start one server after another"),
    "cleanup_servers": (False, "a restart of the hub ends every server"),
    "redirect_to_server": (True, "a link ends at the hub's own page"),
    "shutdown_on_logout": (False, "a logout ends the server, and all that was written in it"),
}
"""Settings of JupyterHub that people rely on, each with what another one does."""


def check_behaviour(hub: MadeHub) -> Iterator[str]:
    """Check the settings of the hub by which people keep one server and find their way to it."""
    for setting, (expected, effect) in BEHAVIOUR.items():
        found = hub.configuration["JupyterHub"].get(setting)
        if found != expected:
            yield f"JupyterHub.{setting} is {found}, expected {expected}: {effect}"


def _spec(server: Choice) -> dict[str, Any]:
    spec: dict[str, Any] = server.pod["spec"]
    return spec


def _container(server: Choice) -> dict[str, Any]:
    container: dict[str, Any] = _spec(server)["containers"][0]
    return container


def _resources(server: Choice, bound: str) -> Mapping[str, Any]:
    return (_container(server).get("resources") or {}).get(bound) or {}


def _amount(server: Choice, bound: str, what: str) -> float | None:
    found = _resources(server, bound).get(what)
    return None if found is None else float(parse_quantity(found))


def _gb(amount: float) -> str:
    return f"{amount / GB:.1f} GB"


def _brief(hook: Mapping[str, Any]) -> str:
    command = (hook.get("exec") or {}).get("command")
    return f"'{' '.join(map(str, command))[:80]}'" if command else str(hook)[:80]


def _source(volume: Mapping[str, Any]) -> str:
    kind = next((key for key in volume if key != "name"), "a volume that there is not")
    return f"{kind} {volume.get('name', '')}".rstrip()
