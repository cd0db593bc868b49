"""Incidents side by side: what waits for what, and that all is as it was at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from kubernetes import client

from harness.base.errors import HarnessError
from harness.faults.broken_hub import MISSING_TAG
from harness.monitoring.client import Alert, Sample
from harness.people.kernel import CellError
from harness.people.link import EXAMPLE
from harness.scenarios import incidents as module
from harness.scenarios.incidents import CRASH, FAILED, FAILURES, HAPPENS, KILL, STUCK, Incidents, greedy_cell

ROOM = Sample({"course": EXAMPLE.course, "deployment": "hub", "status": "failure"}, 3.0)
WAIT = 10


class Stage:
    """A hub, a cluster and a monitoring that note what happens, in its order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.happened: list[str] = []
        self.cells: list[str] = []
        self.limits = "4Gi"
        self.kernel_ends: Exception | None = CellError("the kernel died", "", died=True)
        for name, note in (("stuck_puller", "puller"), ("full_quota", "quota")):
            monkeypatch.setattr(module, name, lambda *_, note=note: self._around(note))
        monkeypatch.setattr(module, "crash_hub", lambda *_: self.happened.append("crash"))
        monkeypatch.setattr(module, "wait_for_answer", lambda *_: self.happened.append("hub is back"))
        self.client = httpx.Client(base_url="http://hub", transport=httpx.MockTransport(answer))

    def play(self, *asked: str) -> Incidents:
        """Let things happen."""
        container = SimpleNamespace(image=f"here:{MISSING_TAG}")
        puller = SimpleNamespace(spec=SimpleNamespace(init_containers=[container]))
        container = client.V1Container(
            name="notebook",
            resources=client.V1ResourceRequirements(limits={"memory": self.limits} if self.limits else {}),
        )
        server_pod = SimpleNamespace(spec=SimpleNamespace(init_containers=[], containers=[container]))
        cluster: Any = SimpleNamespace(
            pods=lambda _: SimpleNamespace(look=lambda _: [puller]), server_pod=lambda namespace, user: server_pod
        )
        hub: Any = SimpleNamespace(namespace="jupyter", release="jupyterhub", api=self.client)
        monitoring: Any = SimpleNamespace(
            query=lambda _: [ROOM], wait_for=lambda *_, **__: [ROOM], wait_for_alert=self._alert
        )
        server = SimpleNamespace(kernel=self._kernel)
        student: Any = SimpleNamespace(name="one", server=server, open=lambda _: self.happened.append("server is up"))
        return Incidents(cluster, hub, monitoring, student, asked)

    @contextmanager
    def _around(self, note: str) -> Iterator[None]:
        self.happened.append(f"{note} begins")
        try:
            yield
        finally:
            self.happened.append(f"{note} ends")

    def _alert(self, name: str, *_: object) -> Alert:
        self.happened.append(name)
        return Alert(name, "firing", 0.0, {}, {})

    @contextmanager
    def _kernel(self) -> Iterator[Any]:
        def run(code: str, timeout: float) -> None:
            self.happened.append("kill")
            self.cells.append(code)
            if self.kernel_ends:
                raise self.kernel_ends

        yield SimpleNamespace(run=run)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch, lambda _: httpx.Response(201))


def test_what_would_be_in_anothers_way_waits_for_it(stage: Stage) -> None:
    incidents = stage.play(*HAPPENS)
    assert incidents.killed_server().before == ROOM.value
    assert incidents.stuck_pre_puller().name == "JupyterHubPrePullerStuck"
    assert incidents.failed_starts().alert.name == "JupyterHubSpawnsFail"
    assert incidents.crashed_hub().lowest == {"hub": 3.0}
    incidents.close()
    order = stage.happened.index
    assert max(order("server is up"), order("puller begins")) < order("quota begins"), "new pods come before the quota"
    assert order("quota ends") < order("puller ends"), "the pre-puller's own pod comes back after the quota"
    assert max(order("quota ends"), order("kill")) < order("crash") < order("hub is back")
    assert len(incidents.users) == FAILURES
    assert stage.cells == [greedy_cell(4 * 2**30)]


@pytest.mark.parametrize(("asked", "happens"), [(KILL, "kill"), (STUCK, "puller ends"), (CRASH, "hub is back")])
def test_what_is_not_asked_for_does_not_happen(stage: Stage, asked: str, happens: str) -> None:
    incidents = stage.play(asked)
    getattr(incidents, asked)()
    incidents.close()
    begun = {"kill", "puller ends", "hub is back"} & set(stage.happened)
    assert begun == {happens}
    for other in HAPPENS - {asked} - ({FAILED} if asked == CRASH else set()):
        with pytest.raises(LookupError, match=f"{other} was not asked for"):
            getattr(incidents, other)()


@pytest.mark.parametrize(
    ("ends", "why"), [(None, "it ran to its end"), (CellError("not done after 240 s", ""), "not done after 240 s")]
)
def test_a_cell_that_nothing_kills_is_told(stage: Stage, ends: Exception | None, why: str) -> None:
    stage.kernel_ends = ends
    incidents = stage.play(KILL)
    with pytest.raises(HarnessError, match=f"takes thrice what one's server may is not killed: {why}"):
        incidents.killed_server()


def test_a_server_without_a_limit_is_told(stage: Stage) -> None:
    stage.limits = ""
    incidents = stage.play(KILL)
    with pytest.raises(HarnessError, match="one's server has no memory limit"):
        incidents.killed_server()
    assert "kill" not in stage.happened


def test_a_greedy_cell_takes_three_times_what_it_may() -> None:
    cell = greedy_cell(2**30)
    compile(cell, "cell", "exec")
    assert "range(96)" in cell
    assert f'b"x" * {2**25}' in cell


def test_a_hub_that_ends_before_its_starts_have_failed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    stage = Stage(monkeypatch, answer)
    incidents = stage.play(FAILED)
    with pytest.raises(HarnessError, match="was to refuse 3 servers, and does not answer at number 1: refused"):
        incidents.failed_starts()
    incidents.close()
    assert stage.happened[:2] == ["quota begins", "quota ends"]


def test_the_end_of_a_run_ends_its_waits(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event()

    def never(self: object, name: str, *rest: Any) -> Alert:
        waits.set()
        over = rest[-1]
        while not over():
            threading.Event().wait(0.01)
        raise HarnessError(over())

    monkeypatch.setattr(Stage, "_alert", never)
    incidents = stage.play(STUCK)
    assert waits.wait(WAIT)
    closing = threading.Thread(target=incidents.close, daemon=True)
    closing.start()
    closing.join(WAIT)
    assert not closing.is_alive()
    with pytest.raises(HarnessError, match="the run ends"):
        incidents.stuck_pre_puller()
