"""The deployment: what is decided before, around and after the cluster."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml
from botocore.exceptions import EndpointConnectionError
from kubernetes.client import ApiException
from rich.console import Console

from harness.artifacts import resolve as artifacts
from harness.artifacts.resolve import pinned_chart
from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.progress import Steps, StoppedError
from harness.base.signals import cleaning_up
from harness.base.wait import NeverError, TooLateError
from harness.charts import chart
from harness.charts.helm import Helm
from harness.cluster.client import NoAnswerError
from harness.cluster.kind import Cluster
from harness.cluster.pod_health import why_stuck
from harness.deployment import boot, changes, releases, rollout, state, teardown
from harness.deployment.boot import only_run
from harness.deployment.releases import find_chart, surroundings
from harness.deployment.rollout import wait_until_ready
from harness.deployment.state import State
from harness.evidence import bundle
from harness.evidence import environment as health
from harness.host import docker as containers
from harness.host import requirements as machine
from harness.host import runs
from harness.host.identity import identity
from harness.hub.api import Hub
from harness.plan.hubs import AUTHORING, SCALED, STUDENT
from harness.plan.options import read
from harness.plan.plan import Plan, make_plan
from harness.services.postgres import Database
from tests.unit.fakes import Program, ol_infrastructure

ROOT = Path(__file__).parents[3]
Planner = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path) -> Planner:
    """A plan whose files all lie in an empty directory, for options by name."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("helm", "images", "kind-config.yaml"):
        (checkout / name).symlink_to(ROOT / name)

    def planned(*, keep: bool = False, **options: str) -> Plan:
        values = read(lambda it: [options[it.dest]] if it.dest in options else [], {}, lambda _: [])
        environ = {"HARNESS_CACHE": str(tmp_path / "cache")}
        plan = make_plan(values, checkout=checkout, cwd=tmp_path, environ=environ, keep=keep, cluster_name="jh-1")
        plan.state.mkdir(exist_ok=True)
        return plan

    return planned


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A docker whose daemon answers, with the containers and networks named in the file `there`."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    script = """case "$1 $2" in
      "ps "*|"network ls") [ ! -f "$here/$1" ] || cat "$here/$1" ;;
      "rm "*) : > "$here/ps" ;;
      version*) echo 28 ;;
    esac"""
    return Program(tmp_path / "bin", "docker", script)


def there(docker: Program, *parts: str) -> None:
    docker.path.with_name("ps").write_text("".join(f"jh-1-{part}\n" for part in parts))
    docker.path.with_name("network").write_text("bridge\njh-1\n")


def changing(docker: Program) -> list[str]:
    """The calls of docker that change something."""
    return [call for call in docker.calls if not call.startswith(("ps ", "network ls", "version"))]


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def steps(out: io.StringIO) -> Steps:
    return Steps(Console(file=out, width=80))


def test_an_upgrade_that_failed_is_not_taken_for_what_was_there_before(planned: Planner, steps: Steps) -> None:
    """A good spawner, a broken one, and the good one again: the third run has something to do."""

    def refuse(*_: object) -> None:
        raise HarnessError("the hub crashes")

    plan = planned()
    known = State(plan.state / "state.json")
    known.set(STUDENT.release, "the good one")
    with pytest.raises(HarnessError, match="crashes"):
        boot._Boot(plan, steps).install_release(STUDENT, laid(plan, upgrade_install=refuse), known)
    assert State(plan.state / "state.json").get(STUDENT.release) is None


def test_a_release_that_is_what_it_was_is_left_alone(
    planned: Planner, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned()
    done: list[str] = []
    monkeypatch.setattr(boot, "wait_until_ready", lambda _, namespace: done.append(f"{namespace} is ready"))
    running = laid(plan, upgrade_install=lambda *_: done.append("upgraded"))
    for _ in range(2):
        boot._Boot(plan, steps).install_release(STUDENT, running, State(plan.state / "state.json"))
    assert done == ["upgraded", f"{STUDENT.namespace} is ready"]


def laid(plan: Plan, **helm: Any) -> Any:
    """A deployment whose hubs are to be installed; nothing of it is real."""
    return SimpleNamespace(
        chart=SimpleNamespace(path=plan.spawner),
        releases={STUDENT: SimpleNamespace(values=(), set_files={}, replaced={})},
        objects={STUDENT: []},
        cluster=SimpleNamespace(apply=lambda *_: None),
        database=None,
        helm=SimpleNamespace(**helm),
    )


class TestState:
    def test_is_kept(self, tmp_path: Path) -> None:
        State(tmp_path / "state.json").set("cluster", "abc")
        again = State(tmp_path / "state.json")
        assert (again.get("cluster"), again.get("services")) == ("abc", None)

    def test_who_writes_takes_nothing_back_that_another_wrote(self, tmp_path: Path) -> None:
        one, other = State(tmp_path / "state.json"), State(tmp_path / "state.json")
        one.set("cluster", "made")
        one.set("jupyterhub", "a release")
        other.set("leaving", "[]")
        one.forget("jupyterhub")
        other.set("leaving", '["1"]')
        assert [one.get(key) for key in ("cluster", "jupyterhub", "leaving")] == ["made", None, '["1"]']

    def test_clear(self, tmp_path: Path) -> None:
        state = State(tmp_path / "state.json")
        state.set("cluster", "abc")
        state.clear()
        assert (state.get("cluster"), State(tmp_path / "state.json").get("cluster")) == (None, None)

    def test_a_run_killed_while_it_writes_leaves_what_was(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        state = State(tmp_path / "state.json")
        state.set("cluster", "abc")
        half_written(monkeypatch)
        with pytest.raises(KeyboardInterrupt):
            state.set("services", "started")
        again = State(tmp_path / "state.json")
        assert (again.get("cluster"), again.get("services")) == ("abc", None)


def half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on, whoever writes a file is ended in the middle."""

    def write(path: Path, text: str) -> None:
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", write)


