"""Checks of what a hub makes of production's release: a sound hub has no fault, and each planted fault is named."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from harness.hub import pod_checks
from harness.hub.pod_checks import NO_COURSE, HubCheck, MadeHub, ServerCheck, hub_faults, make_hub, server_faults
from harness.hub.spawner_probe import Choice, HubAnswer, Request, read_choice
from harness.plan.contract import COURSE_REPOSITORY, DEFAULT_COURSE, GPU_COURSES, KNOWN_COURSES
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec

GIB = 2**30
MENUS = "/opt/conda/share/jupyter/lab/settings/overrides.json"
CULLING = "/etc/jupyter/jupyter_server_config.json"
TAINT = {"key": "ol.mit.edu/gpu_node", "operator": "Equal", "value": "true", "effect": "NoSchedule"}
ON_GPU_NODE = {"key": "ol.mit.edu/gpu_node", "operator": "In", "values": ["true"]}
GPU_AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [ON_GPU_NODE]}]}
    }
}
COURSES = [NO_COURSE, "uai_source-uai.0", "uai_source-uai.1"]
CULLER = {"name": "culler", "command": ["python3", "-m", "jupyterhub_idle_culler", "--cull-users"]}
CULLS = ["list:users", "read:users:activity", "read:servers", "delete:servers", "admin:users"]
CONFIGURATION: dict[str, Any] = {
    "JupyterHub": {
        "active_server_limit": 0,
        "allow_named_servers": False,
        "cleanup_servers": False,
        "concurrent_spawn_limit": 64,
        "cookie_max_age_days": 14.0,
        "load_roles": [{"name": "culler", "services": ["culler"], "scopes": CULLS}],
        "oauth_token_expires_in": 1209600,
        "redirect_to_server": True,
        "services": [{"name": "metrics"}, CULLER],
        "shutdown_on_logout": False,
        "tornado_settings": {"slow_spawn_timeout": 0, "cookie_options": {"expires_days": 1}},
    },
    "Authenticator": {
        "class": "tmpauthenticator.TmpAuthenticator",
        "sections": ["Authenticator", "TmpAuthenticator"],
        "allow_all": True,
    },
    "Proxy": {},
    "Spawner": {"consecutive_failure_limit": 5, "mem_limit": 4 * 2**30, "sections": ["Spawner", "KubeSpawner"]},
    "given": {"error": "is no error here"},
}
Change = Callable[[dict[str, Any]], object]


def pod(hub: HubSpec, course: str) -> dict[str, Any]:
    """Return the pod of a course as production's release has it."""
    gpu = {"nvidia.com/gpu": "1"} if course in GPU_COURSES else {}
    authors = hub is AUTHORING
    container = {
        "name": "notebook",
        "image": f"{COURSE_REPOSITORY}:{DEFAULT_COURSE if course == NO_COURSE else course}",
        "imagePullPolicy": "Always",
        "args": ["jupyterhub-singleuser"],
        "env": [{"name": "NOTEBOOK_BUCKET", "value": "jupyter-courses-production" if authors else ""}],
        "lifecycle": {},
        "resources": {"limits": {"memory": 4 * GIB, **gpu}, "requests": {"memory": 2 * GIB, "cpu": 0.25, **gpu}},
        "securityContext": {"runAsUser": 1000},
        "volumeMounts": [{"name": "files", "mountPath": MENUS, "subPath": "menus"}],
    }
    secret = {"secretName": "singleuser", "items": [{"key": "menus", "path": "menus"}]}
    own = {"serviceAccountName": "writer"} if authors else {"automountServiceAccountToken": False}
    affinity = {"affinity": GPU_AFFINITY} if gpu else {}
    volumes = [{"name": "files", "secret": secret}]
    return {"spec": {"containers": [container], "tolerations": [TAINT], "volumes": volumes, **own, **affinity}}


