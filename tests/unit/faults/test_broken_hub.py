"""Faults of a hub: what is asked of the cluster, and that all is as before at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.faults.broken_hub import _SIGNAL, crash_hub, stopped_culler, stuck_puller
from harness.faults.full_quota import NAME, full_quota

HUB: Any = SimpleNamespace(namespace="jupyter", release="jupyterhub")


class FakeCluster:
    """A cluster with the hub's pod, which knows what it was asked to do."""

    def __init__(self, puller: str = "image-pull-a here/course:a", signalled: str = "7\n") -> None:
        self.puller, self.signalled = puller, signalled
        self.done: list[str] = []

    def pods(self, namespace: str) -> Any:
        return SimpleNamespace(look=lambda selector: [SimpleNamespace(metadata=SimpleNamespace(name="hub-1"))])

    def execute(self, namespace: str, pod: str, *command: str) -> str:
        self.done.append(" ".join(command[-2:]))
        return self.signalled

    def kubectl(self, *arguments: str) -> str:
        match arguments[2:]:
            case ["get", "daemonset/continuous-image-puller", *_]:
                return self.puller
            case ["get", "resourcequota", *_]:
                return '{"pods":"0"}'
        self.done.append(" ".join(arguments[2:]))
        return ""

    def apply(self, namespace: str, *objects: Any) -> None:
        self.done.append(f"apply {objects[0]['metadata']['name']} in {namespace}")


def test_a_hub_is_killed() -> None:
    cluster: Any = FakeCluster()
    crash_hub(cluster, HUB)
    assert cluster.done == ["jupyterhub_config.py SIGKILL"]


def test_a_culler_goes_on_at_the_end() -> None:
    cluster: Any = FakeCluster()
    with pytest.raises(KeyboardInterrupt), stopped_culler(cluster, HUB):
        raise KeyboardInterrupt
    assert cluster.done == ["jupyterhub_idle_culler SIGSTOP", "jupyterhub_idle_culler SIGCONT"]


def test_a_culler_that_does_not_run_is_told() -> None:
    cluster: Any = FakeCluster(signalled="")
    message = "jupyterhub: no process in its pod is called jupyterhub_idle_culler"
    with pytest.raises(HarnessError, match=message), stopped_culler(cluster, HUB):
        pass


def test_a_puller_has_its_image_back_at_the_end() -> None:
    cluster: Any = FakeCluster()
    with pytest.raises(KeyboardInterrupt), stuck_puller(cluster, HUB):
        raise KeyboardInterrupt
    begin = "set image daemonset/continuous-image-puller image-pull-a=here/course"
    assert cluster.done == [f"{begin}:not-in-the-registry", f"{begin}:a"]


def test_a_release_without_a_puller_is_told() -> None:
    cluster: Any = FakeCluster(puller="")
    with pytest.raises(HarnessError, match="jupyterhub: expected a pre-puller"), stuck_puller(cluster, HUB):
        pass


def test_a_quota_is_gone_at_the_end() -> None:
    cluster: Any = FakeCluster()
    with pytest.raises(KeyboardInterrupt), full_quota(cluster, "jupyter"):
        raise KeyboardInterrupt
    assert cluster.done == [f"apply {NAME} in jupyter", f"delete resourcequota {NAME} --ignore-not-found"]


def test_only_a_process_with_the_word_gets_the_signal() -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        subprocess.Popen([*sleeper, "harness-test-victim"]) as victim,
        subprocess.Popen([*sleeper, "harness-test-other"]) as other,
    ):
        deadline = time.monotonic() + 10
        output = ""
        while not output and time.monotonic() < deadline:
            # Under the shell by which the API server runs a command.
            command = ["sh", "-c", '"$@" || :', "sh", sys.executable, "-c", _SIGNAL, "harness-test-victim", "SIGTERM"]
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert output.split() == [str(victim.pid)]
        assert victim.wait(10) == -15
        assert other.poll() is None
        other.terminate()
