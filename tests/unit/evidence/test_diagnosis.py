"""The likely cause of a failure: who names it, and what is no cause."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from harness.cluster.pod_health import stuck_reason
from harness.evidence import diagnosis
from harness.evidence.diagnosis import last_error, likely_cause, mentions_cause, page_probe, why_unrecoverable
from harness.hub.api import Hub
from tests.unit.fakes import Program

BEGAN = 1_000_000.5
BEFORE, AFTER = BEGAN - 60, BEGAN + 2
USER = "7c1e"
IMAGE = "ecr.example/courses:trees"
NAMESPACES = ("jupyter", "jupyter-authoring")
WHOLE = ("control-plane", "worker", "registry", "moto", "postgres")


def at(when: float) -> datetime:
    return datetime.fromtimestamp(when, UTC)


def ended(reason: str, code: int = 137, when: float = AFTER) -> client.V1ContainerState:
    last = client.V1ContainerStateTerminated(reason=reason, exit_code=code, finished_at=at(when))
    return client.V1ContainerState(terminated=last)


def waiting(reason: str, message: str = "") -> client.V1ContainerState:
    return client.V1ContainerState(waiting=client.V1ContainerStateWaiting(reason=reason, message=message))


RUNNING = client.V1ContainerState(running=client.V1ContainerStateRunning())


def pod(
    name: str,
    now: client.V1ContainerState = RUNNING,
    before: client.V1ContainerState | None = None,
    *,
    user: str = "",
    component: str = "singleuser-server",
    born: float = AFTER,
    ready: bool | None = None,
    namespace: str = "jupyter",
    ending: bool = False,
) -> client.V1Pod:
    ready = now is RUNNING if ready is None else ready
    container = "hub" if component == "hub" else "notebook"
    labels = {"component": component, **({"hub.jupyter.org/username": user} if user else {})}
    limits = client.V1ResourceRequirements(limits={"memory": "2Gi"})
    status = client.V1ContainerStatus(
        name=container, image=IMAGE, image_id="", ready=ready, restart_count=0, state=now, last_state=before
    )
    return client.V1Pod(
        metadata=client.V1ObjectMeta(
            name=name,
            namespace=namespace,
            labels=labels,
            creation_timestamp=at(born),
            deletion_timestamp=at(AFTER) if ending else None,
        ),
        spec=client.V1PodSpec(containers=[client.V1Container(name=container, resources=limits)]),
        status=client.V1PodStatus(
            container_statuses=[status],
            conditions=[client.V1PodCondition(type="Ready", status="True" if ready else "False")],
        ),
    )


def event(
    about: str, reason: str, message: str, when: float = AFTER, kind: str = "Pod", namespace: str = "jupyter"
) -> client.CoreV1Event:
    return client.CoreV1Event(
        metadata=client.V1ObjectMeta(name="event"),
        involved_object=client.V1ObjectReference(kind=kind, name=about, namespace=namespace),
        reason=reason,
        message=message,
        last_timestamp=at(when),
    )


STUDENTS = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
AUTHORS = Hub("http://authors", "jupyter-authoring", "jupyterhub", "authors", "token")
HUB = pod("hub-1", component="hub", born=BEFORE)
PARTS = {"hub": HUB, "proxy": pod("proxy-1", component="proxy", born=BEFORE)}
SERVER = pod(f"jupyter-{USER}", user=USER)
PULLED_NOT = pod(f"jupyter-{USER}", waiting("ImagePullBackOff", "Back-off pulling image"), user=USER)
NO_IMAGE = f"pod jupyter-{USER}: container notebook: ImagePullBackOff, image {IMAGE}: Back-off pulling image"
TRACEBACK = """\
[I 2026-08-22 10:00:00.000 JupyterHub log:192] 200 GET /hub/health (@10.0.0.1) 0.5ms
[E 2026-08-22 10:00:01.000 JupyterHub user:884] Unhandled error starting {user}'s server: {error}
    Traceback (most recent call last):
      File "/usr/local/lib/python3.12/site-packages/jupyterhub/user.py", line 798, in spawn
        url = await gen.with_timeout(timedelta(seconds=spawner.start_timeout), f)
              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      File "{file}", line 45, in start
    {error}

