"""The panels of the dashboard: what each asks Prometheus, and who exposes the metric.

Names and units are those of the community's dashboards (jupyterhub/grafana-dashboards) where they have the same panel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.monitoring.rules import metrics_in

DASHBOARD, UID = "monitoring/dashboard.json", "ol-jupyterhub"
"""The dashboard's file in a checkout, and its name in Grafana's addresses."""
HUB, WINDOW = "$hub", "$__rate_interval"
"""Grafana's variables in a panel's query: the hubs' namespaces, and a window that fits the scrapes."""

IMAGES = "Images used by user pods"
RESTARTS = "Server restarts by course"
MEMORY_KILLS = "Servers killed for memory by course"
SERVERS = "Running servers"
USERS = "Users"
START_TIMES = "Server Start Times"
START_FAILURES = "Server Start Failures"
REMOVED = "Servers and users removed"
PRE_PULLER = "Images on nodes"
PLACEHOLDERS = "Placeholders ready"
AVAILABLE = "Hub and proxy available"
MEMORY = "Hub and proxy memory"
LATENCY = "Hub response latency"
DATABASE = "Hub database size"

EXPOSED_BY = {
    "kube": "kube-state-metrics",
    "container": "the kubelet (cAdvisor)",
    "jupyterhub": "the hub, /hub/metrics",
    "pg": "postgres_exporter",
}
"""The program that exposes a metric, by the first word of its name."""
PRODUCTION_KEEPS = re.compile(
    "kube_(daemonset.*|statefulset.*|pod_init_.*|deployment_(spec_replicas|status_replicas_(available|updated)|"
    "status_condition)|pod_(info|owner|start_time|status_(phase|ready|reason)|container_(info|resource_(limits|requests)"
    "|status_(last_terminated_reason|restarts_total|waiting_reason)))|node.*|job.*)"
    "|container_memory_(cache|rss|swap|working_set_bytes)|container_cpu_(cfs_.*|usage_seconds_total)"
)
"""Metrics of ours that production's collector keeps: the default list of the chart k8s-monitoring, as far as it is read
here. It reads no hub: its discovery by annotation wants another annotation, a token and a way through the policy."""


@dataclass(frozen=True)
class Panel:
    """A panel of the dashboard.

    Attributes:
        expression: PromQL with Grafana's variables.
        legend: of a series, with its labels in double braces.
        unit: as Grafana names it.
        about: a sentence for the person who looks at it.
    """

    title: str
    row: str
    expression: str
    legend: str
    unit: str
    about: str

    def query(self, namespaces: str = "jupyter.*", window: str = "1m") -> str:
        """Return the query of some hubs, as Grafana would send it.

        Args:
            namespaces: a regular expression.
        """
        return self.expression.replace(HUB, namespaces).replace(WINDOW, window)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that it asks for."""
        return sorted(metrics_in(self.expression))

    @property
    def exposed_by(self) -> list[str]:
        """Programs that expose them."""
        return sorted({EXPOSED_BY[name.partition("_")[0]] for name in self.metrics})

    @property
    def in_production(self) -> bool:
        """True if production scrapes all of it."""
        return all(PRODUCTION_KEEPS.fullmatch(name) for name in self.metrics)

    @property
    def description(self) -> str:
        """The sentence about it, its metrics, who exposes them, and whether production scrapes them."""
        scraped = "scraped by production" if self.in_production else "not scraped by production"
        return f"{self.about}\n\n{', '.join(self.metrics)}; exposed by {' and '.join(self.exposed_by)}; {scraped}."


def panel(title: str) -> Panel:
    """Return the panel of a title."""
    return next(each for each in PANELS if each.title == title)


def _course(info: str, selector: str) -> str:
    """Return series of images with the label `course`, the image's tag."""
    return f'label_replace({info}{{{selector}}}, "course", "$1", "image_spec", ".*:(.+)")'


_NOTEBOOK = f'container="notebook", namespace=~"{HUB}"'
_WITH_COURSE = f"* on (namespace, pod, container) group_left(course) {_course('kube_pod_container_info', _NOTEBOOK)}"
_PULLER = f'pod=~"continuous-image-puller-.*", namespace=~"{HUB}"'
_CORE = f'container=~"hub|chp", namespace=~"{HUB}"'

