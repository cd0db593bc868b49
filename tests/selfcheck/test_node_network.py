"""The nodes' network: packets for a pod that is gone stay in the cluster."""

from __future__ import annotations

import ipaddress

from harness.base.shell import CommandError
from harness.cluster.kind import Cluster
from harness.host import docker


def test_packets_for_a_pod_that_is_gone_stay_in_the_cluster(cluster: Cluster) -> None:
    """Packets for a server that is gone stay in the cluster, on either node, and no host outside answers them."""
    for node in cluster.core.list_node().items:
        # Addresses are given out from the first on. The sender may get no error, since Linux limits their rate.
        last = ipaddress.ip_network(node.spec.pod_cidr)[-2]
        try:
            leads = docker.docker("exec", node.metadata.name, "ip", "route", "get", str(last))
        except CommandError as error:
            leads = error.output
        assert "No route to host" in leads, f"{last}, of no pod on {node.metadata.name}, is routed to {leads}"