def test_images_that_a_killed_run_changed_are_pushed_again(planned: Planner) -> None:
    plan = planned()
    plan.state.mkdir(parents=True, exist_ok=True)
    State(plan.state / "state.json").set("images", "as they were")
    with changes.images_changed(plan):
        assert State(plan.state / "state.json").get("images") is None
    assert State(plan.state / "state.json").get("images") == "as they were"


class TestAnswer:
    """The first answer of a hub through its proxy."""

    def hub(self, status: int, text: str) -> Hub:
        hub = Hub("http://hub", "jupyter", "jupyterhub", "jupyterhub", "token")
        answer = httpx.Response(status, text=text, headers={"server": "gateway"})
        transport = httpx.MockTransport(lambda _: answer)
        vars(hub)["api"] = httpx.Client(base_url="http://hub/hub/api", transport=transport)
        return hub

    def test_version(self) -> None:
        assert rollout.wait_for_answer(self.hub(200, '{"version": "5.5.0"}')) == "5.5.0"

    def test_somebody_else_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rollout, "ANSWER_TIMEOUT", 0.0)
        last = r"Last seen: 403 Forbidden, server gateway: not for you\Z"
        with pytest.raises(TooLateError, match=last):
            rollout.wait_for_answer(self.hub(403, "not for you"))

    def test_a_hub_that_crashes_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rollout, "seldom", lambda look: look)
        with pytest.raises(NeverError, match=r"through its proxy: will not come.*: CrashLoopBackOff"):
            rollout.wait_for_answer(self.hub(503, "no hub"), lambda: "CrashLoopBackOff")

    def test_a_restarted_hub_answers_before_anybody_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        done: list[str] = []
        monkeypatch.setattr(rollout, "wait_until_ready", lambda _, namespace: done.append(f"{namespace} is ready"))
        monkeypatch.setattr(rollout, "wait_for_answer", lambda hub, _: done.append(f"{hub.release} answers"))
        cluster: Any = SimpleNamespace(restart=lambda *which: done.append(" ".join(which)))
        rollout.restart_hub(cluster, self.hub(200, ""))
        assert done == ["jupyter hub", "jupyter is ready", "jupyterhub answers"]


class TestSecrets:
    def test_random_and_kept(self, tmp_path: Path) -> None:
        mine, again, other = map(releases.read_secrets, (tmp_path / name for name in ("mine", "mine", "other")))
        assert mine == again
        assert set(mine) == {"database", "admin_password", "jupyterhub", "jupyterhub-authoring", "jupyterhub-scaled"}
        assert len({*mine.values(), *other.values()}) == 10

    def test_for_nobody_else(self, tmp_path: Path) -> None:
        releases.read_secrets(tmp_path / "secrets.json")
        assert (tmp_path / "secrets.json").stat().st_mode & 0o777 == 0o600

    def test_a_run_killed_while_it_writes_leaves_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            half_written(patch)
            with pytest.raises(KeyboardInterrupt):
                releases.read_secrets(tmp_path / "secrets.json")
        assert len(releases.read_secrets(tmp_path / "secrets.json")) == 5


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


REFUSED = 'echo "Error: looks like $repo is not a valid chart repository or cannot be reached: refused" >&2; exit 1'
NO_SUCH = """for a; do case $a in --version=*) v=${a#*=} ;; esac; done
echo "Error: chart \\"jupyterhub\\" version \\"$v\\" not found in repository" >&2; exit 1"""
GIVES = 'for a; do case $a in --untardir=*) into=${a#*=};; esac; done; cp -r "$here/../published" "$into/jupyterhub"'