PANELS = (
    Panel(
        IMAGES,
        "Servers",
        f"count by (namespace, course) ({_course('kube_pod_container_info', _NOTEBOOK)})",
        "{{namespace}}: {{course}}",
        "short",
        "Servers by the course whose image they run.",
    ),
    Panel(
        SERVERS,
        "Servers",
        f'sum by (namespace) (jupyterhub_running_servers{{namespace=~"{HUB}"}})',
        "{{namespace}}",
        "short",
        "Servers that the hub counts as running. Those that start side by side are counted twice until the next start.",
    ),
    Panel(
        USERS,
        "Servers",
        f'sum by (namespace) (jupyterhub_total_users{{namespace=~"{HUB}"}})',
        "{{namespace}}",
        "short",
        "Users in the hub's database; each visit of a student makes one, and the culler removes it with its server.",
    ),
    Panel(
        RESTARTS,
        "Servers",
        "sum by (namespace, course) (increase(kube_pod_container_status_restarts_total"
        f"{{{_NOTEBOOK}}}[{WINDOW}]) {_WITH_COURSE})",
        "{{namespace}}: {{course}}",
        "short",
        "Restarts of servers within their pods; whatever was not saved is lost.",
    ),
    Panel(
        MEMORY_KILLS,
        "Servers",
        "sum by (namespace, course) (kube_pod_container_status_last_terminated_reason"
        f'{{reason="OOMKilled", {_NOTEBOOK}}} {_WITH_COURSE})',
        "{{namespace}}: {{course}}",
        "short",
        "Servers whose last restart was a kill for memory.",
    ),
    Panel(
        REMOVED,
        "Servers",
        "sum by (namespace, handler) (increase(jupyterhub_request_duration_seconds_count"
        '{method="DELETE", code=~"2..", handler=~"jupyterhub.apihandlers.users.User(Server)?APIHandler", '
        f'namespace=~"{HUB}"}}[{WINDOW}]))',
        "{{namespace}}: {{handler}}",
        "short",
        "Servers and users removed by way of the hub's API, which is the culler's way.",
    ),
    Panel(
        START_TIMES,
        "Starts",
        "histogram_quantile(0.95, sum by (namespace, le) (rate(jupyterhub_server_spawn_duration_seconds_bucket"
        f'{{status="success", namespace=~"{HUB}"}}[{WINDOW}])))',
        "{{namespace}}",
        "s",
        "Time within which 95 of 100 servers started.",
    ),
    Panel(
        START_FAILURES,
        "Starts",
        "sum by (namespace, status) (increase(jupyterhub_server_spawn_duration_seconds_count"
        f'{{status!="success", namespace=~"{HUB}"}}[{WINDOW}]))',
        "{{namespace}}: {{status}}",
        "short",
        "Servers that did not start. After five in a row a hub ends itself.",
    ),
    Panel(
        PRE_PULLER,
        "Starts",
        # Two of a pod's containers may bring the same image.
        "max by (namespace, node, course) ("
        f"kube_pod_init_container_status_terminated{{{_PULLER}}} "
        f"* on (namespace, pod, container) group_left(course) {_course('kube_pod_init_container_info', _PULLER)} "
        f"* on (namespace, pod) group_left(node) kube_pod_info{{{_PULLER}}})",
        "{{node}}: {{course}}",
        "short",
        "1 for each course's image that the pre-puller has brought to a node, 0 for one that it has yet to bring.",
    ),
    Panel(
        PLACEHOLDERS,
        "Starts",
        f'kube_statefulset_status_replicas_ready{{statefulset="user-placeholder", namespace=~"{HUB}"}} '
        f'/ kube_statefulset_replicas{{statefulset="user-placeholder", namespace=~"{HUB}"}}',
        "{{namespace}}",
        "percentunit",
        "Share of the room kept for the next servers that is there; at 0 the next server waits for a node.",
    ),
    Panel(
        AVAILABLE,
        "Hub",
        f'kube_deployment_status_replicas_available{{deployment=~"hub|proxy", namespace=~"{HUB}"}}',
        "{{namespace}}: {{deployment}}",
        "short",
        "Hubs and proxies that are available; each should be 1.",
    ),
    Panel(
        MEMORY,
        "Hub",
        # A pod that was replaced is in the series for some minutes more.
        "max by (namespace, container) ("
        f"max by (namespace, pod, container) (container_memory_working_set_bytes{{{_CORE}}}) "
        "/ max by (namespace, pod, container) "
        f'(kube_pod_container_resource_limits{{resource="memory", {_CORE}}}))',
        "{{namespace}}: {{container}}",
        "percentunit",
        "Memory of hub and proxy as a share of their limits; at 1 they are killed.",
    ),
    Panel(
        LATENCY,
        "Hub",
        "histogram_quantile(0.95, sum by (namespace, le) (rate(jupyterhub_request_duration_seconds_bucket"
        f'{{handler!="jupyterhub.apihandlers.users.SpawnProgressAPIHandler", namespace=~"{HUB}"}}[{WINDOW}])))',
        "{{namespace}}",
        "s",
        "Time within which the hub answered 95 of 100 requests; without the stream that a starting page reads.",
    ),
    Panel(
        DATABASE,
        "Hub",
        'pg_database_size_bytes{datname=~"jupyterhub.*"}',
        "{{datname}}",
        "bytes",
        "Size of each hub's database.",
    ),
)
"""All panels, in their order on the dashboard."""
