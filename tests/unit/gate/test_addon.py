"""The gate as objects of the cluster."""

from __future__ import annotations

import ipaddress
from typing import Any

import yaml

from harness.cluster.kind import GATE_FILES, SERVICE_RANGE
from harness.gate.addon import GATE, KEYCLOAK, KEYCLOAK_ADDRESS, NAMESPACE, PLACE, objects, way_to_keycloak
from harness.plan.contract import SSO_HOST
from harness.plan.versions import IMAGES
from harness.policies.addon import LABELS

MADE = objects("gate:1", "172.18.0.5")


def found(kind: str, name: str) -> dict[str, Any]:
    [one] = [each for each in MADE if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return one


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = found("Pod", GATE)["spec"]
    return spec


def test_no_label_of_it_opens_a_policy() -> None:
    """It reaches the hubs as APISIX does: by what their policies let everyone do."""
    assert not found("Pod", GATE)["metadata"]["labels"].keys() & LABELS.keys()


def test_it_is_where_its_files_are() -> None:
    assert pod()["nodeSelector"] == {"node-role.kubernetes.io/control-plane": ""}
    [volume], [mount] = pod()["volumes"], pod()["containers"][0]["volumeMounts"]
    assert volume["hostPath"] == {"path": GATE_FILES, "type": "Directory"}
    assert (mount["mountPath"], mount["readOnly"]) == (PLACE, True)
    for file in ("routes.conf", "gate.pem", "gate.key"):
        assert f"{PLACE}/{file}" in (IMAGES / "gate/apache.conf").read_text()


def test_one_that_ended_stays_so() -> None:
    assert pod()["restartPolicy"] == "Never"


def test_it_has_no_key_to_the_cluster() -> None:
    assert pod()["automountServiceAccountToken"] is False


def test_it_is_reached_by_its_node_ports() -> None:
    ports = found("Service", GATE)["spec"]["ports"]
    assert {each["port"]: each["nodePort"] for each in ports} == {80: 30080, 443: 30443}


def test_keycloak_is_reached_by_its_name_wherever_it_has_started() -> None:
    assert pod()["hostAliases"] == [{"ip": KEYCLOAK_ADDRESS, "hostnames": [SSO_HOST]}]
    service, endpoints = way_to_keycloak("172.18.0.9")
    assert service["spec"]["clusterIP"] == KEYCLOAK_ADDRESS
    assert endpoints["endpoints"] == [{"addresses": ["172.18.0.9"]}]
    assert endpoints["metadata"]["labels"] == {"kubernetes.io/service-name": KEYCLOAK}
    assert [each["name"] for each in service["spec"]["ports"]] == [each["name"] for each in endpoints["ports"]]


def test_a_keycloak_that_does_not_run_is_refused() -> None:
    """A Service without an end takes no connection."""
    _, endpoints = way_to_keycloak("")
    assert endpoints["endpoints"] == []


def test_keycloaks_address_is_one_that_no_other_service_gets() -> None:
    """The first 256 of a range this large are left for those who ask for them (KEP-3070)."""
    first = ipaddress.ip_network(SERVICE_RANGE).network_address
    assert 10 < int(ipaddress.ip_address(KEYCLOAK_ADDRESS)) - int(first) < 256


def test_a_namespace_of_its_own() -> None:
    assert all("namespace" not in each["metadata"] for each in yaml.safe_load(yaml.safe_dump(MADE)))
    assert NAMESPACE not in ("jupyter", "jupyter-authoring")
