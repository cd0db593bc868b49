"""Tests of the objects that the monitoring is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from harness.gate.addon import GATE
from harness.monitoring.addon import (
    ADDONS,
    ALERTMANAGER,
    HUB_JOB,
    NAMESPACE,
    PORTS,
    PROMETHEUS,
    RECEIVER,
    MonitoringSettings,
    alertmanager_configuration,
    objects,
    prometheus_configuration,
)
from harness.monitoring.grafana import GRAFANA, PLACES
from harness.plan.hubs import HUBS, STUDENT
from harness.plan.versions import read_versions
from harness.policies.addon import ENFORCER

ROOT = Path(__file__).parents[3]
NODES = ("jh-1-control-plane", "jh-1-worker")
SETTINGS = MonitoringSettings(
    images={**{name: image.published for name, image in read_versions().addons().items()}, RECEIVER: "hub:1"},
    tokens=dict.fromkeys(HUBS, "secret-token"),
    nodes=NODES,
    database_url="postgresql://user:secret-password@here/postgres",
    rules="groups: []\n",
    files={"as-written.yaml": "groups: []\n"},
)
WITH_GRAFANA = dataclasses.replace(SETTINGS, grafana="docker.io/grafana/grafana:1.2.3", dashboard='{"uid": "it"}')


def made(kind: str, name: str = "") -> dict[str, Any]:
    found = [each for each in objects(SETTINGS, "1") if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    return found[0]


def test_every_part_has_a_deployment_with_its_image_and_a_service_at_its_port() -> None:
    for part, port in PORTS.items():
        if part == GRAFANA:
            continue
        [container] = made("Deployment", part)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == SETTINGS.images[part]
        assert made("Service", part)["spec"]["ports"][0]["port"] == port


def test_every_add_on_of_the_versions_is_a_part() -> None:
    assert set(read_versions().addons()) == {*ADDONS, ENFORCER, GATE}
    assert PORTS.keys() - {RECEIVER, GRAFANA} == ADDONS


def test_what_is_secret_is_in_secrets_alone() -> None:
    for each in objects(SETTINGS, "1"):
        assert each["kind"] == "Secret" or "secret-" not in str(each), each["metadata"]["name"]


def test_a_change_replaces_the_pods() -> None:
    def notes(fingerprint: str) -> list[Any]:
        there = objects(SETTINGS, fingerprint)
        return [each["spec"]["template"]["metadata"] for each in there if each["kind"] == "Deployment"]

    assert notes("1") == notes("1")
    assert all(one != other for one, other in zip(notes("1"), notes("2"), strict=True))


def test_nothing_but_what_is_read_from_the_cluster_has_a_key_to_it() -> None:
    keys = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"].get("serviceAccountName")
        for each in objects(SETTINGS, "1")
        if each["kind"] == "Deployment"
    }
    assert {name for name, account in keys.items() if account} == {PROMETHEUS, "kube-state-metrics"}
    for role in (each for each in objects(SETTINGS, "1") if each["kind"] == "ClusterRole"):
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
        assert "secrets" not in {kind for rule in role["rules"] for kind in rule["resources"]}


class TestGrafana:
    """Grafana, which was never run: what it is given."""

    def parts(self, kind: str) -> dict[str, Any]:
        return {each["metadata"]["name"]: each for each in objects(WITH_GRAFANA, "1") if each["kind"] == kind}

    def test_it_is_there_only_where_its_image_is_pulled(self) -> None:
        assert GRAFANA in self.parts("Deployment")
        assert GRAFANA not in {each["metadata"]["name"] for each in objects(SETTINGS, "1")}

    def test_its_pod_mounts_every_file_and_a_person_needs_no_login(self) -> None:
        pod = self.parts("Deployment")[GRAFANA]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        assert container["image"] == "docker.io/grafana/grafana:1.2.3"
        sources = {volume["name"]: volume.get("configMap", {}).get("name") for volume in pod["volumes"]}
        mounted = {mount["mountPath"]: sources[mount["name"]] for mount in container["volumeMounts"]}
        assert mounted == {"/var/lib/grafana": None, **{place: f"grafana-{key}" for key, place in PLACES.items()}}
        assert {"name": "GF_AUTH_ANONYMOUS_ORG_ROLE", "value": "Viewer"} in container["env"]

    def test_prometheus_is_its_source_and_the_dashboard_is_found(self) -> None:
        files = self.parts("ConfigMap")
        [source] = yaml.safe_load(files["grafana-datasources"]["data"]["prometheus.yaml"])["datasources"]
        assert (source["type"], source["url"]) == ("prometheus", f"http://{PROMETHEUS}.{NAMESPACE}:9090")
        [provider] = yaml.safe_load(files["grafana-dashboards"]["data"]["harness.yaml"])["providers"]
        assert provider["options"]["path"] == PLACES["dashboard"]
        assert files["grafana-dashboard"]["data"] == {"dashboard.json": WITH_GRAFANA.dashboard}


class TestPrometheus:
    def test_each_hub_is_read_with_its_own_token(self) -> None:
        jobs = {job["job_name"]: job for job in prometheus_configuration(HUBS, NODES)["scrape_configs"]}
        for spec in HUBS:
            job = jobs[f"{HUB_JOB}/{spec.namespace}"]
            assert job["authorization"]["credentials_file"] == f"/etc/hub-tokens/{spec.namespace}"
            [target] = job["static_configs"]
            assert target["targets"] == [f"hub.{spec.namespace}:8081"]
            assert target["labels"] == {
                "cluster": "applications-production",
                "namespace": spec.namespace,
                "job": HUB_JOB,
            }

    def test_each_kubelet_is_read(self) -> None:
        [job] = [job for job in prometheus_configuration(HUBS, NODES)["scrape_configs"] if job["job_name"] == "kubelet"]
        assert [each["targets"] for each in job["static_configs"]] == [[f"{node}:10250"] for node in NODES]

    def test_alerts_go_to_alertmanager_and_on_to_the_receiver(self) -> None:
        alerting = prometheus_configuration(HUBS, NODES)["alerting"]
        assert alerting["alertmanagers"][0]["static_configs"][0]["targets"] == [f"{ALERTMANAGER}.{NAMESPACE}:9093"]
        [receiver] = alertmanager_configuration()["receivers"]
        assert receiver["webhook_configs"] == [{"url": f"http://{RECEIVER}.{NAMESPACE}:8080/"}]


class TestValues:
    """The values that let a Prometheus in."""

    VALUES = yaml.safe_load((ROOT / "helm/values/monitoring.yaml").read_text())

    def test_the_service_may_read_metrics_and_nothing_else(self) -> None:
        assert self.VALUES["hub"]["loadRoles"]["prometheus"] == {
            "services": ["prometheus"],
            "scopes": ["read:metrics"],
        }

    def test_the_policy_admits_the_pod_that_there_is(self) -> None:
        [rule] = self.VALUES["hub"]["networkPolicy"]["ingress"]
        [source] = rule["from"]
        labels = made("Deployment", PROMETHEUS)["spec"]["template"]["metadata"]["labels"]
        assert source["podSelector"]["matchLabels"].items() <= labels.items()
        assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}

    def test_they_touch_nothing_that_production_sets(self) -> None:
        production = yaml.safe_load((ROOT / f"helm/values/{'production'}.yaml").read_text())
        assert self.VALUES["hub"].keys().isdisjoint(production["hub"])
        assert STUDENT in SETTINGS.tokens
