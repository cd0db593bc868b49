"""The parts of the monitoring as objects of Kubernetes: Prometheus, Alertmanager, their sources, and a receiver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.charts.manifests import Manifest
from harness.monitoring import grafana
from harness.monitoring.grafana import GRAFANA
from harness.plan.hubs import HubSpec

NAMESPACE = "monitoring"
CLUSTER = "applications-production"
"""Name of production's cluster, by which the owners' rules choose their series."""
PROMETHEUS, ALERTMANAGER, RECEIVER = "prometheus", "alertmanager", "alert-receiver"
STATE_METRICS, POSTGRES_EXPORTER = "kube-state-metrics", "postgres-exporter"
PORTS = {
    PROMETHEUS: 9090,
    ALERTMANAGER: 9093,
    RECEIVER: 8080,
    STATE_METRICS: 8080,
    POSTGRES_EXPORTER: 9187,
    GRAFANA: grafana.PORT,
}
"""Port of each part, which its Service has as well."""
ADDONS = PORTS.keys() - {RECEIVER, GRAFANA}
"""Parts that have an image that `build` makes."""
HUB_JOB, KUBELET_JOB = "jupyterhub", "kubelet"
HUB_PORT, KUBELET_PORT = 8081, 10250
SCRAPE_SECONDS, STATE_SECONDS, KUBELET_SECONDS = 5, 2, 10
"""Seconds between two scrapes: of a hub or Postgres, of the state of the cluster, and of a kubelet, which itself looks
at containers every ten. A hub that is busy needs its time to answer."""
EVALUATION_SECONDS = 1
"""Seconds between two looks at the alert rules."""
WATCHED = ("daemonsets", "deployments", "jobs", "namespaces", "nodes", "pods", "replicasets", "statefulsets")
"""Kinds that kube-state-metrics looks at, of which the panels and the rules ask."""
RULES, AS_WRITTEN = "rules.yaml", "as-written.yaml"
"""Rules in Prometheus' directory: those that it runs, and the same as production would have them, for promtool."""
RECEIVER_PROGRAM = Path(__file__).with_name("in_receiver.py")


@dataclass(frozen=True)
class MonitoringSettings:
    """Everything that the parts are made of.

    Attributes:
        images: by part, full names; the receiver's has Python.
        tokens: of the service that reads a hub's metrics, by hub.
        nodes: addresses of the nodes, by which Prometheus reads their kubelets.
        database_url: of the server that keeps the hubs' databases.
        rules: the alert rules that run, as YAML.
        files: further texts beside them in Prometheus' directory, by name.
        grafana: its image; empty for no Grafana.
        dashboard: as JSON.
    """

    images: Mapping[str, str]
    tokens: Mapping[HubSpec, str]
    nodes: tuple[str, ...]
    database_url: str
    rules: str
    files: Mapping[str, str]
    grafana: str = ""
    dashboard: str = ""


