"""Tests of what enforces network policies, and of the pods by which that is shown."""

from __future__ import annotations

from typing import Any

from harness.policies.addon import CALLER, CANARY, ENFORCER, FREE, LABELS, STAND_IN, STRANGER, callers, objects

MADE = objects("netpol:1", "hub:1")


def daemon(name: str) -> dict[str, Any]:
    [found] = [each for each in MADE if (each["kind"], each["metadata"]["name"]) == ("DaemonSet", name)]
    template: dict[str, Any] = found["spec"]["template"]
    return template


def test_each_runs_on_every_node_whatever_taint_it_has() -> None:
    for name in (ENFORCER, STAND_IN, FREE, CANARY):
        assert daemon(name)["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_images() -> None:
    images = {name: daemon(name)["spec"]["containers"][0]["image"] for name in (ENFORCER, STAND_IN, FREE, CANARY)}
    assert images == {ENFORCER: "netpol:1", STAND_IN: "hub:1", FREE: "hub:1", CANARY: "hub:1"}


def test_only_the_enforcer_has_a_key_to_the_cluster() -> None:
    for name in (STAND_IN, FREE, CANARY):
        assert daemon(name)["spec"]["automountServiceAccountToken"] is False
    assert daemon(ENFORCER)["spec"]["serviceAccountName"] == ENFORCER
    rules = [rule for each in MADE if each["kind"] == "ClusterRole" for rule in each["rules"]]
    assert {verb for rule in rules for verb in rule["verbs"]} == {"list", "watch"}


def test_the_canary_may_neither_call_nor_be_called() -> None:
    [policy] = [each for each in MADE if each["kind"] == "NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & policy["spec"].keys()
    selected = policy["spec"]["podSelector"]["matchLabels"].items()
    assert selected <= daemon(CANARY)["metadata"]["labels"].items()
    assert not selected <= daemon(FREE)["metadata"]["labels"].items()


def test_a_caller_has_the_labels_that_the_chart_asks_for_and_a_stranger_none() -> None:
    labels = {each["metadata"]["name"]: each["metadata"]["labels"] for each in callers("hub:1")}
    assert labels[CALLER].items() >= LABELS.items()
    assert not labels[STRANGER].keys() & LABELS.keys()
    assert daemon(FREE)["metadata"]["labels"].items() >= LABELS.items()