[I 2026-08-22 10:00:02.000 JupyterHub log:192] 500 GET /hub/spawn (@10.0.0.1) 0.5ms
"""
UPSTREAM, BUILTIN, ELSEWHERE = "<string>", "dynamicImageConfig.py", "/usr/lib/python3/web.py"


def traceback(error: str, file: str = ELSEWHERE, user: str = "somebody") -> str:
    return TRACEBACK.format(error=error, file=file, user=user)


def _user(pod: client.V1Pod) -> str:
    return str(pod.metadata.labels.get("hub.jupyter.org/username", ""))


class FakeCluster:
    """A cluster whose API lists these pods, those of a hub and a proxy, and warnings, and whose hub wrote a log."""

    name = "jh-1"
    nodes = ("jh-1-control-plane", "jh-1-worker")

    def __init__(
        self,
        *pods: client.V1Pod,
        events: tuple[client.CoreV1Event, ...] = (),
        log: str = "",
        crashed: str = "",
        error: Exception | None = None,
        without: str = "",
        replicas: int = 1,
    ) -> None:
        there = {pod.metadata.labels["component"] for pod in pods}
        self._pods = (*pods, *(pod for part, pod in PARTS.items() if part not in (*there, without)))
        self.probed: list[str] = []
        self._events, self._log, self._crashed, self._error = events, log, crashed, error
        self.core = SimpleNamespace(
            list_pod_for_all_namespaces=self._list_pods,
            list_event_for_all_namespaces=lambda **_: SimpleNamespace(items=list(events)),
        )
        self.apps = SimpleNamespace(
            read_namespaced_deployment=lambda name, namespace, **_: SimpleNamespace(
                metadata=SimpleNamespace(name=name, namespace=namespace),
                spec=SimpleNamespace(replicas=replicas),
                status=SimpleNamespace(conditions=None),
            )
        )

    def _list_pods(self, **_: Any) -> Any:
        if self._error:
            raise self._error
        return SimpleNamespace(items=list(self._pods))

    def logs(self, pod: str, container: str, *, previous: bool, seconds: float | None) -> str:
        return self._crashed if previous else self._log

    def pods(self, namespace: str) -> Any:
        def look(selector: str) -> list[client.V1Pod]:
            found = self._list_pods().items
            return [each for each in found if "hub.jupyter.org/username" not in each.metadata.labels]

        def server_probe(user: str) -> Callable[[], str | None]:
            self.probed.append(f"{namespace} {user}")
            servers = [each for each in self._list_pods().items if _user(each) == user]
            return lambda: stuck_reason(servers)

        return SimpleNamespace(look=look, logs=self.logs, stuck_reason=stuck_reason, server_probe=server_probe)


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what Docker says of the run's containers: all run, but for those that are given."""
    fake = Program(tmp_path / "bin", "docker", 'case "$1" in ps) cat "$here/ps" ;; logs) echo no space left ;; esac')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def says(gone: str = "", **states: str) -> None:
        lines = []
        for part in (each for each in WHOLE if each != gone):
            state = states.get(part, "running Up 2 minutes")
            lines.append("\t".join((f"jh-1-{part}", "", *state.split(" ", 1))))
        fake.path.with_name("ps").write_text("\n".join(lines) + "\n")

    says()
    return says


def cause(cluster: Any, *users: str) -> str | None:
    return likely_cause(cluster, NAMESPACES, since=BEGAN, users=users, services=WHOLE[2:])


class TestContainers:
    def test_one_that_stopped_comes_before_all_that_follows_from_it(self, docker: Callable[..., None]) -> None:
        docker(registry="exited Exited (1) 3 seconds ago")
        found = cause(FakeCluster(PULLED_NOT))
        assert found == "container jh-1-registry does not run: Exited (1) 3 seconds ago, its last line: no space left"

    def test_a_paused_node(self, docker: Callable[..., None]) -> None:
        docker(worker="paused Up 2 minutes (Paused)")
        assert str(cause(FakeCluster(error=ApiException(504)))).startswith("container jh-1-worker does not run: Up 2")

    def test_one_that_is_gone(self, docker: Callable[..., None]) -> None:
        docker(gone="moto")
        assert cause(FakeCluster()) == "container jh-1-moto is gone"

    def test_services_that_nobody_started_are_no_cause(self, docker: Callable[..., None]) -> None:
        docker(gone="moto")
        cluster: Any = FakeCluster()
        assert likely_cause(cluster, NAMESPACES, since=BEGAN, services=()) is None

    def test_no_docker(self, tmp_path: Path) -> None:
        Program(tmp_path / "bin", "docker", "echo cannot connect to the daemon >&2; exit 1")
        assert str(cause(FakeCluster())).startswith("Docker does not answer: docker ps: exit code 1.")