class TestFindChart:
    @pytest.fixture
    def helm(self, tmp_path: Path) -> Callable[[str], tuple[Helm, Program]]:
        def helm(script: str) -> tuple[Helm, Program]:
            program = Program(tmp_path / "bin", "helm", script)
            return Helm(program.path), program

        return helm

    @pytest.fixture
    def published(self, tmp_path: Path) -> str:
        """What a repository does that has the chart."""
        (tmp_path / "published").mkdir()
        (tmp_path / "published/Chart.yaml").write_text("name: jupyterhub\nversion: 4.4.1-published\n")
        return GIVES

    def test_builtin_asks_nobody(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]) -> None:
        tool, program = helm("exit 1")
        plan = planned(chart="builtin")
        found = find_chart(plan, tool)
        assert (found.path, found.origin) == (plan.checkout / "helm/jupyterhub", "the built-in chart")
        assert program.calls == []

    def test_auto_takes_the_pinned_version(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str
    ) -> None:
        tool, program = helm(published)
        plan = planned()
        found = find_chart(plan, tool)
        assert (found.version, found.origin) == ("4.4.1-published", "chart repository")
        [call] = program.calls
        assert f"--version={pinned_chart(plan.checkout)} " in call

    def test_auto_takes_the_version_that_a_checkout_pins(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str, tmp_path: Path
    ) -> None:
        ol_infrastructure(tmp_path / "theirs")
        tool, program = helm(published)
        find_chart(planned(ol_infrastructure="theirs"), tool)
        assert "--version=1.2.3 " in program.calls[0]

    def test_a_chart_that_is_given_wins_over_a_checkout(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str, tmp_path: Path
    ) -> None:
        ol_infrastructure(tmp_path / "theirs")
        tool, program = helm(published)
        find_chart(planned(ol_infrastructure="theirs", chart="4.4.0"), tool)
        assert "--version=4.4.0 " in program.calls[0]

    def test_auto_falls_back_with_a_checkout_too(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], tmp_path: Path
    ) -> None:
        ol_infrastructure(tmp_path / "theirs")
        tool, _ = helm(REFUSED)
        found = find_chart(planned(ol_infrastructure="theirs", mirror="charts=https://charts.example"), tool)
        assert found.origin == "the built-in chart, because https://charts.example cannot be reached"

    def test_auto_falls_back_and_says_so(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]) -> None:
        tool, _ = helm(REFUSED)
        found = find_chart(planned(mirror="charts=https://charts.example"), tool)
        assert found.origin == "the built-in chart, because https://charts.example cannot be reached"

    def test_auto_does_not_fall_back_where_the_repository_answers(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]]
    ) -> None:
        tool, _ = helm(NO_SUCH)
        with pytest.raises(HarnessError, match=r"\Ahttps://charts\.example has no version .* of jupyterhub\.\Z"):
            find_chart(planned(mirror="charts=https://charts.example"), tool)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            (REFUSED, r"\Ahttps://charts\.example gives no chart: .* cannot be reached: refused\Z"),
            (NO_SUCH, r"\Ahttps://charts\.example has no version 9\.9\.9 of jupyterhub\.\Z"),
        ],
    )
    def test_a_version_never_falls_back(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], script: str, message: str
    ) -> None:
        tool, _ = helm(script)
        with pytest.raises(HarnessError, match=message):
            find_chart(planned(chart="9.9.9", mirror="charts=https://charts.example"), tool)

    @pytest.mark.parametrize("chart", ["pinned", "latest"])
    @pytest.mark.parametrize("script", [REFUSED, NO_SUCH], ids=["refused", "no such"])
    def test_neither_does_a_word_for_one(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], script: str, chart: str
    ) -> None:
        tool, _ = helm(script)
        with pytest.raises(HarnessError, match=r"\Ahttps://charts\.example (gives no chart|has no version)"):
            find_chart(planned(chart=chart, mirror="charts=https://charts.example"), tool)

    def test_pinned(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str) -> None:
        tool, program = helm(published)
        plan = planned(chart="pinned")
        find_chart(plan, tool)
        [call] = program.calls
        assert f"--version={pinned_chart(plan.checkout)} " in call

    def test_latest(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str) -> None:
        tool, program = helm(f"[ $1 != show ] || {{ echo 'version: 9.0.1'; exit; }}\n{published}")
        find_chart(planned(chart="latest"), tool)
        assert [call.split()[0] for call in program.calls] == ["show", "pull"]
        assert "--version=9.0.1 " in program.calls[1]

    def test_a_mirror_is_asked_in_its_place(
        self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], published: str
    ) -> None:
        tool, program = helm(published)
        find_chart(planned(mirror="charts=https://charts.example/here"), tool)
        assert "--repo=https://charts.example/here " in program.calls[0]

    def test_path(self, planned: Planner, helm: Callable[[str], tuple[Helm, Program]], tmp_path: Path) -> None:
        (tmp_path / "mine/jupyterhub").mkdir(parents=True)
        (tmp_path / "mine/jupyterhub/Chart.yaml").write_text("name: jupyterhub\nversion: 0.0.1\n")
        tool, program = helm("exit 1")
        found = find_chart(planned(chart="./mine"), tool)
        assert (found.path, found.version) == (tmp_path / "mine/jupyterhub", "0.0.1")
        assert program.calls == []


class TestRelease:
    def test_what_wins(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "mine.yaml").write_text("")
        plan = planned(values="mine.yaml")
        secret = releases.read_secrets(plan.secrets)
        found = releases.release(plan, STUDENT, secret)
        own, kind, run = found.values
        assert (own, kind) == (tmp_path / "mine.yaml", plan.checkout / "helm/values/kind.yaml")
        assert found.set_files == {chart.SPAWNER_KEY: plan.spawner}
        assert run.stat().st_mode & 0o777 == 0o600
        values = yaml.safe_load(run.read_text())
        assert values["hub"]["services"]["harness"]["apiToken"] == secret["jupyterhub"]
        assert values["proxy"]["service"]["nodePorts"] == {"http": 30000}

    def test_authoring(self, planned: Planner) -> None:
        plan = planned()
        found = releases.release(plan, AUTHORING, releases.read_secrets(plan.secrets))
        assert (found.name, found.namespace) == ("jupyterhub-authoring", "jupyter-authoring")
        assert found.values[0] == plan.checkout / "helm/values/authoring.yaml"
        values = yaml.safe_load(found.values[-1].read_text())
        assert values["proxy"]["service"]["nodePorts"] == {"http": 30001}
        assert values["hub"]["config"]["SharedPasswordAuthenticator"]["admin_password"]

    def test_nothing_is_replaced_without_a_checkout(self, planned: Planner) -> None:
        plan = planned()
        secret = releases.read_secrets(plan.secrets)
        assert [dict(releases.release(plan, role, secret).replaced) for role in (STUDENT, AUTHORING)] == [{}, {}]

    def test_a_checkout_replaces(self, planned: Planner, tmp_path: Path) -> None:
        ol_infrastructure(tmp_path / "theirs")
        plan = planned(ol_infrastructure="theirs")
        secret = releases.read_secrets(plan.secrets)
        student, scaled, authoring = (releases.release(plan, it, secret) for it in (STUDENT, SCALED, AUTHORING))
        assert set(student.replaced["prePuller.extraImages"]) == {
            "base-authoring-image",
            "poetry",
            "prose-1-intro",
            "prose-1-2",
        }
        assert scaled.replaced == student.replaced
        assert "prePuller.extraImages" not in authoring.replaced
        assert authoring.replaced["singleuser.extraFiles.menu_override"]["stringData"] == '{"menus": "all"}'


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    data = {"values.yaml": base64.b64encode(yaml.safe_dump(values).encode()).decode()}
    return [{"kind": "Service"}, {"kind": "Secret", "metadata": {"name": "hub"}, "data": data}]


