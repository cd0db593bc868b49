"""The memory that a server takes while a person works in it, and the processes that were killed for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.base.signals import threads
from harness.cluster.kind import Cluster

LONGEST = 3 * 3600.0
"""Seconds for which a server can be watched."""
_WATCHING = "/tmp/.harness-watches-memory"
# What the kubelet calls the working set: all memory but the file pages that can be dropped at once; four a second.
# The names are those of cgroup v1 (kernel, admin-guide/cgroup-v1/memory.rst) and v2 (admin-guide/cgroup-v2.rst).
_WATCH = f"""
cd /sys/fs/cgroup
if [ -d memory ]; then
    cd memory; usage=memory.usage_in_bytes; file=total_inactive_file; kills=memory.oom_control
else
    usage=memory.current; file=inactive_file; kills=memory.events
fi
killed() {{ while read -r name value; do [ "$name" = oom_kill ] && echo "$value"; done <$kills; }}
before=$(killed); peak=0
touch {_WATCHING}
while :; do
    read -r now <$usage
    while read -r name value; do [ "$name" = $file ] && now=$((now - value)) && break; done <memory.stat
    [ "$now" -gt "$peak" ] && peak=$now
    [ -e {_WATCHING} ] || break
    sleep 0.25
done
echo $peak $(( $(killed) - before ))
"""


@dataclass
class Memory:
    """The memory that a server took; known when the watch is over."""

    peak: int = 0
    """Bytes of the largest working set."""
    kills: int = 0
    """Processes that the kernel killed because the server was at its limit."""


@contextmanager
def watched_memory(cluster: Cluster, namespace: str, pod: str) -> Iterator[Memory]:
    """Watch the memory of a pod while the context is open.

    Raises:
        HarnessError: the pod is gone, or cannot be watched.
    """
    found = Memory()
    inside = ("exec", "--namespace", namespace, pod, "--", "sh", "-c")
    with threads(1) as side:
        watching = side.submit(cluster.kubectl, *inside, _WATCH, timeout=LONGEST)
        cluster.kubectl(*inside, f"until [ -e {_WATCHING} ]; do sleep 0.1; done", timeout=20)
        try:
            yield found
        finally:
            cluster.kubectl(*inside, f"until rm {_WATCHING} 2>/dev/null; do sleep 0.1; done", timeout=20)
        found.peak, found.kills = map(int, watching.result().split())