class TestPods:
    @pytest.mark.parametrize("users", [(), (USER,)])
    def test_the_tests_own_server_comes_first(self, users: tuple[str, ...]) -> None:
        hub = pod("hub-1", waiting("CrashLoopBackOff"), component="hub")
        assert cause(FakeCluster(hub, PULLED_NOT), *users) == NO_IMAGE

    def test_the_server_of_somebody_who_was_there_before_counts_if_it_is_the_tests(self) -> None:
        old = pod(f"jupyter-{USER}", waiting("ImagePullBackOff", "Back-off pulling image"), user=USER, born=BEFORE)
        assert cause(FakeCluster(old)) is None
        assert cause(FakeCluster(old), USER) == NO_IMAGE

    def test_killed_for_its_memory_and_up_again(self) -> None:
        server = pod(f"jupyter-{USER}", before=ended("OOMKilled"), user=USER)
        assert cause(FakeCluster(server)) == (
            f"pod jupyter-{USER}: container notebook was OOMKilled: over its limit of 2Gi"
        )

    def test_what_was_over_before_the_test_is_no_cause(self) -> None:
        hub = pod("hub-1", before=ended("OOMKilled", when=BEFORE), component="hub")
        assert cause(FakeCluster(hub)) is None

    @pytest.mark.parametrize(("code", "named"), [(1, True), (0, False), (143, False)])
    def test_a_hub_that_started_anew(self, code: int, named: bool) -> None:
        hub = pod("hub-1", before=ended("Error", code), component="hub")
        expected = f"pod hub-1: container hub ended with exit code {code} (Error)"
        assert cause(FakeCluster(hub)) == (expected if named else None)

    def test_a_hub_that_crashes_says_why_first(self) -> None:
        hub = pod("hub-1", waiting("CrashLoopBackOff", "back-off 10s"), ended("Error", 1), component="hub")
        found = cause(FakeCluster(hub, crashed=traceback("SyntaxError: '(' was never closed", UPSTREAM)))
        assert str(found).startswith(
            "SyntaxError: '(' was never closed (dynamicImageConfig.py, line 45, in start): pod hub-1: container hub: C"
        )

    @pytest.mark.parametrize(("ready", "born"), [(True, AFTER), (False, BEFORE)])
    def test_a_hub_that_is_there_again(self, ready: bool, born: float) -> None:
        assert cause(FakeCluster(pod("hub-2", component="hub", ready=ready, born=born))) is None

    def test_a_hub_that_is_not_there_again(self) -> None:
        hub = pod("hub-2", component="hub", ready=False)
        found = cause(FakeCluster(hub, events=(event("hub-2", "Unhealthy", "connection refused"),)))
        assert found == "pod hub-2, of 13:46:42: Unhealthy: connection refused"

    def test_a_hub_that_is_told_to_end(self) -> None:
        hub = pod("hub-1", ended("Error", 2), component="hub", born=BEFORE, ending=True)
        found = cause(FakeCluster(hub, log=traceback("RuntimeError: the end of it")))
        assert found == "the hub is going away: pod hub-1 is being deleted"

    def test_a_hub_that_another_one_has_followed(self) -> None:
        old, new = pod("hub-1", component="hub", born=BEFORE, ending=True), pod("hub-2", component="hub")
        assert cause(FakeCluster(old, new)) is None

    @pytest.mark.parametrize("part", ["hub", "proxy"])
    def test_a_part_of_which_there_is_no_pod(self, part: str) -> None:
        assert cause(FakeCluster(without=part)) == f"there is no pod of the {part} in jupyter"

    def test_pods_of_others_are_no_matter(self) -> None:
        placeholder = pod("user-placeholder-0", waiting("ImagePullBackOff"), component="user-placeholder")
        foreign = pod("x", waiting("ImagePullBackOff"), component="hub", namespace="kube-system")
        assert cause(FakeCluster(HUB, SERVER, placeholder, foreign)) is None

    def test_no_api(self) -> None:
        gone = FakeCluster(error=ApiException(503, "Service Unavailable"))
        assert cause(gone) == "the cluster's API does not answer: Service Unavailable"

    def test_one_line_of_bounded_length(self) -> None:
        server = pod(f"jupyter-{USER}", waiting("CreateContainerError", "so\nlong " * 200), user=USER)
        found = str(cause(FakeCluster(server)))
        assert len(found) == diagnosis.LONGEST_CAUSE
        assert "\n" not in found


