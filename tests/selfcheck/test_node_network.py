"""The nodes' network: what is meant for a pod that is gone stays in the cluster."""

from __future__ import annotations

import ipaddress

from harness.base.shell import CommandError
from harness.cluster.kind import Cluster
from harness.host import docker


def test_the_address_of_a_pod_that_is_gone_is_nobodys(cluster: Cluster) -> None:
    """What is meant for a server that is gone stays in the cluster, on either node: nobody outside answers for it."""
    for node in cluster.core.list_node().items:
        # Addresses are given out from the first on. Whether a sender is told is another matter: Linux limits that.
        last = ipaddress.ip_network(node.spec.pod_cidr)[-2]
        try:
            leads = docker.docker("exec", node.metadata.name, "ip", "route", "get", str(last))
        except CommandError as error:
            leads = error.output
        assert "No route to host" in leads, f"{last}, of no pod on {node.metadata.name}, is looked for at {leads}"