def values(hub: HubSpec) -> dict[str, Any]:
    singleuser: dict[str, Any] = {"extraFiles": {"menus": {"mountPath": MENUS}}}
    if hub is AUTHORING:
        singleuser["serviceAccountName"] = "writer"
    return {"singleuser": singleuser, "cull": {"timeout": 900, "maxAge": 14400}}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def made(
    hub: HubSpec = STUDENT,
    *,
    whole: Change = dict,
    spec: Change = dict,
    container: Change = dict,
    given: Change = dict,
    settings: Change = dict,
    files: Change = dict,
    only: str = "",
) -> MadeHub:
    """Return a hub, sound but for some changes.

    Args:
        whole, spec, container: of the pods; `only` of this course.
        given: of the values.
        settings: of the configuration in force.
        files: of the texts in the Secret `singleuser`.
    """
    servers = {}
    for course in COURSES:
        its_pod = pod(hub, course)
        if only in ("", course):
            whole(its_pod)
            spec(its_pod["spec"])
            container(its_pod["spec"]["containers"][0])
        servers[course] = read_choice({"pod": its_pod, "spawner": {"start_timeout": 600, "http_timeout": 30}})
    theirs, configuration, texts = values(hub), copy.deepcopy(CONFIGURATION), {"menus": "{}"}
    given(theirs)
    settings(configuration)
    files(texts)
    data = {"hub": {"values.yaml": encoded(yaml.safe_dump(theirs))}}
    data["singleuser"] = {key: encoded(text) for key, text in texts.items()}
    objects = [{"kind": "Secret", "metadata": {"name": name}, "data": each} for name, each in data.items()]
    return MadeHub(hub, servers, configuration, objects)


def mount(path: str, **volume: Any) -> Change:
    """Return a change of a pod's spec: one more volume, mounted at a path."""

    def change(spec: dict[str, Any]) -> None:
        spec["volumes"].append({"name": "more", **volume})
        spec["containers"][0]["volumeMounts"].append({"name": "more", "mountPath": path})

    return change


SERVER_CHECKS = [
    pod_checks.check_image,
    pod_checks.check_memory,
    pod_checks.check_cpu,
    pod_checks.check_pull_policy,
    pod_checks.check_account,
    pod_checks.check_environment,
    pod_checks.check_start,
    pod_checks.check_times,
    pod_checks.check_mounts,
    pod_checks.check_kernel_culling,
    pod_checks.check_autosave,
    pod_checks.check_lasting,
    pod_checks.check_privileges,
]
HUB_CHECKS = [
    pod_checks.check_parts,
    pod_checks.check_limits,
    pod_checks.check_lifetimes,
    pod_checks.check_behaviour,
    pod_checks.check_activity,
    pod_checks.check_culler,
    pod_checks.check_settings,
    pod_checks.check_announcements,
]


@pytest.mark.parametrize("check", [*SERVER_CHECKS, *HUB_CHECKS], ids=lambda check: check.__name__)
def test_a_sound_hub_has_no_fault(check: Any) -> None:
    hubs = [made(STUDENT), made(AUTHORING)]
    assert (server_faults if check in SERVER_CHECKS else hub_faults)(hubs, check) == []


def named(name: str, value: Any) -> Change:
    """Return a change that adds a variable to a container."""
    return lambda container: container["env"].append({"name": name, "value": value})


def bucket(value: str) -> Change:
    return lambda container: container["env"][0].update(value=value)


def bound(which: str, **amounts: Any) -> Change:
    return lambda container: container["resources"][which].update(amounts)