class TestWarnings:
    UNREADY = pod(f"jupyter-{USER}", user=USER, ready=False)

    def test_the_newest_of_a_server_that_is_not_ready(self) -> None:
        events = (
            event(f"jupyter-{USER}", "FailedMount", "older", AFTER),
            event(f"jupyter-{USER}", "FailedScheduling", "0/2 nodes are available: 2 Insufficient cpu.", AFTER + 1),
            event(f"jupyter-{USER}", "FailedMount", "before the test", BEFORE),
        )
        assert cause(FakeCluster(HUB, self.UNREADY, events=events)) == (
            f"pod jupyter-{USER}: FailedScheduling: 0/2 nodes are available: 2 Insufficient cpu."
        )

    def test_one_that_is_ready_now_has_been_waited_for(self) -> None:
        events = (event(f"jupyter-{USER}", "Unhealthy", "Readiness probe failed"), event("hub-1", "Unhealthy", "no"))
        assert cause(FakeCluster(HUB, SERVER, events=events)) is None

    def test_of_a_server_that_is_gone_the_image(self) -> None:
        events = (
            event(f"jupyter-{USER}", "Failed", f"Failed to pull image {IMAGE}: not found"),
            event(f"jupyter-{USER}", "Failed", "Error: ImagePullBackOff", AFTER + 5),
            event(f"jupyter-{USER}", "FailedScheduling", "0/2 nodes", AFTER + 6),
            event("jupyter-other", "Failed", "Failed to pull image of a user who is leaving", AFTER + 7),
        )
        found = cause(FakeCluster(HUB, events=events), USER)
        assert found == f"pod jupyter-{USER}: Failed: Failed to pull image {IMAGE}: not found"

    def test_a_pod_that_was_refused(self) -> None:
        refused = event("hub-7f", "FailedCreate", "exceeded quota", kind="ReplicaSet")
        assert cause(FakeCluster(HUB, events=(refused,))) == "replicaset hub-7f: FailedCreate: exceeded quota"

    def test_of_other_namespaces_none(self) -> None:
        refused = event("x", "FailedCreate", "exceeded quota", kind="ReplicaSet", namespace="kube-system")
        assert cause(FakeCluster(HUB, events=(refused,))) is None


class TestHub:
    def test_its_exception(self) -> None:
        found = cause(FakeCluster(HUB, log=traceback("KeyError: 'x'", UPSTREAM, USER)), USER)
        assert found == "the hub's log, jupyter: KeyError: 'x' (dynamicImageConfig.py, line 45, in start)"

    def test_nobody_names_a_cause(self) -> None:
        assert cause(FakeCluster(HUB, SERVER, log="[I] all is well\n"), USER) is None