def objects(settings: MonitoringSettings, fingerprint: str) -> list[Manifest]:
    """Return the objects of the monitoring, without its namespace.

    Args:
        fingerprint: of the settings; pods are replaced when it changes.
    """
    images = settings.images
    tokens = {spec.namespace: token for spec, token in settings.tokens.items()}
    prometheus_files = {
        "prometheus.yml": yaml.safe_dump(prometheus_configuration(settings.tokens, settings.nodes)),
        RULES: settings.rules,
        **settings.files,
    }
    return [
        *_reader(PROMETHEUS, [_rule("", ["nodes/metrics"])]),
        *_reader(STATE_METRICS, _watched()),
        _secret("hub-tokens", tokens),
        _secret("database", {"url": settings.database_url}),
        _texts(PROMETHEUS, prometheus_files),
        _texts(ALERTMANAGER, {"alertmanager.yml": yaml.safe_dump(alertmanager_configuration())}),
        _texts(RECEIVER, {RECEIVER_PROGRAM.name: RECEIVER_PROGRAM.read_text()}),
        *_part(
            PROMETHEUS,
            images[PROMETHEUS],
            fingerprint,
            ready="/-/ready",
            account=PROMETHEUS,
            args=["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
            mounts={
                "/etc/prometheus": {"configMap": {"name": PROMETHEUS}},
                "/etc/hub-tokens": {"secret": {"secretName": "hub-tokens"}},
                "/prometheus": {"emptyDir": {}},
            },
        ),
        *_part(
            ALERTMANAGER,
            images[ALERTMANAGER],
            fingerprint,
            ready="/-/ready",
            args=[
                "--config.file=/etc/alertmanager/alertmanager.yml",
                "--storage.path=/alertmanager",
                # There is no second one to talk to.
                "--cluster.listen-address=",
            ],
            mounts={
                "/etc/alertmanager": {"configMap": {"name": ALERTMANAGER}},
                "/alertmanager": {"emptyDir": {}},
            },
        ),
        *_part(
            STATE_METRICS,
            images[STATE_METRICS],
            fingerprint,
            ready="/healthz",
            account=STATE_METRICS,
            args=[f"--resources={','.join(WATCHED)}"],
        ),
        *_part(
            POSTGRES_EXPORTER,
            images[POSTGRES_EXPORTER],
            fingerprint,
            ready="/",
            env=[{"name": "DATA_SOURCE_NAME", "valueFrom": {"secretKeyRef": {"name": "database", "key": "url"}}}],
        ),
        *_part(
            RECEIVER,
            images[RECEIVER],
            fingerprint,
            ready="/",
            command=["python3", f"/program/{RECEIVER_PROGRAM.name}", str(PORTS[RECEIVER])],
            mounts={"/program": {"configMap": {"name": RECEIVER}}},
        ),
        *(_grafana(settings, fingerprint) if settings.grafana else ()),
    ]


def _grafana(settings: MonitoringSettings, fingerprint: str) -> list[Manifest]:
    files = grafana.provisioning(f"http://{_location(PROMETHEUS)}", settings.dashboard)
    return [
        *(_texts(f"{GRAFANA}-{key}", content) for key, content in files.items()),
        *_part(
            GRAFANA,
            settings.grafana,
            fingerprint,
            ready="/api/health",
            env=[{"name": name, "value": value} for name, value in grafana.ENVIRONMENT.items()],
            mounts={
                "/var/lib/grafana": {"emptyDir": {}},
                **{place: {"configMap": {"name": f"{GRAFANA}-{key}"}} for key, place in grafana.PLACES.items()},
            },
        ),
    ]


def prometheus_configuration(hubs: Iterable[HubSpec], nodes: Iterable[str]) -> dict[str, Any]:
    """Return Prometheus' configuration: a job for each source, and one for each hub, with its own token.

    A hub that is not there, such as one that only a test brings, is a target that does not answer.
    """
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{EVALUATION_SECONDS}s"},
        "rule_files": [RULES],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_location(ALERTMANAGER)]}]}]},
        "scrape_configs": [
            _job(STATE_METRICS, [_location(STATE_METRICS)], scrape_interval=f"{STATE_SECONDS}s"),
            _job(POSTGRES_EXPORTER, [_location(POSTGRES_EXPORTER)]),
            _kubelet_job(nodes),
            *(_hub_job(spec) for spec in hubs),
        ],
    }


def alertmanager_configuration() -> dict[str, Any]:
    """Return Alertmanager's configuration: every alert goes to the receiver, and at once."""
    return {
        "route": {
            "receiver": RECEIVER,
            "group_by": ["..."],
            "group_wait": "1s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": RECEIVER, "webhook_configs": [{"url": f"http://{_location(RECEIVER)}/"}]}],
    }


def _location(part: str) -> str:
    return f"{part}.{NAMESPACE}:{PORTS[part]}"