GPU_COURSE = "uai_source-uai.1"
IN_EACH = "jupyterhub, every course: "
AUTOSCALER = "cluster-autoscaler.kubernetes.io"
AT_AUTHORS = "jupyterhub-authoring, every course: "
SERVER_FAULTS: list[tuple[ServerCheck, dict[str, Any], str]] = [
    (
        pod_checks.check_image,
        {"container": lambda each: each.update(image="else:1"), "only": "uai_source-uai.0"},
        f"jupyterhub, course uai_source-uai.0: the image is else:1, expected {COURSE_REPOSITORY}:uai_source-uai.0",
    ),
    (
        pod_checks.check_image,
        {"container": bound("limits", **{"nvidia.com/gpu": "2"}), "only": GPU_COURSE},
        f"jupyterhub, course {GPU_COURSE}: the server has 2 GPUs and asks for 1, expected 1",
    ),
    (
        pod_checks.check_image,
        {"spec": lambda spec: spec.pop("affinity", None)},
        f"jupyterhub, course {GPU_COURSE}: the server may land on a node without GPUs",
    ),
    (
        pod_checks.check_image,
        {"spec": lambda spec: spec.update(affinity=GPU_AFFINITY), "only": NO_COURSE},
        f"jupyterhub, course {NO_COURSE}: the server is bound to the nodes with GPUs",
    ),
    (
        pod_checks.check_image,
        {"spec": lambda spec: spec.update(tolerations=[])},
        f"jupyterhub, course {GPU_COURSE}: the server does not tolerate the taint ol.mit.edu/gpu_node=true:NoSchedule, "
        "and no GPU node takes it",
    ),
    (
        pod_checks.check_memory,
        {"container": lambda each: each["resources"].update(limits={})},
        f"{IN_EACH}the server has no memory limit, and may take all that its node has",
    ),
    (
        pod_checks.check_memory,
        {"container": bound("limits", memory="3Gi"), "only": GPU_COURSE},
        f"jupyterhub, course {GPU_COURSE}: the server may use 3.2 GB of memory, expected at least 4.0 GB",
    ),
    (
        pod_checks.check_memory,
        {"container": bound("requests", memory=GIB)},
        f"{IN_EACH}guaranteed memory is 1.1 GB, expected at least 2.0 GB",
    ),
    (
        pod_checks.check_memory,
        {"container": bound("requests", memory=6 * GIB)},
        f"{IN_EACH}the memory limit 4.3 GB is below the guarantee 6.4 GB, and Kubernetes refuses the pod",
    ),
    (
        pod_checks.check_cpu,
        {"container": bound("requests", cpu="50m")},
        f"{IN_EACH}guaranteed CPU is 0.05, expected at least 0.25",
    ),
    (
        pod_checks.check_cpu,
        {"container": bound("limits", cpu="500m")},
        f"{IN_EACH}the server is held at 0.5 CPU, expected no limit",
    ),
    (
        pod_checks.check_pull_policy,
        {"container": lambda each: each.update(imagePullPolicy="IfNotPresent"), "only": GPU_COURSE},
        f"jupyterhub, course {GPU_COURSE}: the image's pull policy is IfNotPresent, expected Always: an author's fix "
        "does not arrive",
    ),
    (
        pod_checks.check_account,
        {"spec": lambda spec: spec.update(serviceAccountName="writer")},
        f"{IN_EACH}the student's server runs under the account writer, expected none",
    ),
    (
        pod_checks.check_account,
        {"spec": lambda spec: spec.pop("automountServiceAccountToken")},
        f"{IN_EACH}the student's server has the cluster's token, expected automountServiceAccountToken false",
    ),
    (
        pod_checks.check_account,
        {"hub": AUTHORING, "spec": lambda spec: spec.pop("serviceAccountName")},
        f"{AT_AUTHORS}the author's server runs under the account default, expected writer",
    ),
    (
        pod_checks.check_environment,
        {"container": bucket("jupyter-courses-qa")},
        f"{IN_EACH}the student's server has NOTEBOOK_BUCKET=jupyter-courses-qa, expected none",
    ),
    (
        pod_checks.check_environment,
        {"container": named("AWS_SECRET_ACCESS_KEY", "x")},
        f"{IN_EACH}the student's server has the variable AWS_SECRET_ACCESS_KEY, expected none: every student may "
        "read it",
    ),
    (
        pod_checks.check_environment,
        {"container": lambda each: each.update(envFrom=[{"secretRef": {"name": "aws"}}])},
        f"{IN_EACH}the student's server takes its environment from [{{'secretRef': {{'name': 'aws'}}}}], expected no "
        "such source",
    ),
    (
        pod_checks.check_environment,
        {"hub": AUTHORING, "container": bucket("")},
        f"{AT_AUTHORS}the author's server has NOTEBOOK_BUCKET=, expected a bucket jupyter-courses-…",
    ),
    (
        pod_checks.check_start,
        {"container": lambda each: each.update(lifecycle={"postStart": {"exec": {"command": ["sleep", "20"]}}})},
        f"{IN_EACH}each start waits for the hook postStart 'sleep 20', expected no hook or that of the values",
    ),
    (
        pod_checks.check_start,
        {"spec": lambda spec: spec.update(initContainers=[{"name": "fetch"}])},
        f"{IN_EACH}each start waits for the init container fetch, expected none but those of the values",
    ),
    (
        pod_checks.check_start,
        {"spec": lambda spec: spec["containers"].append({"name": "beside"})},
        f"{IN_EACH}each start waits for the container beside, expected none but those of the values",
    ),
    (
        pod_checks.check_mounts,
        {"spec": mount("/data", hostPath={"path": "/var"})},
        f"{IN_EACH}hostPath more is mounted at /data, expected no more than the values' files",
    ),
    (
        pod_checks.check_mounts,
        {"spec": lambda spec: spec["volumes"].append({"name": "node", "hostPath": {"path": "/var"}})},
        f"{IN_EACH}the server sees its node's /var, expected no hostPath",
    ),
    (
        pod_checks.check_mounts,
        {"spec": mount("/home/jovyan/", emptyDir={})},
        f"{IN_EACH}emptyDir more is mounted at /home/jovyan, expected nothing over the course's notebooks in "
        "/home/jovyan",
    ),
    (
        pod_checks.check_mounts,
        {"container": lambda each: each.update(volumeMounts=[]), "only": GPU_COURSE},
        f"jupyterhub, course {GPU_COURSE}: the values' file is not at {MENUS}, expected it in each server",
    ),
    (
        pod_checks.check_mounts,
        {"spec": lambda spec: spec.update(hostNetwork=True)},
        f"{IN_EACH}the server is part of its node by hostNetwork, expected none of these",
    ),
    (
        pod_checks.check_mounts,
        {"container": lambda each: each.update(securityContext={"privileged": True})},
        f"{IN_EACH}the server is part of its node by privileged, expected none of these",
    ),
    (
        pod_checks.check_kernel_culling,
        {"container": lambda each: each["args"].append("--MappingKernelManager.cull_idle_timeout=600")},
        f"{IN_EACH}the server's command ends kernels after 600 s (cull_idle_timeout), expected 900 s or never",
    ),
    (
        pod_checks.check_kernel_culling,
        {"container": lambda each: each["args"].append("--ServerApp.shutdown_no_activity_timeout=300")},
        f"{IN_EACH}the server's command ends the server after 300 s (shutdown_no_activity_timeout), expected 900 s or "
        "never",
    ),
    (
        pod_checks.check_lasting,
        {"spec": lambda spec: spec.update(activeDeadlineSeconds=3600)},
        f"{IN_EACH}Kubernetes ends the server after 3600 s (activeDeadlineSeconds), expected 14400 s",
    ),
    (
        pod_checks.check_lasting,
        {"container": lambda each: each.update(livenessProbe={"httpGet": {"path": "/api"}})},
        f"{IN_EACH}Kubernetes restarts a server that is too busy to answer its livenessProbe, expected no such probe",
    ),
    (
        pod_checks.check_lasting,
        {"whole": lambda pod: pod.update(metadata={"annotations": {f"{AUTOSCALER}/safe-to-evict": "true"}})},
        f"{IN_EACH}an autoscaler may remove the server while it runs, for {AUTOSCALER}/safe-to-evict is true",
    ),
    (
        pod_checks.check_lasting,
        {"container": bound("limits", **{"ephemeral-storage": "500M"})},
        f"{IN_EACH}the server is evicted when it has written 0.5 GB, expected at least 5.0 GB or no limit",
    ),
    (
        pod_checks.check_lasting,
        {"container": named("JUPYTERHUB_ACTIVITY_INTERVAL", "3600"), "only": GPU_COURSE},
        f"jupyterhub, course {GPU_COURSE}: the server reports its use every 3600 s, and is idle to the culler after "
        "900 s",
    ),
    (
        pod_checks.check_privileges,
        {"container": lambda each: each.update(securityContext={"runAsUser": 0})},
        f"{IN_EACH}the server runs as root, expected a user with fewer rights",
    ),
    (
        pod_checks.check_privileges,
        {"container": lambda each: each.update(securityContext={"runAsUser": 1001})},
        f"{IN_EACH}the server runs as the user 1001, expected 1000: it may write nothing in /home/jovyan",
    ),
    (
        pod_checks.check_privileges,
        {"container": lambda each: each["securityContext"].update(capabilities={"add": ["SYS_ADMIN"]})},
        f"{IN_EACH}the server has the capabilities SYS_ADMIN, expected none more than usual",
    ),
]


