"""Each node's own part: packets of pods go through the queue, and cloud metadata has its address.

kube-network-policies puts packets into its queue by nft's `queue`, which not every kernel has: there it writes a line
into its log, and all traffic passes. iptables' NFQUEUE is another way into the same queue. The packets of a pod to its
own node, which the program leaves out, go through it as well: networks that enforce policies at a pod's interface, such
as that of EKS, have them too.
"""

from __future__ import annotations

from harness.cluster.kind import POD_RANGE
from harness.policies.addon import METADATA, QUEUE

CHAIN = "HARNESS-POLICIES"
HOOKS = {
    # Not of the node's own root, such as the kubelet, whose probes no policy may stop.
    "POSTROUTING": ["--match", "owner", "!", "--uid-owner", "0"],
    "INPUT": [],
}
ESTABLISHED = ["--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED"]


ADDRESS = f"ip address replace {METADATA}/32 dev lo scope host"
"""Shell command that gives a node the address of cloud metadata."""


def put_in() -> str:
    """Return a shell script that has a node's packets judged. A packet that nothing takes from the queue is dropped."""
    queue = ["--jump", "NFQUEUE", "--queue-num", str(QUEUE)]
    return " && ".join(
        [
            _iptables("--new-chain", CHAIN),
            _iptables("--append", CHAIN, *ESTABLISHED, "--jump", "RETURN"),
            *(_iptables("--append", CHAIN, side, POD_RANGE, *queue) for side in ("--source", "--destination")),
            *(_iptables("--append", hook, *match, "--jump", CHAIN) for hook, match in HOOKS.items()),
        ]
    )


def take_out() -> str:
    """Return a shell script that removes the rules and the address, or what of them is there."""
    steps = [
        *(_iptables("--delete", hook, *match, "--jump", CHAIN) for hook, match in HOOKS.items()),
        _iptables("--flush", CHAIN),
        _iptables("--delete-chain", CHAIN),
        ADDRESS.replace("replace", "delete"),
    ]
    return "".join(f"{step} 2>/dev/null || :; " for step in steps)


def _iptables(*words: str) -> str:
    return " ".join(["iptables --wait --table mangle", *words])