def _job(name: str, addresses: Iterable[str], labels: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    # By their names, for Debian's Prometheus is built without the discovery of Kubernetes' objects.
    targets = [{"targets": [address], "labels": {"cluster": CLUSTER, **(labels or {})}} for address in addresses]
    # The namespace and the pod in a series are those that it is about.
    return {"job_name": name, "honor_labels": True, "static_configs": targets, **more}


def _kubelet_job(nodes: Iterable[str]) -> dict[str, Any]:
    return _job(
        KUBELET_JOB,
        [f"{node}:{KUBELET_PORT}" for node in nodes],
        scheme="https",
        metrics_path="/metrics/cadvisor",
        scrape_interval=f"{KUBELET_SECONDS}s",
        authorization={"credentials_file": "/var/run/secrets/kubernetes.io/serviceaccount/token"},
        # Each kubelet signs its certificate itself.
        tls_config={"insecure_skip_verify": True},
        # A pod's own cgroup, and its sandbox, would be counted beside its containers.
        metric_relabel_configs=[{"source_labels": ["container"], "regex": "|POD", "action": "drop"}],
    )


def _hub_job(spec: HubSpec) -> dict[str, Any]:
    """Return the job of a hub, with its own token; all are one job in the series."""
    return _job(
        f"{HUB_JOB}/{spec.namespace}",
        [f"hub.{spec.namespace}:{HUB_PORT}"],
        {"namespace": spec.namespace, "job": HUB_JOB},
        metrics_path="/hub/metrics",
        authorization={"type": "token", "credentials_file": f"/etc/hub-tokens/{spec.namespace}"},
    )


def _labels(part: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": part}


def _rule(group: str, resources: list[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}


def _watched() -> list[dict[str, Any]]:
    core, batch = ["namespaces", "nodes", "pods"], ["jobs"]
    apps = [kind for kind in WATCHED if kind not in (*core, *batch)]
    return [_rule("", core), _rule("batch", batch), _rule("apps", apps)]


def _reader(part: str, rules: list[dict[str, Any]]) -> list[Manifest]:
    """Return an account that may read some kinds in the whole cluster."""
    name = f"harness-{part}"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": part}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "subjects": [{"kind": "ServiceAccount", "name": part, "namespace": NAMESPACE}],
            "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"},
        },
    ]


def _secret(name: str, data: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}


def _texts(name: str, data: Mapping[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(data)}


def _part(
    part: str,
    image: str,
    fingerprint: str,
    *,
    ready: str,
    account: str = "",
    command: list[str] | None = None,
    args: list[str] | None = None,
    env: list[dict[str, Any]] | None = None,
    mounts: Mapping[str, dict[str, Any]] | None = None,
) -> list[Manifest]:
    """Return the Deployment and the Service of a part.

    Args:
        ready: the page that answers once it is ready.
        account: its ServiceAccount; without one it has no key to the cluster.
        mounts: the source of each volume, by its place.
    """
    places = {f"volume-{number}": each for number, each in enumerate((mounts or {}).items())}
    container = {
        "name": part,
        "image": image,
        # One that was built anew has the name of the one before.
        "imagePullPolicy": "IfNotPresent" if part == RECEIVER else "Always",
        "ports": [{"name": "http", "containerPort": PORTS[part]}],
        "readinessProbe": {"httpGet": {"path": ready, "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "volumeMounts": [{"name": name, "mountPath": place} for name, (place, _) in places.items()],
        **({"command": command} if command else {}),
        **({"args": args} if args else {}),
        **({"env": env} if env else {}),
    }
    pod = {
        "containers": [container],
        "volumes": [{"name": name, **source} for name, (_, source) in places.items()],
        "securityContext": {"runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534},
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 1,
        **({"serviceAccountName": account} if account else {"automountServiceAccountToken": False}),
    }
    template = {"metadata": {"labels": _labels(part), "annotations": {"checksum/settings": fingerprint}}, "spec": pod}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": part, "labels": _labels(part)},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": _labels(part)},
                "template": template,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": part, "labels": _labels(part)},
            "spec": {
                "selector": _labels(part),
                "ports": [{"name": "http", "port": PORTS[part], "targetPort": "http"}],
            },
        },
    ]