@pytest.mark.parametrize(("check", "change", "fault"), SERVER_FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_fault_of_servers(check: ServerCheck, change: dict[str, Any], fault: str) -> None:
    """A line names the hub, the courses, what was found and what was expected."""
    found = made(**change)
    sound = made(AUTHORING if found.hub is STUDENT else STUDENT)
    assert fault in server_faults([sound, found], check)


@pytest.mark.parametrize(
    ("setting", "seconds", "least"), [("start_timeout", 300, 600), ("http_timeout", 5, 30), ("http_timeout", None, 30)]
)
def test_times(setting: str, seconds: object, least: int) -> None:
    servers = {"a": read_choice({"pod": pod(STUDENT, "a"), "spawner": {"start_timeout": 600, "http_timeout": 30}})}
    hub = MadeHub(STUDENT, servers, CONFIGURATION, [])
    assert not server_faults([hub], pod_checks.check_times)
    servers["a"] = read_choice(
        {"pod": pod(STUDENT, "a"), "spawner": {"start_timeout": 600, "http_timeout": 30, setting: seconds}}
    )
    [fault] = server_faults([hub], pod_checks.check_times)
    assert fault == f"jupyterhub, every course: {setting} is {seconds} s, expected at least {least} s"


class TestKernelCulling:
    """A settings file that the values, or the spawner alone, mount into a server."""

    @staticmethod
    def hub(text: str, seconds: int = 14400) -> MadeHub:
        def file(given: dict[str, Any]) -> None:
            given["singleuser"]["extraFiles"]["culling"] = {"mountPath": CULLING}
            given["cull"]["maxAge"] = seconds

        def mounted(spec: dict[str, Any]) -> None:
            spec["volumes"][0]["secret"]["items"].append({"key": "culling", "path": "culling"})
            spec["containers"][0]["volumeMounts"].append({"name": "files", "mountPath": CULLING, "subPath": "culling"})

        return made(given=file, spec=mounted, files=lambda texts: texts.update(culling=text))

    @pytest.mark.parametrize("connected", [True, False])
    @pytest.mark.parametrize("write", [json.dumps, lambda given: json.dumps(given, indent=1)], ids=["line", "lines"])
    def test_json(self, connected: bool, write: Callable[[Any], str]) -> None:
        hub = self.hub(write({"MappingKernelManager": {"cull_idle_timeout": 600, "cull_connected": connected}}))
        page, least = ("also under an open page, ", 14400) if connected else ("", 900)
        fault = f"{CULLING} ends kernels {page}after 600 s (cull_idle_timeout), expected {least} s or never"
        assert server_faults([hub], pod_checks.check_kernel_culling) == [f"{IN_EACH}{fault}"]

    def test_python(self) -> None:
        text = "c.MappingKernelManager.cull_connected = True\nc.MappingKernelManager.cull_idle_timeout = 3600\n"
        [fault] = server_faults([self.hub(text)], pod_checks.check_kernel_culling)
        assert "also under an open page, after 3600 s" in fault

    @pytest.mark.parametrize("seconds", [0, 14400, 20000])
    def test_never_or_late(self, seconds: int) -> None:
        hub = self.hub(json.dumps({"MappingKernelManager": {"cull_idle_timeout": seconds, "cull_connected": True}}))
        assert not server_faults([hub], pod_checks.check_kernel_culling)

    def test_as_long_as_the_hub_lets_servers_live(self) -> None:
        text = json.dumps({"MappingKernelManager": {"cull_idle_timeout": 14400, "cull_connected": True}})
        [fault] = server_faults([self.hub(text, seconds=28800)], pod_checks.check_kernel_culling)
        assert fault.endswith("expected 28800 s or never")


class TestAutosave:
    """The settings of Jupyter's pages in a file of each server."""

    @pytest.mark.parametrize("indent", [None, 2])
    def test_switched_off(self, indent: int | None) -> None:
        text = json.dumps({"@jupyterlab/docmanager-extension:plugin": {"autosave": False}}, indent=indent)
        hubs = [made(hub, files=lambda texts: texts.update(menus=text)) for hub in (STUDENT, AUTHORING)]
        fault = f"{MENUS} has autosave false, expected true or nothing: who downloads a notebook gets an old one"
        assert server_faults(hubs, pod_checks.check_autosave) == [f"{IN_EACH}{fault}"], "authors save as they like"

    @pytest.mark.parametrize("settings", [{"autosave": True}, {"autosaveInterval": 30}, {"confirm": False}])
    def test_on(self, settings: dict[str, Any]) -> None:
        text = json.dumps({"@jupyterlab/docmanager-extension:plugin": settings})
        hub = made(files=lambda texts: texts.update(menus=text))
        assert not server_faults([hub], pod_checks.check_autosave)


def test_files_of_every_kind_of_volume() -> None:
    """A server's files come from Secrets and ConfigMaps, alone or projected, as one file or as a directory."""
    objects = [
        {"kind": "Secret", "metadata": {"name": "a"}, "data": {"x": encoded("one")}, "stringData": {"y": "two"}},
        {"kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"z": "three"}},
    ]
    volumes = [
        {"name": "secret", "secret": {"secretName": "a"}},
        {"name": "map", "configMap": {"name": "a", "items": [{"key": "z", "path": "deep/z"}]}},
        {"name": "both", "projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "a"}}]}},
        {"name": "gone", "secret": {"secretName": "b"}},
    ]
    mounts = [
        {"name": "secret", "mountPath": "/s/y", "subPath": "y"},
        {"name": "map", "mountPath": "/m"},
        {"name": "both", "mountPath": "/b"},
        {"name": "gone", "mountPath": "/g"},
    ]
    server = Choice(pod={"spec": {"containers": [{"volumeMounts": mounts}], "volumes": volumes}})
    found = pod_checks.mounted_files(MadeHub(STUDENT, {}, {}, objects), server)
    assert found == {"/s/y": "two", "/m/deep/z": "three", "/b/x": "one", "/b/y": "two", "/b/z": "three"}


def setting(part: str, **settings: Any) -> Change:
    return lambda configuration: configuration[part].update(settings)


HUB_FAULTS: list[tuple[HubCheck, HubSpec, Change, str]] = [
    (
        pod_checks.check_parts,
        AUTHORING,
        setting("Authenticator", error="TraitError: too short"),
        "its Authenticator cannot be made, and the hub does not start: TraitError: too short",
    ),
    (
        pod_checks.check_limits,
        STUDENT,
        setting("JupyterHub", active_server_limit=31),
        "JupyterHub.active_server_limit is 31, expected at least 32, or 0 for no limit",
    ),
    (
        pod_checks.check_limits,
        STUDENT,
        setting("JupyterHub", concurrent_spawn_limit=5),
        "JupyterHub.concurrent_spawn_limit is 5, expected at least 32, or 0 for no limit",
    ),
    (
        pod_checks.check_limits,
        AUTHORING,
        setting("Spawner", consecutive_failure_limit=1),
        "Spawner.consecutive_failure_limit is 1, expected at least 5, or 0 for no limit",
    ),
    (
        pod_checks.check_lifetimes,
        STUDENT,
        setting("JupyterHub", oauth_token_expires_in=3600),
        "JupyterHub.oauth_token_expires_in ends a login after 3600 s, expected at least the 14400 s that a server may "
        "live: saving fails before",
    ),
    (
        pod_checks.check_lifetimes,
        STUDENT,
        setting("JupyterHub", tornado_settings={"cookie_options": {"expires_days": 0.1}}),
        "JupyterHub.tornado_settings.cookie_options.expires_days ends a login after 8640 s, expected at least the "
        "14400 s that a server may live: saving fails before",
    ),
    (
        pod_checks.check_lifetimes,
        STUDENT,
        setting("JupyterHub", cookie_max_age_days=0.1),
        "JupyterHub.cookie_max_age_days ends a login after 8640 s, expected at least the 14400 s that a server may "
        "live: saving fails before",
    ),
    (
        pod_checks.check_activity,
        STUDENT,
        setting("JupyterHub", activity_resolution=1800),
        "JupyterHub.activity_resolution is 1800 s, expected at most half of the culler's 900 s",
    ),
    (
        pod_checks.check_culler,
        STUDENT,
        setting("JupyterHub", services=[{"name": "metrics"}]),
        "no service of the hub is a culler: idle servers stay for ever",
    ),
    (
        pod_checks.check_culler,
        AUTHORING,
        setting("JupyterHub", load_roles=[{"name": "culler", "services": ["culler"], "scopes": CULLS[:3]}]),
        "the roles of culler lack delete:servers, delete:users: it cannot cull what it finds",
    ),
    (
        pod_checks.check_culler,
        STUDENT,
        setting("JupyterHub", load_roles=[{"name": "culler", "services": ["another"], "scopes": CULLS}]),
        "the roles of culler lack list:users, read:users:activity, read:servers, delete:servers, delete:users: it "
        "cannot cull what it finds",
    ),
    (
        pod_checks.check_behaviour,
        STUDENT,
        setting("JupyterHub", allow_named_servers=True),
        "JupyterHub.allow_named_servers is True, expected False: each student may start one server after another",
    ),
    (
        pod_checks.check_behaviour,
        STUDENT,
        setting("JupyterHub", cleanup_servers=True),
        "JupyterHub.cleanup_servers is True, expected False: a restart of the hub ends every server",
    ),
    (
        pod_checks.check_behaviour,
        STUDENT,
        setting("JupyterHub", redirect_to_server=False),
        "JupyterHub.redirect_to_server is False, expected True: a link ends at the hub's own page",
    ),
    (
        pod_checks.check_behaviour,
        STUDENT,
        setting("JupyterHub", shutdown_on_logout=True),
        "JupyterHub.shutdown_on_logout is True, expected False: a logout ends the server, and all that was written in "
        "it",
    ),
    (
        pod_checks.check_settings,
        STUDENT,
        setting("given", KubeSpawner={"mem_limt": "8G"}),
        "nothing reads KubeSpawner.mem_limt: KubeSpawner has no such setting, but mem_limit",
    ),
    (
        pod_checks.check_settings,
        AUTHORING,
        setting("given", Authenticator={"something_new": 1}),
        "nothing reads Authenticator.something_new: Authenticator has no such setting",
    ),
    (
        pod_checks.check_settings,
        STUDENT,
        setting("given", Kubespawner={"mem_limit": "8G"}),
        "nothing reads Kubespawner.mem_limit: expected KubeSpawner.mem_limit",
    ),
]


@pytest.mark.parametrize(
    ("check", "hub", "change", "fault"), HUB_FAULTS, ids=lambda each: getattr(each, "__name__", "")
)
def test_fault_of_a_hub(check: HubCheck, hub: HubSpec, change: Change, fault: str) -> None:
    assert hub_faults([made(STUDENT), made(hub, settings=change)], check) == [f"{hub.release}: {fault}"]


@pytest.mark.parametrize(
    "given",
    [
        {"templateVars": {"announcement": "News"}},
        {"config": {"JupyterHub": {"template_vars": {"announcement": "News"}}}},
    ],
    ids=["a key of the chart", "hub.config"],
)
def test_an_announcement_that_is_replaced(given: dict[str, Any]) -> None:
    """What the values put on the hub's pages is lost where the spawner file gives other variables in its place."""
    lost, added = {"logo_url": "/"}, {"logo_url": "/", "announcement": "News"}
    hubs = [
        made(given=lambda values: values.update(hub=given), settings=setting("JupyterHub", template_vars=there))
        for there in (lost, added)
    ]
    assert hub_faults(hubs, pod_checks.check_announcements) == [
        "jupyterhub: the hub's pages lack announcement of the values: the spawner file or extraConfig replaces "
        "JupyterHub.template_vars by logo_url, where it has to add to them"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk-1"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("CONFIGPROXY_AUTH_TOKEN", "x"),
        ("DATABASE_URL", "postgresql://"),
        ("SMTP_PASSWORD", "x"),
    ],
)
def test_a_variable_that_is_private(name: str, value: str) -> None:
    [fault] = server_faults([made(container=named(name, value))], pod_checks.check_environment)
    assert fault == (f"{IN_EACH}the student's server has the variable {name}, expected none: every student may read it")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JUPYTERHUB_API_TOKEN", "x"),
        ("JPY_API_TOKEN", "x"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("KEYBOARD", "us"),
        ("JUPYTER_TOKEN", ""),
    ],
)
def test_a_variable_that_is_not_private(name: str, value: str) -> None:
    assert not server_faults([made(container=named(name, value))], pod_checks.check_environment)


def test_a_variable_of_a_secret() -> None:
    variable = {"name": "SURVEY", "valueFrom": {"secretKeyRef": {"name": "survey", "key": "url"}}}
    hubs = [made(hub, container=lambda each: each["env"].append(variable)) for hub in (STUDENT, AUTHORING)]
    assert server_faults(hubs, pod_checks.check_environment) == [
        f"{IN_EACH}the student's server has SURVEY of the Secret survey, expected none"
    ]


def test_authors_may_keep_their_work() -> None:
    """A volume for their work is no more than the values say; a student's server keeps nothing."""
    work = mount(f"{pod_checks.HOME}/work", persistentVolumeClaim={"claimName": "work"})

    def storage(given: dict[str, Any]) -> None:
        given["singleuser"]["storage"] = {"homeMountPath": f"{pod_checks.HOME}/work"}

    hubs = [made(hub, spec=work, given=storage) for hub in (AUTHORING, STUDENT)]
    [fault] = server_faults(hubs, pod_checks.check_mounts)
    assert fault.startswith(f"{IN_EACH}persistentVolumeClaim more is mounted at {pod_checks.HOME}/work")


@pytest.mark.parametrize(
    ("check", "change"),
    [
        (pod_checks.check_memory, {"container": bound("limits", memory="8Gi"), "only": GPU_COURSE}),
        (pod_checks.check_cpu, {"container": bound("requests", cpu="500m")}),
        (pod_checks.check_environment, {"container": named("COURSE_SURVEY", "https://learn.example")}),
        (pod_checks.check_mounts, {"spec": mount("/dev/shm", emptyDir={"medium": "Memory"})}),
        (
            pod_checks.check_mounts,
            {
                "spec": mount("/data", persistentVolumeClaim={"claimName": "data"}),
                "given": lambda given: given["singleuser"].update(
                    storage={"extraVolumeMounts": [{"name": "more", "mountPath": "/data"}]}
                ),
            },
        ),
        (
            pod_checks.check_start,
            {
                "spec": lambda spec: spec.update(initContainers=[{"name": "mine"}]),
                "given": lambda given: given["singleuser"].update(initContainers=[{"name": "mine"}]),
            },
        ),
        (pod_checks.check_account, {"hub": AUTHORING, "spec": lambda spec: spec.update(schedulerName="ours")}),
        (pod_checks.check_image, {"spec": lambda spec: spec.update(tolerations=[{"operator": "Exists"}])}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_more_is_no_fault(check: ServerCheck, change: dict[str, Any]) -> None:
    assert server_faults([made(**change)], check) == []


@pytest.mark.parametrize(
    "change",
    [
        setting("JupyterHub", active_server_limit=32, concurrent_spawn_limit=0),
        setting("JupyterHub", tornado_settings={}, cookie_max_age_days=1),
        setting("JupyterHub", api_page_max_limit=20, template_vars={"announcement": "News"}),
        setting("given", PAMAuthenticator={"open_sessions": False}, OAuthenticator={"client_id": "x"}),
        setting("given", KubeSpawner={"mem_limit": "8G", "Nested": {"x": 1}}),
    ],
)
def test_other_settings_are_no_fault(change: Change) -> None:
    for check in HUB_CHECKS:
        assert hub_faults([made(settings=change)], check) == []


def test_an_error_is_the_answer_to_every_check() -> None:
    hub = MadeHub(STUDENT, {"a": Choice(error="TraitError: mem_limit")}, CONFIGURATION, [])
    [fault] = server_faults([hub], pod_checks.check_cpu)
    assert fault == "jupyterhub, every course: there is no server, for TraitError: mem_limit"


def test_many_courses_are_counted() -> None:
    servers = dict.fromkeys("abcde", Choice(error="broken")) | {"f": Choice(error="also broken")}
    first, second = server_faults([MadeHub(STUDENT, servers, CONFIGURATION, [])], pod_checks.check_cpu)
    assert first.startswith("jupyterhub, 5 courses (a, b, c, …): ")
    assert second.startswith("jupyterhub, course f: ")


@pytest.mark.parametrize("hub", [STUDENT, AUTHORING], ids=lambda hub: hub.release)
def test_each_hub_is_asked_as_its_people_ask(monkeypatch: pytest.MonkeyPatch, hub: HubSpec) -> None:
    """Students come by a link, authors by the form; all courses are asked for at once."""
    asked: list[Request] = []

    def ask(cluster: object, objects: list[Any], requests: Any) -> HubAnswer:
        asked.extend(requests)
        assert objects == [{"kind": "Deployment"}, {"kind": "Secret"}]
        return HubAnswer([Choice(image=str(number)) for number, _ in enumerate(asked)], {"JupyterHub": {}})

    monkeypatch.setattr(pod_checks, "ask", ask)
    cluster: Any = object()
    found = make_hub(cluster, hub, [{"kind": "Deployment"}], [{"kind": "Secret"}])
    assert found.servers.keys() == KNOWN_COURSES | {NO_COURSE}
    assert found.servers[NO_COURSE].image == "0"
    assert found.configuration == {"JupyterHub": {}}
    one = asked[list(found.servers).index("uai_source-uai.1")]
    link, form = Request("course=uai_source-uai.1"), Request("", form={"course": ["uai_source-uai.1"]})
    assert one == (link if hub is STUDENT else form)


@pytest.mark.parametrize(
    "change",
    [
        setting("JupyterHub", services=[CULLER | {"admin": True}], load_roles=[]),
        setting(
            "JupyterHub", load_roles=[{"name": "it", "services": ["culler"], "scopes": ["admin:users", "servers"]}]
        ),
        setting(
            "JupyterHub",
            services=[CULLER | {"command": CULLER["command"][:-1]}],
            load_roles=[{"name": "it", "services": ["culler"], "scopes": CULLS[:-1]}],
        ),
    ],
    ids=["admin", "wider scopes", "users stay"],
)
def test_a_culler_needs_what_its_work_takes(change: Change) -> None:
    assert hub_faults([made(settings=change)], pod_checks.check_culler) == []
