"""The context that the steps of a boot share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from harness.base.progress import Steps
from harness.base.timeline import Timeline
from harness.cluster.kind import Cluster
from harness.deployment.model import Deployment
from harness.deployment.state import State
from harness.plan.plan import Plan


@dataclass
class BootContext:
    """One boot: what it works on, and how far it has come.

    Attributes:
        state: the state of a kept copy, by which each step knows whether it has anything to do.
        running: the copy, once all of it but the hubs is there.
        timeline: the record of what happens meanwhile, for the evidence of a failure.
        began: when the boot began, as time.time().
        stopped: a kept copy's containers were stopped, such as by a restart of Docker: its nodes are to come back.
        nodes_exist: the cluster has nodes, or is getting them: their logs are part of a failure's evidence.
        cluster_ready: the API server is up; of one that does not answer from then on, the environment is at fault.
    """

    plan: Plan
    steps: Steps
    cluster: Cluster
    state: State
    running: Deployment | None = None
    timeline: Timeline | None = None
    began: float = field(default_factory=time.time)
    stopped: bool = False
    nodes_exist: bool = False
    cluster_ready: bool = False
