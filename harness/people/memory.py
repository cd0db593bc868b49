"""The memory that a server takes while a person works in it, and how a kernel in it ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from harness.base.signals import threads
from harness.cluster.kind import Cluster

LONGEST = 3 * 3600.0
"""Seconds for which a server can be watched."""
_WATCHING = "/tmp/.harness-watches-memory"
# What the kubelet calls the working set: all memory but the file pages that can be dropped at once; ten a second.
# The names are those of cgroup v1 (kernel, admin-guide/cgroup-v1/memory.rst) and v2 (admin-guide/cgroup-v2.rst).
# No log names the signal of a kernel that died. Until the server asks, every three seconds, the dead kernel is a zombie
# whose exit status is the last field of its stat (proc_pid_stat.5). It leads a session, unlike what it started itself.
_WATCH = f"""
cd /sys/fs/cgroup
if [ -d memory ]; then
    cd memory; usage=memory.usage_in_bytes; file=total_inactive_file; kills=memory.oom_control
else
    usage=memory.current; file=inactive_file; kills=memory.events
fi
killed() {{ while read -r name value; do [ "$name" = oom_kill ] && echo "$value"; done <$kills; }}
look_for_the_dead() {{
    for stat in /proc/[0-9]*/stat; do
        {{ read -r line <"$stat"; }} 2>/dev/null || continue
        case $line in *") Z "*) ;; *) continue ;; esac
        set -- ${{line##*) }}
        [ "$4" = "${{line%% *}}" ] && ended=${{line##* }}
    done
}}
before=$(killed); peak=0; ended=
touch {_WATCHING}
while :; do
    over=; [ -e {_WATCHING} ] || over=yes
    read -r now <$usage
    while read -r name value; do [ "$name" = $file ] && now=$((now - value)) && break; done <memory.stat
    [ "$now" -gt "$peak" ] && peak=$now
    [ "$ended" ] || look_for_the_dead
    [ "$over" ] && break
    sleep 0.1
done
shared=$(stat -f -c '%b * %S' /dev/shm 2>/dev/null)
echo $peak $(( $(killed) - before )) $(( ${{shared:-0}} )) $ended
"""


@dataclass
class Memory:
    """The memory that a server took; known when the watch is over."""

    peak: int = 0
    """Bytes of the largest working set."""
    kills: int = 0
    """Processes that the kernel killed because the server was at its limit."""
    shared: int = 0
    """Bytes of shared memory that the server has, in /dev/shm; 0 where it has none."""
    ended: int | None = None
    """Exit status, as of wait(2), of the first of the server's kernels that ended; None if none was seen to end."""


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
        found.peak, found.kills, found.shared, *ended = map(int, watching.result().split())
        found.ended = ended[0] if ended else None
