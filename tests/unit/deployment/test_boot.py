"""The boot as a whole: the order of its steps, and that a failure of any leaves the machine as it should be."""

from __future__ import annotations

import io
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from harness.artifacts import resolve as artifacts
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps
from harness.base.shell import run
from harness.base.signals import cleaning_up
from harness.charts.chart import Chart, Release
from harness.deployment import boot
from harness.deployment.boot import only_run
from harness.deployment.model import Prepared
from harness.deployment.releases import create_secrets, read_secrets, spawner_file
from harness.deployment.state import State, release_fingerprint
from harness.host import requirements as machine
from harness.host import runs
from harness.plan.hubs import AUTHORING, STUDENT
from harness.plan.plan import Plan, check_out_courses
from tests.unit.deployment.doubles import PARTS, FakeCluster, running_copy, users_page
from tests.unit.fakes import FakeDocker, Program, hub_that_answers

Planner = Callable[..., Plan]
Failing = Callable[[Any, str, BaseException], None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Makes a function end in an error."""

    def failing(where: Any, name: str, error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(where, name, fail)

    return failing


class TestOnlyRun:
    def test_one_at_a_time(self, planned: Planner) -> None:
        plan = planned()
        with (
            only_run(plan),
            pytest.raises(
                HarnessError,
                match=r"\AAnother run of this checkout is under way \(jh-1\): wait for it, or end it\Z",
            ),
            only_run(plan),
        ):
            raise AssertionError("two runs at once")
        with only_run(plan):
            pass

    def test_its_files_are_for_nobody_else(self, planned: Planner) -> None:
        plan = planned()
        plan.state.rmdir()
        with only_run(plan):
            assert plan.state.stat().st_mode & 0o777 == 0o700


class TestPrepare:
    """All that a boot needs before anything of it is built."""

    @pytest.fixture(autouse=True)
    def ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine on which everything is at hand."""
        monkeypatch.setattr(artifacts, "choose", lambda *_: ("build", "so asked"))
        monkeypatch.setattr(artifacts, "get", lambda *_, **__: SimpleNamespace(helm=Path("helm")))
        monkeypatch.setattr(machine, "prepare", lambda *_, **__: None)
        monkeypatch.setattr(machine, "check_disk", lambda *_: None)
        monkeypatch.setattr(runs, "beside", lambda _: ["jh-2, orphaned, somewhere"])

    BEFORE = (
        (artifacts, "choose"),
        (machine, "prepare"),
        (machine, "check_disk"),
        (artifacts, "get"),
        (boot, "find_chart"),
    )

    @pytest.mark.parametrize("keep", [False, True])
    @pytest.mark.parametrize(("where", "step"), BEFORE, ids=[step for _, step in BEFORE])
    def test_failure_before_anything_is_there_leaves_alone_what_an_earlier_run_kept(
        self,
        planned: Planner,
        steps: Steps,
        docker: FakeDocker,
        out: io.StringIO,
        failing: Failing,
        where: Any,
        step: str,
        keep: bool,
    ) -> None:
        docker.has(*PARTS)
        plan = planned(keep=keep, chart="builtin")
        create_secrets(plan.secrets)
        secrets = read_secrets(plan.secrets)
        State(plan.state / "state.json").set("cluster", "as it was")
        failing(where, step, HarnessError("no"))
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            boot.boot(plan, steps)
        assert docker.changes == []
        assert read_secrets(plan.secrets) == secrets
        assert State(plan.state / "state.json").get("cluster") == "as it was"
        assert "teardown" not in out.getvalue()
        assert "Kept" not in out.getvalue()

    def test_a_call_that_fails_is_told_in_a_line(
        self, planned: Planner, steps: Steps, docker: FakeDocker, failing: Failing
    ) -> None:
        failing(artifacts, "get", httpx.ReadTimeout("timed out"))
        with pytest.raises(HarnessError, match=r"\AA call of the boot failed, ReadTimeout: timed out\Z"):
            boot.boot(planned(chart="builtin"), steps)

    def test_docker_is_not_asked_before_it_has_answered(
        self, planned: Planner, steps: Steps, docker: FakeDocker, failing: Failing
    ) -> None:
        """What the machine lacks is told as it is, in place of a Docker that does not answer."""
        Program(docker.path.parent, "docker", "exit 1")
        failing(machine, "prepare", HarnessError("it lacks something"))
        with pytest.raises(HarnessError, match=r"\Ait lacks something\Z"):
            boot.prepare(planned(chart="builtin"), steps)

    @pytest.mark.usefixtures("docker")
    def test_says_what_else_has_the_machine_s_cores(self, planned: Planner, steps: Steps, out: io.StringIO) -> None:
        boot.prepare(planned(chart="builtin"), steps)
        assert "beside:    jh-2, orphaned, somewhere\n" in out.getvalue()

    @pytest.mark.usefixtures("docker")
    def test_a_run_with_courses_has_its_spawner_then(self, planned: Planner, steps: Steps, checkout: Path) -> None:
        plan = check_out_courses(planned(chart="builtin", course="new.1=courses/gpu_example"), checkout)
        boot.prepare(plan, steps)
        assert "'new.1'" in spawner_file(plan).read_text()

    def test_a_kubernetes_that_is_not_built_is_said_before_anything_is_prepared(
        self, planned: Planner, steps: Steps, failing: Failing
    ) -> None:
        failing(machine, "prepare", AssertionError("too late"))
        with pytest.raises(HarnessError, match=r"\A--kubernetes 1\.99\.1: what is built is"):
            boot.boot(planned(kubernetes="1.99.1"), steps)

    @pytest.fixture
    def taken(self) -> Iterator[str]:
        """A port that somebody listens on."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield str(server.getsockname()[1])

    @pytest.mark.parametrize("option", ["hub_port", "authoring_port"])
    def test_a_taken_port_is_said_before_artifacts_are_made(
        self, planned: Planner, steps: Steps, docker: FakeDocker, failing: Failing, taken: str, option: str
    ) -> None:
        failing(artifacts, "get", AssertionError("artifacts were made"))
        with pytest.raises(HarnessError, match=rf"\APort {taken} on 127\.0\.0\.1 is taken "):
            boot.boot(planned(**{option: taken}), steps)
        assert docker.changes == []

    def test_a_port_that_may_be_our_own_clusters_is_not(
        self, planned: Planner, steps: Steps, docker: FakeDocker, failing: Failing, taken: str
    ) -> None:
        docker.has(*PARTS)
        failing(boot, "find_chart", HarnessError("far enough"))
        with pytest.raises(HarnessError, match=r"\Afar enough\Z"):
            boot.boot(planned(hub_port=taken), steps)


class FakeHelm:
    """Helm that renders nothing, after doing what it is told."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.then = then

    def template(self, *_: object) -> list[Any]:
        self.then()
        return []

    def upgrade_install(self, *_: object) -> None:
        self.then()


def prepared(helm: FakeHelm, kind: Path = Path("kind")) -> Prepared:
    """What a copy is made of, as far as a boot gets without Docker."""
    made: Any = SimpleNamespace(
        kind=kind,
        kubectl=Path("kubectl"),
        node_image="node",
        node_store="",
        services={"registry": "registry", "moto": "moto", "postgres": "postgres"},
        notebook="notebook",
        images={},
    )
    given: Any = helm
    return Prepared(made, "1.36.4", given, Chart(Path("chart"), "1", "test"))


class TestInfrastructure:
    def failing_at_rendering(self, docker: FakeDocker, error: BaseException) -> Prepared:
        """A boot that fails when a container of it is there."""

        def fail() -> None:
            docker.has("moto")
            raise error

        return prepared(FakeHelm(fail))

    @pytest.mark.parametrize("error", [HarnessError("no"), KeyboardInterrupt(), ValueError()])
    def test_failure_leaves_nothing(
        self, planned: Planner, steps: Steps, docker: FakeDocker, out: io.StringIO, error: BaseException
    ) -> None:
        with pytest.raises(type(error)):
            boot.boot(planned(), steps, self.failing_at_rendering(docker, error))
        assert docker.changes[-2:] == ["rm --force --volumes jh-1-moto", "network rm jh-1"]
        assert out.getvalue().endswith("s  teardown: removed jh-1-moto jh-1\n")

    def test_failure_is_no_verdict_where_the_environment_failed(
        self, planned: Planner, steps: Steps, docker: FakeDocker
    ) -> None:
        docker.path.write_text(docker.path.read_text().replace('"info "*) echo / ;;', '"info "*) exit 1 ;;'))
        with pytest.raises(
            EnvironmentFault, match=r"\AThe Docker daemon does not answer: .* has no verdict about"
        ) as error:
            boot.boot(planned(), steps, self.failing_at_rendering(docker, HarnessError("no")))
        assert str(error.value.__cause__) == "no"
        assert docker.changes[-2:] == ["rm --force --volumes jh-1-moto", "network rm jh-1"]

    @pytest.mark.usefixtures("docker")
    def test_a_spawner_of_another_run_is_not_taken_for_this_ones(
        self, planned: Planner, steps: Steps, checkout: Path
    ) -> None:
        plan = check_out_courses(planned(course="new.1=courses/gpu_example"), checkout)
        spawner_file(plan).write_text("of a drill")
        rendered: list[str] = []

        def render() -> None:
            rendered.append(spawner_file(plan).read_text())
            raise HarnessError("far enough")

        with pytest.raises(HarnessError, match="far enough"):
            boot.boot(plan, steps, prepared(FakeHelm(render)))
        assert "'new.1'" in rendered[0]

    def test_a_caller_that_looks_first_removes_it_later(
        self, planned: Planner, steps: Steps, docker: FakeDocker
    ) -> None:
        later: list[str] = []
        given = self.failing_at_rendering(docker, HarnessError("no"))
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            boot.boot_infrastructure(planned(), steps, prepared=given, undo=lambda: later.append("undo"))
        assert later == ["undo"]
        assert docker.changes[-1].startswith("network create "), "nothing was removed again"

    def test_a_cluster_that_does_not_come_up_leaves_its_logs_before_it_goes(
        self,
        planned: Planner,
        steps: Steps,
        docker: FakeDocker,
        out: io.StringIO,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """When one side fails, the other is over and the evidence is kept; then everything is removed."""
        serving = tmp_path / "serving"
        removed: list[int] = []

        def start(*_: object, **__: object) -> None:
            try:
                run(["sh", "-c", f"touch {serving}; exec sleep 60"], timeout=60)
            finally:
                removed.append(sum(call.startswith("rm") for call in docker.calls))

        wait = f"until [ -f {serving} ]; do sleep 0.05; done"
        kind = Program(tmp_path / "bin", "kind", f"{wait}; echo 'no room for a node'; exit 1")
        monkeypatch.setattr(boot, "make_images", start)
        plan = planned()
        docker.has("moto")
        with pytest.raises(HarnessError, match="kind"):
            boot.boot(plan, steps, prepared(FakeHelm(), kind.path))
        # One removal is before the start, of whatever a killed run left.
        assert removed == [1], "the other side is over before the second one"
        assert (plan.evidence / "boot/index.txt").exists()
        output = out.getvalue()
        assert output.index(f"Logs, pods and events: {plan.evidence}/boot\n") < output.index("teardown: ")
        assert docker.changes[-1] == "network rm jh-1"
        assert not cleaning_up()


class TestHubs:
    @pytest.fixture
    def plan(self, planned: Planner, docker: FakeDocker) -> Plan:
        docker.has("moto")
        return planned()

    def running(self, plan: Plan, helm: FakeHelm | None = None) -> Any:
        """A copy whose hubs answer, the students' with one user of an earlier run."""

        def answer(request: httpx.Request) -> httpx.Response:
            self.asked.append(f"{request.method} {request.url.path}")
            users = [{"name": "1", "admin": False, "servers": {}}]
            return httpx.Response(
                200, json=users_page(users) if request.url.path.endswith("/users") else {"version": "5.5.0"}
            )

        self.asked: list[str] = []
        hub = hub_that_answers(answer)
        both = (STUDENT, AUTHORING)
        return running_copy(
            plan,
            FakeCluster(),
            helm=helm or FakeHelm(),
            hub=lambda _: hub,
            releases={spec: Release(spec.release, spec.namespace, ()) for spec in both},
            objects={spec: [] for spec in both},
        )

    def test_both_are_installed_and_answer(self, plan: Plan, steps: Steps, out: io.StringIO) -> None:
        running = self.running(plan)
        assert boot.install_hubs(running, steps) == "5.5.0"
        assert sorted(running.cluster.done) == [
            f"{what} in {namespace}"
            for what in ("apply", "remove what runs")
            for namespace in ("jupyter", "jupyter-authoring")
        ]
        wanted = release_fingerprint(running.chart, running.releases[STUDENT])
        assert State(plan.state / "state.json").get(AUTHORING.release) == wanted
        assert self.asked == ["GET /hub/api/"] * 2, "users of whom a person may need something stay"
        assert out.getvalue().count("(JupyterHub 5.5.0)\n") == 2

    def test_those_that_are_asked_for(self, plan: Plan, steps: Steps) -> None:
        running = self.running(plan)
        boot.install_hubs(running, steps, [AUTHORING])
        assert running.cluster.done == ["apply in jupyter-authoring", "remove what runs in jupyter-authoring"]

    def test_a_run_of_tests_starts_without_users(self, plan: Plan, steps: Steps) -> None:
        boot.install_hubs(self.running(plan), steps, [STUDENT], clear=True)
        assert self.asked == ["GET /hub/api/", "GET /hub/api/users", "DELETE /hub/api/users/1"]

    @pytest.mark.parametrize(("keep", "left"), [(False, "teardown: removed jh-1-moto jh-1\n"), (True, "removes it.\n")])
    def test_those_that_do_not_come_up_are_explained_and_removed(
        self,
        planned: Planner,
        steps: Steps,
        docker: FakeDocker,
        out: io.StringIO,
        monkeypatch: pytest.MonkeyPatch,
        keep: bool,
        left: str,
    ) -> None:
        docker.has("moto")
        plan = planned(keep=keep)

        def crash() -> None:
            raise HarnessError("the hub crashes")

        running = self.running(plan, FakeHelm(crash))
        monkeypatch.setattr(boot, "boot_infrastructure", lambda *_, **__: running)
        with pytest.raises(HarnessError, match=r"\Athe hub crashes"):
            boot.boot(plan, steps)
        assert (plan.evidence / "boot/index.txt").read_text().startswith("the hub crashes\n")
        assert out.getvalue().endswith(left)
        assert bool(docker.changes) is not keep