NO_SUCH_NODE = ApiException(404, "Not Found")
NO_SUCH_NODE.body = json.dumps({"kind": "Status", "message": 'nodes "jh-1-worker" not found'})
DATABASE = Database("jh-1-postgres", "jh-1", "pass")
REF = {"valueFrom": {"secretKeyRef": {"name": "creds", "key": "url"}}}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "creds"},
    "stringData": {"url": "postgresql://jupyterhub:pass@jh-1-postgres:5432/jupyterhub"},
}
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "student"}}


class TestSurroundings:
    @pytest.mark.parametrize(
        ("values", "made"),
        [
            ({"hub": {"extraEnv": {"DATABASE_URL": REF}}}, [SECRET]),
            ({"hub": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "DATABASE_URL", **REF}]}}, [SECRET]),
            ({"hub": {"extraEnv": {"DATABASE_URL": "postgresql://elsewhere"}}}, []),
            ({"hub": {"extraEnv": None}, "singleuser": {"serviceAccountName": None}}, []),
            ({"singleuser": {"serviceAccountName": "student"}}, [ACCOUNT]),
            ({}, []),
        ],
    )
    def test_named_as_the_values_name_them(self, values: dict[str, Any], made: list[dict[str, Any]]) -> None:
        assert surroundings(rendered(values), STUDENT, DATABASE) == made

    def test_each_hub_has_its_own_database(self) -> None:
        objects = rendered({"hub": {"extraEnv": {"DATABASE_URL": REF}}})
        [secret] = surroundings(objects, AUTHORING, DATABASE)
        assert secret["stringData"]["url"].endswith("/jupyterhub_authoring")


PARTS = ("control-plane", "worker", "registry", "moto", "postgres")
REMADE = [
    "rm --force --volumes {names}",
    "network rm jh-1",
    "network create --label=ol-jupyterhub-harness=jh-1 --label=ol-jupyterhub-harness.checkout={checkout} "
    "--label=ol-jupyterhub-harness.kept=no "
    "--label=ol-jupyterhub-harness.identity={identity} --label=ol-jupyterhub-harness.host={host} jh-1",
]


def labelled(plan: Plan) -> dict[str, object]:
    return {"checkout": plan.checkout, "identity": identity(plan.checkout), "host": socket.gethostname()}


WANTED, OTHER = (state.fingerprints({"kind-config.yaml": text, "--mirror": "[]"}) for text in ("wanted", "other"))
ANEW = "kept:      cluster jh-1 is made anew, "


class TestSettle:
    """Whether a kept cluster is used again."""

    def settled(self, plan: Plan, steps: Steps, *, kept: str | None, answers: bool = True) -> State:
        known = State(plan.state / "state.json")
        if kept:
            known.set("cluster", kept)
            known.set("images", "as they were")
        releases.read_secrets(plan.secrets)
        cluster: Any = SimpleNamespace(answers=lambda: answers)
        boot._Boot(plan, steps).settle(known, cluster, WANTED)
        return known

    def test_again(self, planned: Planner, steps: Steps, docker: Program, out: io.StringIO) -> None:
        there(docker, *PARTS)
        plan = planned()
        known = self.settled(plan, steps, kept=WANTED)
        assert (plan.state / "secrets.json").exists()
        assert (known.get("cluster"), known.get("images")) == (WANTED, "as they were")
        assert changing(docker) == []
        assert out.getvalue() == "kept:      cluster jh-1 is used again, nothing it was made of has changed\n"

    @pytest.mark.parametrize(
        ("kept", "parts", "answers", "said"),
        [
            (OTHER, PARTS, True, f"{ANEW}kind-config.yaml has changed\n"),
            ("a fingerprint as it once was", PARTS, True, f"{ANEW}what it is made of has changed\n"),
            (WANTED, PARTS[:-1], True, f"{ANEW}it is no longer whole: jh-1-postgres not running\n"),
            (WANTED, PARTS, False, f"{ANEW}it is no longer whole: its API server does not answer\n"),
            # Nothing was kept on purpose: a killed run left it.
            (None, PARTS[:2], True, ""),
        ],
        ids=["changed", "older", "part-missing", "no-answer", "killed"],
    )
    def test_anew(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        out: io.StringIO,
        kept: str | None,
        parts: tuple[str, ...],
        answers: bool,
        said: str,
    ) -> None:
        there(docker, *parts)
        plan = planned()
        known = self.settled(plan, steps, kept=kept, answers=answers)
        assert not (plan.state / "secrets.json").exists(), "another cluster gets other passwords"
        assert (known.get("cluster"), known.get("images")) == (None, None)
        names = " ".join(sorted(f"jh-1-{part}" for part in parts))
        assert changing(docker) == [call.format(names=names, **labelled(plan)) for call in REMADE]
        assert out.getvalue() == said

    def test_a_first_run(self, planned: Planner, steps: Steps, docker: Program) -> None:
        plan = planned()
        self.settled(plan, steps, kept=None)
        assert changing(docker) == [REMADE[-1].format(**labelled(plan))]


