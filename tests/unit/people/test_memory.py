"""What a server takes, as the script that watches it reads the files of cgroups."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.people import memory

V1 = {
    "memory/memory.usage_in_bytes": "3000\n",
    "memory/memory.stat": "cache 900\ninactive_file 1\ntotal_inactive_file 500\n",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
}
V2 = {
    "memory.current": "3000\n",
    "memory.stat": "anon 900\ninactive_file 500\n",
    "memory.events": "low 0\noom 1\noom_kill 2\n",
}


class Pod:
    """Runs the scripts here, on files of ours."""

    def __init__(self, root: Path, files: dict[str, str]) -> None:
        self.root = root
        for name, text in files.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)

    def kubectl(self, *args: str, timeout: float) -> str:
        script = args[-1].replace("/tmp/", f"{self.root}/").replace("/sys/fs/cgroup", str(self.root))
        script = script.replace("/proc/", f"{self.root}/proc/")
        return subprocess.run(
            ["sh", "-c", script], check=True, capture_output=True, text=True, timeout=min(timeout, 20)
        ).stdout


@pytest.fixture(params=[V1, V2], ids=["v1", "v2"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return Pod(tmp_path, request.param)


def test_working_set(pod: Any) -> None:
    """All memory counts but file pages that can be dropped, and kills from before the watch do not."""
    with memory.watched_memory(pod, "jupyter", "jupyter-1") as found:
        pass
    assert (found.peak, found.kills) == (2500, 0)


def test_peak_and_kills(pod: Any) -> None:
    """The largest of many looks is the peak; a process that is killed meanwhile counts."""
    names = [path for path in pod.root.rglob("memory.*") if path.name in ("memory.usage_in_bytes", "memory.current")]
    events = [path for path in pod.root.rglob("memory.*") if path.name in ("memory.oom_control", "memory.events")]
    with memory.watched_memory(pod, "jupyter", "jupyter-1") as found:
        events[0].write_text("oom_kill 3\n")
        names[0].write_text("9000\n")
    assert found.kills == 1
    assert found.peak == 9000 - 500


def test_how_the_kernel_ended(pod: Any) -> None:
    """A dead kernel that waits to be asked for its end is seen; the dead that it started itself are not meant."""
    with memory.watched_memory(pod, "jupyter", "jupyter-1") as found:
        for process, stat in {
            "7": "7 (python) S 1 7 7 0 -1 0",
            "9": "9 (a worker) Z 7 9 7 0 -1 9",
            "8": "8 (python (3)) Z 1 8 8 0 -1 7",
        }.items():
            (pod.root / "proc" / process).mkdir(parents=True)
            (pod.root / "proc" / process / "stat").write_text(f"{stat}\n")
    assert found.ended == 7
    assert found.shared > 0


def test_kernel_that_lives(pod: Any) -> None:
    with memory.watched_memory(pod, "jupyter", "jupyter-1") as found:
        pass
    assert found.ended is None


def test_pod_that_is_gone() -> None:
    def gone(*args: str, timeout: float) -> str:
        raise HarnessError('pods "x" not found')

    cluster: Any = SimpleNamespace(kubectl=gone)
    with pytest.raises(HarnessError, match="not found"), memory.watched_memory(cluster, "jupyter", "x"):
        pytest.fail("there is nothing to watch")
