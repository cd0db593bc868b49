"""The gate with network policies enforced: a pod of the cluster, which the hubs' own policies let through."""

from __future__ import annotations

import pytest

from fixtures.sso import NewLearner
from harness.deployment.network_policies import NetworkPolicies
from harness.people.learner import at_login
from harness.plan.hubs import HUBS, HubSpec

pytestmark = pytest.mark.touches("the network of all pods")
HEALTH = "/hub/health"
TIMEOUT = 90.0
"""Seconds for an answer: the gate waits a minute for a proxy whose packets do not come."""


@pytest.mark.parametrize("hub_spec", HUBS, ids=lambda hub_spec: hub_spec.release)
def test_gate_is_let_through_to_the_proxy(
    network_policies: NetworkPolicies, learner: NewLearner, hub_spec: HubSpec
) -> None:
    """A person who logs in reaches the hub: its proxy lets the gate in, a pod of another namespace without a label."""
    person = learner(spec=hub_spec)
    person.log_in(person.go_to_login(HEALTH))
    answer = person.get(HEALTH, timeout=TIMEOUT)
    assert not at_login(answer), f"{hub_spec.release}: a person who has logged in is asked for a login"
    assert answer.status_code == 200, f"{hub_spec.release}: the gate does not reach its proxy: {answer.status_code}"