class TestLastError:
    @pytest.mark.parametrize("file", [UPSTREAM, BUILTIN])
    def test_in_the_spawner(self, file: str) -> None:
        """The built-in chart runs the spawner under its name, and upstream's as text."""
        found = last_error(traceback("KeyError: 'x'", file) + traceback("ValueError: later"))
        assert found == "KeyError: 'x' (dynamicImageConfig.py, line 45, in start)"

    def test_elsewhere_it_is_the_last_that_names_a_user(self) -> None:
        log = traceback("ValueError: a", user=USER) + traceback("ValueError: b", user=USER) + traceback("KeyError: 1")
        assert last_error(log, [USER]) == "ValueError: b"

    def test_or_the_last(self) -> None:
        assert last_error(traceback("ValueError: a") + traceback("KeyError: 1")) == "KeyError: 1"

    def test_of_a_chain_its_end(self) -> None:
        chain = (
            'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    x\nKeyError: 1\n\n'
            "During handling of the above exception, another exception occurred:\n\n"
            'Traceback (most recent call last):\n  File "a.py", line 2, in <module>\n    y\nHubError: no\n'
        )
        assert last_error(chain) == "HubError: no"

    def test_none(self) -> None:
        assert last_error("[E] something went wrong\n") is None

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ('[E] Status: 403 Forbidden. Message: pods is forbidden: User "hub" cannot list resource "pods"\n', ""),
            (
                "",
                'HTTP response body: {"message":"pods is forbidden: User \\"hub\\" cannot list resource \\"pods\\""}\n',
            ),
        ],
    )
    def test_refusal_of_kubernetes_is_in_its_own_words(self, before: str, after: str) -> None:
        refused = traceback("kubernetes_asyncio.client.exceptions.ApiException: (403)")
        words = 'pods is forbidden: User "hub" cannot list resource "pods"'
        found = last_error(f"{before}{refused}{after}")
        assert found == f"kubernetes_asyncio.client.exceptions.ApiException: (403): {words}"


class TestWhyUnrecoverable:
    def test_a_server(self) -> None:
        cluster: Any = FakeCluster(HUB, PULLED_NOT)
        assert why_unrecoverable(cluster, "jupyter", lambda: NO_IMAGE) == NO_IMAGE
        assert why_unrecoverable(cluster, "jupyter") is None

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            (f"http://hub/user/{USER}/notebooks/a.ipynb", NO_IMAGE),
            (f"http://hub/hub/spawn-pending/{USER}", NO_IMAGE),
            ("http://hub/user/other/tree", None),
            ("http://hub/hub/spawn", None),
            ("about:blank", None),
        ],
    )
    def test_a_page(self, url: str, reason: str | None) -> None:
        cluster: Any = FakeCluster(HUB, PULLED_NOT)
        assert page_probe(cluster, STUDENTS, AUTHORS)(url) == reason

    def test_a_page_of_the_authors(self) -> None:
        """Their user has no UUID for a name."""
        cluster: Any = FakeCluster(HUB)
        probe = page_probe(cluster, STUDENTS, AUTHORS)
        for _ in range(2):
            probe("http://authors/hub/spawn-pending/admin")
        assert cluster.probed == ["jupyter-authoring admin"], "each look has a probe that knows nothing of those before"

    def test_a_hub(self) -> None:
        cluster: Any = FakeCluster(pod("hub-1", waiting("CrashLoopBackOff"), component="hub"))
        assert str(why_unrecoverable(cluster, "jupyter")).startswith("pod hub-1: container hub: CrashLoopBackOff")

    @pytest.mark.parametrize(
        ("replicas", "reason"), [(1, None), (0, "there is no pod of the hub in jupyter: its Depl")]
    )
    def test_no_hub(self, replicas: int, reason: str | None) -> None:
        cluster: Any = FakeCluster(without="hub", replicas=replicas)
        found = why_unrecoverable(cluster, "jupyter")
        assert (found or "").startswith(reason or ""), f"found {found}"
        assert bool(found) == bool(reason), f"found {found}"

    def test_a_container(self, docker: Callable[..., None]) -> None:
        docker(postgres="exited Exited (137)")
        cluster: Any = FakeCluster()
        assert "jh-1-postgres does not run" in str(why_unrecoverable(cluster, "jupyter"))

    def test_an_api_that_does_not_answer_may_answer_again(self) -> None:
        cluster: Any = FakeCluster(error=ApiException(503))
        assert why_unrecoverable(cluster, "jupyter") is None

    def test_a_probe_without_an_answer_may_have_one_later(self) -> None:
        def silent() -> str | None:
            raise ApiException(503)

        cluster: Any = FakeCluster()
        assert why_unrecoverable(cluster, "jupyter", silent) is None


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        (f"The server did not come up: {NO_IMAGE}.", True),
        (f"pod jupyter-{USER}: container notebook: ErrImagePull, image {IMAGE}: not found", True),
        (f"pod jupyter-{USER} has a container notebook, and no answer", False),
        ("expected 200, found 500", False),
    ],
)
def test_mentions_cause(text: str, mentioned: bool) -> None:
    assert mentions_cause(text, NO_IMAGE) is mentioned
