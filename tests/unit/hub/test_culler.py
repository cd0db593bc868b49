"""The culler: what its process says of it, and what became of servers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.hub.api import Hub
from harness.hub.culler import Times, read_culler

RUNS = "python3 -m jupyterhub_idle_culler --url=http://localhost:8081/hub/api --timeout=900 --cull-every=300 "
HUB = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")


def cluster(processes: str, log: str = "") -> Any:
    pod = SimpleNamespace(metadata=SimpleNamespace(name="hub-1"))
    return SimpleNamespace(
        pods=lambda namespace: SimpleNamespace(
            look=lambda selector: [pod], logs=lambda pod, container: {"hub": log}[container]
        ),
        execute=lambda *_: f"/usr/bin/tini \n{processes}\njupyterhub --config x \n",
    )


class TestReadCuller:
    def test_numbers(self) -> None:
        culler = read_culler(cluster(f"{RUNS}--concurrency=10 --cull-users --max-age=14400 "), HUB)
        assert (culler.times, culler.users) == (Times(300, 900, 14400), True)

    @pytest.mark.parametrize(("flag", "users"), [("", False), ("--cull-users=true", True), ("--cull-users=0", False)])
    def test_users(self, flag: str, users: bool) -> None:
        assert read_culler(cluster(RUNS + flag), HUB).users is users

    def test_defaults(self) -> None:
        assert read_culler(cluster("python3 -m jupyterhub_idle_culler"), HUB).times == Times(300, 600, 0)

    def test_none(self) -> None:
        with pytest.raises(HarnessError, match=r"culler does not run.*the hub's log does not mention it"):
            read_culler(cluster(""), HUB)

    def test_one_that_a_shell_has_not_come_to(self) -> None:
        with pytest.raises(HarnessError, match="culler does not run"):
            read_culler(cluster(f"sh -c sleep infinity; true {RUNS}"), HUB)

    def test_one_that_keeps_on_ending(self) -> None:
        log = "[I] Starting service 'jupyterhub-idle-culler'\n[E] Service jupyterhub-idle-culler exited with status 2\n"
        with pytest.raises(HarnessError, match=r"jupyterhub: the culler does not run.*exited with status 2\Z"):
            read_culler(cluster(RUNS, log), HUB)

    def test_one_that_does_not_take_a_flag(self) -> None:
        log = (
            "[I] Starting service 'jupyterhub-idle-culler'\n"
            "__main__.py: error: argument --IdleCuller.cull_users: expected one argument\n"
        )
        with pytest.raises(HarnessError, match=r"the culler does not run.*cull_users: expected one argument\Z"):
            read_culler(cluster("", log), HUB)