class TestChanges:
    def test_named(self) -> None:
        before = state.fingerprints({"the chart": "1", "values kind.yaml": "a: 1", "spawner one.py": "pass"})
        now = state.fingerprints({"the chart": "2", "values kind.yaml": "a: 1", "spawner two.py": "pass"})
        assert state.changes(before, now) == "spawner one.py and spawner two.py and the chart have changed"

    def test_one(self) -> None:
        assert state.changes(state.fingerprints({"a": "1"}), state.fingerprints({"a": "2"})) == "a has changed"

    def test_many(self) -> None:
        before, now = ({f"image {number}": version for number in range(9)} for version in "12")
        shown = state.changes(state.fingerprints(before), state.fingerprints(now))
        assert shown == "image 0 and image 1 and image 2 and image 3 and 5 more have changed"

    def test_of_a_release(self, planned: Planner, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        for name in ("values.yaml", "mine/values.yaml", "spawner.py", "Chart.yaml"):
            (tmp_path / name).write_text("1")
        source = chart.Chart(tmp_path / "Chart.yaml", "1", "test")
        files = (tmp_path / "values.yaml", tmp_path / "mine/values.yaml")
        wanted = chart.Release("a", "b", files, {chart.SPAWNER_KEY: tmp_path / "spawner.py"}, {"a.b": [1]})
        before = state.release_fingerprint(source, wanted)
        assert before == state.release_fingerprint(source, wanted)
        for name, told in (
            ("values.yaml", "values values.yaml has changed"),
            ("mine/values.yaml", "values values.yaml (2) has changed"),
            ("spawner.py", "spawner spawner.py has changed"),
            ("Chart.yaml", "the chart has changed"),
        ):
            (tmp_path / name).write_text("2")
            assert state.changes(before, state.release_fingerprint(source, wanted)) == told
            (tmp_path / name).write_text("1")
        other = dataclasses.replace(wanted, replaced={"a.b": [2]})
        assert state.changes(before, state.release_fingerprint(source, other)) == "value a.b has changed"


class TestClusterPrint:
    MADE: Any = SimpleNamespace(
        node_image="node",
        registry="registry",
        moto="moto",
        postgres="postgres",
        images={"quay.io/jupyterhub/k8s-hub": SimpleNamespace(digest="sha256:1")},
    )

    def test_same(self, planned: Planner) -> None:
        one = state.cluster_fingerprint(planned(), self.MADE)
        assert one == state.cluster_fingerprint(planned(keep=True, chart="builtin", install="never"), self.MADE)

    @pytest.mark.parametrize(
        "options", [{"hub_port": "8000"}, {"authoring_port": "8000"}, {"mirror": "quay.io=here.example"}]
    )
    def test_options_count(self, planned: Planner, options: dict[str, str]) -> None:
        one = state.cluster_fingerprint(planned(), self.MADE)
        assert one != state.cluster_fingerprint(planned(**options), self.MADE)

    @pytest.mark.parametrize("part", ["node_image", "registry", "moto", "postgres"])
    def test_artifacts_count(self, planned: Planner, part: str) -> None:
        other: Any = SimpleNamespace(**{**vars(self.MADE), part: "another"})
        plan = planned()
        assert state.cluster_fingerprint(plan, self.MADE) != state.cluster_fingerprint(plan, other)

    def test_the_charts_own_images_count(self, planned: Planner) -> None:
        images = {"quay.io/jupyterhub/k8s-hub": SimpleNamespace(digest="sha256:2")}
        other: Any = SimpleNamespace(**{**vars(self.MADE), "images": images})
        plan = planned()
        now = state.changes(state.cluster_fingerprint(plan, self.MADE), state.cluster_fingerprint(plan, other))
        assert now == "an image of the chart has changed"


class TestBoot:
    @pytest.fixture(autouse=True)
    def ready(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All that a boot needs before its cluster is there."""
        made: Any = SimpleNamespace(
            helm=Path("helm"), kind=Path("kind"), kubectl=Path("kubectl"), **vars(TestClusterPrint.MADE)
        )
        monkeypatch.setattr(artifacts, "choose", lambda *_: ("build", "so asked"))
        monkeypatch.setattr(artifacts, "get", lambda *_: made)
        monkeypatch.setattr(machine, "prepare", lambda *_, **__: None)
        monkeypatch.setattr(machine, "check_disk", lambda *_: None)
        monkeypatch.setattr(runs, "beside", lambda _: ["jh-2, orphaned, somewhere"])
        monkeypatch.setattr(health, "fault", lambda *_, **__: "")
        monkeypatch.setattr(releases, "find_chart", lambda *_: chart.Chart(Path("chart"), "1", "test"))
        monkeypatch.setattr(Helm, "template", lambda *_: [])

    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str, BaseException], None]:
        """Makes a step of the boot end in an error."""

        def failing(where: Any, step: str, error: BaseException) -> None:
            def fail(*_: object, **__: object) -> None:
                raise error

            monkeypatch.setattr(where, step, fail)

        return failing

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
        docker: Program,
        out: io.StringIO,
        failing: Callable[[Any, str, BaseException], None],
        where: Any,
        step: str,
        keep: bool,
    ) -> None:
        there(docker, *PARTS)
        plan = planned(keep=keep)
        secret = releases.read_secrets(plan.secrets)
        State(plan.state / "state.json").set("cluster", "as it was")
        failing(where, step, HarnessError("no"))
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            boot.boot(plan, steps)
        assert changing(docker) == []
        assert (plan.state / "secrets.json").exists()
        assert releases.read_secrets(plan.secrets) == secret
        assert State(plan.state / "state.json").get("cluster") == "as it was"
        assert "teardown" not in out.getvalue()
        assert "Kept" not in out.getvalue()

    def test_says_what_else_has_the_machine_s_cores(
        self, planned: Planner, steps: Steps, docker: Program, out: io.StringIO
    ) -> None:
        boot.prepare(planned(), steps)
        assert "beside:    jh-2, orphaned, somewhere\n" in out.getvalue()

    @pytest.mark.parametrize("error", [HarnessError("no"), KeyboardInterrupt(), ValueError()])
    def test_failure_leaves_nothing(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        out: io.StringIO,
        failing: Callable[[Any, str, BaseException], None],
        error: BaseException,
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", error)
        with pytest.raises(type(error)):
            boot.boot(planned(), steps)
        assert changing(docker) == ["rm --force --volumes jh-1-moto", "network rm jh-1"]
        assert out.getvalue().endswith("s  teardown: removed jh-1-moto jh-1\n")

    def test_failure_is_no_verdict_where_the_ground_gave_way(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        failing: Callable[[Any, str, BaseException], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", HarnessError("no"))
        monkeypatch.setattr(health, "fault", lambda *_, **__: "The disk is full.")
        with pytest.raises(EnvironmentFault, match=r"\AThe disk is full\. The run ends, ") as error:
            boot.boot(planned(), steps)
        assert str(error.value.__cause__) == "no"
        assert changing(docker) == ["rm --force --volumes jh-1-moto", "network rm jh-1"]

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (httpx.ReadTimeout("timed out"), r"A call of the boot failed, ReadTimeout: timed out"),
            (ApiException(403, "Forbidden"), r"The cluster's API server refused a call: 403 Forbidden"),
            (NO_SUCH_NODE, r"The cluster's API server refused a call: 404 nodes \"jh-1-worker\" not found"),
            (
                EndpointConnectionError(endpoint_url="moto"),
                r"A call of the boot failed, .*: Could not connect .*",
            ),
        ],
        ids=["httpx", "kubernetes", "kubernetes, in words", "botocore"],
    )
    def test_call_that_failed_is_told_in_a_line(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        failing: Callable[[Any, str, BaseException], None],
        error: Exception,
        said: str,
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", error)
        with pytest.raises(HarnessError, match=rf"\A{said}\Z") as found:
            boot.boot(planned(), steps)
        assert found.value.__cause__ is error
        assert changing(docker) == ["rm --force --volumes jh-1-moto", "network rm jh-1"]

    def test_call_that_names_itself_is_told_as_it_is(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        failing: Callable[[Any, str, BaseException], None],
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", NoAnswerError("GET /api: no answer"))
        with pytest.raises(NoAnswerError, match=r"\AGET /api: no answer\Z"):
            boot.boot(planned(), steps)

    @pytest.mark.parametrize(("keep", "left"), [(False, "teardown: removed jh-1-moto jh-1\n"), (True, "removes it.\n")])
    def test_hubs_that_do_not_come_up_are_explained_and_removed(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        out: io.StringIO,
        failing: Callable[[Any, str, BaseException], None],
        monkeypatch: pytest.MonkeyPatch,
        keep: bool,
        left: str,
    ) -> None:
        there(docker, "moto")
        plan = planned(keep=keep)
        running: Any = SimpleNamespace(plan=plan, cluster=object())
        monkeypatch.setattr(boot, "lay", lambda *_, **__: running)
        failing(boot._Boot, "install", HarnessError("the hub crashes"))
        monkeypatch.setattr(bundle, "write_boot", lambda *_, **__: "for want of memory")
        with pytest.raises(HarnessError, match=r"\Athe hub crashes\nfor want of memory\Z"):
            boot.boot(plan, steps)
        assert "Likely cause: for want of memory" in out.getvalue()
        assert out.getvalue().endswith(left)
        assert bool(changing(docker)) is not keep

    def test_who_wants_to_look_first_removes_it_later(
        self, planned: Planner, steps: Steps, docker: Program, failing: Callable[[Any, str, BaseException], None]
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", HarnessError("no"))
        later: list[str] = []
        with pytest.raises(HarnessError, match=r"\Ano\Z"):
            boot.lay(planned(), steps, undo=lambda: later.append("undo"))
        assert later == ["undo"]
        assert changing(docker) == []

    def test_failure_of_a_cluster_keeps_its_logs_before_it_goes(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        out: io.StringIO,
        failing: Callable[[Any, str, BaseException], None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        there(docker, "moto")
        monkeypatch.setattr(boot._Boot, "serve", lambda *_: None)
        monkeypatch.setattr(boot._Boot, "create_cluster", lambda *_: None)
        failing(Cluster, "hub_url", HarnessError("no"))

        def collect(scene: bundle.Scene, into: Path, failure: str, *, since: float, extra: dict[str, str]) -> str:
            (into / "hub.log").write_text(f"{len(changing(docker))} changes so far, {failure}")
            return "the disk is full"

        monkeypatch.setattr(bundle, "write_boot", collect)
        plan = planned()
        with pytest.raises(HarnessError, match=r"\Ano\nthe disk is full\Z"):
            boot.boot(plan, steps)
        assert (plan.evidence / "boot/hub.log").read_text() == "3 changes so far, no"
        assert f"\nLikely cause: the disk is full\nLogs, pods and events: {plan.evidence}/boot\n" in out.getvalue()

    def test_what_runs_side_by_side_ends_before_what_there_is_goes(
        self, planned: Planner, steps: Steps, docker: Program, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When one side fails, the other begins nothing more, is over, and then everything is removed."""
        events: list[str] = []
        stopped = threading.Event()
        monkeypatch.setattr(boot, "kill_children", stopped.set)

        def serve(*_: object) -> None:
            assert stopped.wait(10)
            with pytest.raises(StoppedError):
                steps.go_on()
            events.append("the other side is over")

        def fail(*_: object, **__: object) -> None:
            there(docker, "moto")
            raise KeyboardInterrupt

        monkeypatch.setattr(boot._Boot, "serve", serve)
        monkeypatch.setattr(boot._Boot, "create_cluster", fail)
        real = containers.remove

        def removing(*args: str) -> list[str]:
            events.append("removing")
            return real(*args)

        monkeypatch.setattr(containers, "remove", removing)
        with pytest.raises(KeyboardInterrupt):
            boot.boot(planned(), steps)
        # The first is before the start, of whatever a killed run left.
        assert events == ["removing", "the other side is over", "removing"]
        assert not cleaning_up()
        assert changing(docker)[-2:] == ["rm --force --volumes jh-1-moto", "network rm jh-1"]

    def test_failure_keeps_what_is_to_be_kept_and_says_so(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        out: io.StringIO,
        failing: Callable[[Any, str, BaseException], None],
    ) -> None:
        there(docker, "moto")
        failing(boot._Boot, "settle", KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            boot.boot(planned(keep=True), steps)
        assert changing(docker) == []
        assert out.getvalue().endswith("\nKept as it is, because of --keep-cluster: jh-1. 'tox -e down' removes it.\n")

    @pytest.fixture
    def taken(self) -> Iterator[str]:
        """A port that somebody listens on."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield str(server.getsockname()[1])

    def test_a_kubernetes_that_is_not_built_is_said_before_anything_is_prepared(
        self, planned: Planner, steps: Steps, failing: Callable[[Any, str, BaseException], None]
    ) -> None:
        failing(machine, "prepare", AssertionError("too late"))
        with pytest.raises(HarnessError, match=r"\A--kubernetes 1\.99\.1: what is built is"):
            boot.boot(planned(kubernetes="1.99.1"), steps)

    @pytest.mark.parametrize("option", ["hub_port", "authoring_port"])
    def test_a_taken_port_is_said_before_artifacts_are_made(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        failing: Callable[[Any, str, BaseException], None],
        taken: str,
        option: str,
    ) -> None:
        failing(artifacts, "get", AssertionError("artifacts were made"))
        with pytest.raises(HarnessError, match=rf"\APort {taken} on 127\.0\.0\.1 is taken "):
            boot.boot(planned(**{option: taken}), steps)
        assert changing(docker) == []

    def test_a_port_that_may_be_our_own_clusters_is_not(
        self,
        planned: Planner,
        steps: Steps,
        docker: Program,
        failing: Callable[[Any, str, BaseException], None],
        taken: str,
    ) -> None:
        there(docker, *PARTS)
        failing(boot, "find_chart", HarnessError("far enough"))
        with pytest.raises(HarnessError, match=r"\Afar enough\Z"):
            boot.boot(planned(hub_port=taken), steps)


class TestRemove:
    def test_every_trace(self, planned: Planner, steps: Steps, docker: Program) -> None:
        plan = planned()
        with only_run(plan):
            (plan.state / "certs.d/quay.io").mkdir(parents=True)
            (plan.state / "secrets.json").touch()
            there(docker, *PARTS)
            teardown.remove(plan, steps)
            assert sorted(path.name for path in plan.state.iterdir()) == ["identity", "lock"]
        assert changing(docker)[-1] == "network rm jh-1"

    def test_a_dead_daemon_leaves_what_is_there_and_says_so(
        self, planned: Planner, steps: Steps, docker: Program
    ) -> None:
        docker = Program(docker.path.parent, "docker", "echo Cannot connect >&2; exit 1")
        plan = planned()
        State(plan.state / "state.json").set("cluster", "as it was")
        plan.secrets.touch()
        with pytest.raises(HarnessError, match=r"\AThe Docker daemon does not answer: the containers of jh-1 are left"):
            teardown.remove(plan, steps)
        assert plan.secrets.exists(), "it is still the cluster's"

    def test_no_docker(
        self, planned: Planner, steps: Steps, out: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        teardown.remove(planned(), steps)
        assert out.getvalue().endswith("s  teardown: nothing was there\n")


def revision(number: int) -> dict[str, str]:
    return {"meta.helm.sh/release-name": "jupyterhub", "deployment.kubernetes.io/revision": str(number)}


def rolled(
    name: str = "hub", number: int = 2, *, ready: int = 1, updated: int = 1, total: int = 1, seen: int = 2
) -> Any:
    """A Deployment after an upgrade."""
    status = SimpleNamespace(
        updated_replicas=updated,
        replicas=total,
        available_replicas=ready or None,
        observed_generation=seen,
        conditions=None,
    )
    metadata = SimpleNamespace(name=name, generation=2, annotations=revision(number))
    return SimpleNamespace(metadata=metadata, status=status, spec=SimpleNamespace(replicas=1))


def replica_set(owner: str, number: int, template: str, *, pods: int) -> Any:
    metadata = SimpleNamespace(
        name=f"{owner}-{template}",
        owner_references=[SimpleNamespace(kind="Deployment", name=owner)],
        annotations=revision(number),
        labels={"pod-template-hash": template},
    )
    return SimpleNamespace(metadata=metadata, spec=SimpleNamespace(replicas=pods))


NEW, OLD, PROXYS_OLD = "7f", "5c", "9d"
REPLICA_SETS = [
    replica_set("hub", 1, OLD, pods=1),
    replica_set("hub", 2, NEW, pods=1),
    # A revision is a Deployment's own number: what is the hub's newest may be another's old one.
    replica_set("proxy", 2, PROXYS_OLD, pods=0),
    replica_set("proxy", 3, "8e", pods=1),
]
PROXY = rolled("proxy", 3)


def crashing(component: str, template: str | None = None) -> Any:
    labels = {"component": component, **({"pod-template-hash": template} if template else {})}
    waiting = SimpleNamespace(reason="CrashLoopBackOff", message=None)
    container = SimpleNamespace(
        name=component,
        image="image",
        ready=False,
        state=SimpleNamespace(terminated=None, waiting=waiting),
        last_state=None,
    )
    return SimpleNamespace(
        metadata=SimpleNamespace(name=f"{component}-{template}", labels=labels, deletion_timestamp=None),
        spec=SimpleNamespace(init_containers=None, containers=[]),
        status=SimpleNamespace(conditions=None, init_container_statuses=None, container_statuses=[container]),
    )


class FakeCluster:
    """A cluster whose hub's rollout is, look after look, as given, the last one to stay; its proxy is there."""

    def __init__(self, *rollouts: Any, pods: tuple[Any, ...] = ()) -> None:
        self.rollouts = list(rollouts)
        self.found = list(pods)
        self.changes = 0
        self.apps = SimpleNamespace(
            list_namespaced_deployment=lambda namespace: SimpleNamespace(items=[self.rollouts[0], PROXY]),
            list_namespaced_replica_set=lambda namespace: SimpleNamespace(items=REPLICA_SETS),
        )

    def pods(self, namespace: str) -> Any:
        def change(seconds: float) -> None:
            self.changes += 1
            if len(self.rollouts) > 1:
                del self.rollouts[0]

        return SimpleNamespace(
            look=lambda: self.found,
            change=change,
            last_warning=lambda: ["hub-1: Readiness probe failed"],
            why_stuck=lambda pods: why_stuck(pods, self.log),
        )

    @staticmethod
    def log(pod: str, container: str, before: bool) -> str:
        return f"log of {pod}, previous={before}\nKeyError: 'image'"


def wait_ready(cluster: FakeCluster) -> None:
    given: Any = cluster
    wait_until_ready(given, "jupyter")


class TestReady:
    def test_at_once(self) -> None:
        cluster = FakeCluster(rolled())
        wait_ready(cluster)
        assert cluster.changes == 0

    @pytest.mark.parametrize(
        "before",
        [rolled(seen=1), rolled(ready=0), rolled(updated=0), rolled(total=2)],
        ids=["unseen", "unavailable", "old", "both"],
    )
    def test_after_a_change(self, before: Any) -> None:
        cluster = FakeCluster(before, rolled())
        wait_ready(cluster)
        assert cluster.changes == 1

    def test_a_deployment_that_has_not_heard_of_its_pod_yet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pod = crashing("hub", NEW)
        pod.status.container_statuses = []
        pod.status.conditions = [SimpleNamespace(type="Ready", status="True")]
        cluster = FakeCluster(rolled(ready=0), rolled(), pods=(pod,))
        monkeypatch.setattr(rollout, "pause", lambda seconds: cluster.rollouts.pop(0))
        wait_ready(cluster)
        assert cluster.changes == 0, "no pod changes any more, and a change is waited for"

    def test_an_upgrade_that_nobody_has_looked_at_yet(self) -> None:
        """Its Deployment still carries the revision before, whose pods are what the upgrade is to replace."""
        cluster = FakeCluster(rolled("hub", 1, seen=1), rolled(), pods=(crashing("hub", OLD),))
        wait_ready(cluster)
        assert cluster.changes == 1

    @pytest.mark.parametrize("others", [(), (crashing("hub", OLD),)], ids=["alone", "beside the one it replaces"])
    def test_a_crashed_hub_shows_its_traceback_at_once(self, others: tuple[Any, ...]) -> None:
        cluster = FakeCluster(rolled(ready=0), pods=(*others, crashing("hub", NEW)))
        with pytest.raises(NeverError) as error:
            wait_ready(cluster)
        assert str(error.value).endswith(
            f"pod hub-{NEW}: container hub: CrashLoopBackOff, image image. It said last: KeyError: 'image'"
            f"\n  | log of hub-{NEW}, previous=True\n  | KeyError: 'image'"
        )
        assert cluster.changes == 0

    @pytest.mark.parametrize(
        "pod",
        [crashing("hub", OLD), crashing("proxy", PROXYS_OLD), crashing("singleuser-server")],
        ids=["the hub that is replaced", "another Deployment's", "a student"],
    )
    def test_another_pod_that_crashes_is_no_matter(self, pod: Any) -> None:
        cluster = FakeCluster(rolled(ready=0), rolled(), pods=(pod,))
        wait_ready(cluster)
        assert cluster.changes == 1

    @pytest.mark.parametrize(("seconds", "hopeless"), [(20, True), (1, False)])
    def test_a_deployment_that_may_have_no_pod(self, seconds: int, hopeless: bool) -> None:
        refused = rolled(ready=0, updated=0, total=0)
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        message = 'pods "hub-" is forbidden: exceeded quota'
        refused.status.conditions = [
            SimpleNamespace(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate",
                message=message,
                last_transition_time=since,
            )
        ]
        cluster = FakeCluster(refused, rolled())
        if hopeless:
            with pytest.raises(NeverError, match=rf"hub gets no pod, FailedCreate: {message}\Z"):
                wait_ready(cluster)
        else:
            wait_ready(cluster)
            assert cluster.changes == 1

    def test_too_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rollout, "READY_TIMEOUT", 0.0)
        seen = r"the pods of jupyter: .* Last seen: hub 1/1 updated, 0 available; hub-1: Readiness probe failed\Z"
        with pytest.raises(TooLateError, match=seen):
            wait_ready(FakeCluster(rolled(ready=0)))


def test_an_image_that_nobody_makes() -> None:
    made: Any = SimpleNamespace(images={"quay.io/jupyterhub/k8s-hub": "layout"})
    assert boot._known_to(made, "quay.io/jupyterhub/k8s-hub:4.4.1")
    with pytest.raises(HarnessError) as error:
        boot._known_to(made, "docker.io/nginx:1")
    assert str(error.value) == (
        "The chart runs docker.io/nginx:1, which --artifacts build does not make (it makes quay.io/jupyterhub/k8s-hub)"
    )
