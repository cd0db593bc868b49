"""The bundle of a failure: everything that was there, a reason for what was not, and none of the secrets."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from harness.base.shell import CommandError
from harness.charts.chart import Release
from harness.evidence import bundle, har
from harness.evidence.bundle import Scene
from harness.hub.api import Hub
from harness.monitoring.client import Series
from harness.monitoring.panels import PANELS
from harness.people.journey import Hop, Journey
from harness.plan.hubs import AUTHORING, HUBS, SCALED, STUDENT
from harness.services import keycloak
from tests.unit.fakes import Program

PASSWORD = "5eed" * 16
ECR_TOKEN = "610119931565-ecr-t0ken"
LOGIN = base64.b64encode(f"AWS:{ECR_TOKEN}".encode()).decode()
PLANTED = [PASSWORD, ECR_TOKEN, LOGIN]


def planted(where: str) -> str:
    """A secret that only one source has, and that the run itself does not know."""
    PLANTED.append(f"pl4nted-{where}-s3cret")
    return PLANTED[-1]


POD = f"""\
spec:
  containers:
  - env:
    - name: JUPYTERHUB_API_TOKEN
      value: {planted("pod")}
    - name: DATABASE_URL
      value: postgresql://hub:{planted("env")}@db/hub
"""
HUB_LOG = f"""\
==> jupyter_hub-1_0a/hub/0.log <==
2026-11-23T21:58:24Z stderr F Set-Cookie: jupyterhub-hub-login={planted("cookie")}; Path=/hub/
2026-11-23T21:58:24Z stderr F crashed

==> jupyter_hub-1_0a/hub/1.log <==
2026-11-23T21:58:25Z stderr F 302 GET /hub/oauth_callback?code={planted("code")}&state={planted("state")}
2026-11-23T21:58:25Z stderr F connecting with {PASSWORD}

==> jupyter_hub-1_0a/silent/0.log <==

==> jupyter_continuous-image-puller-1_0b/image-pull-trees/0.log <==
2026-11-23T21:58:25Z stdout F Pulling complete
"""
REALM = keycloak.secrets()
"""Secrets of the realms' files, which the run knows though they are not among its own."""
PLANTED += REALM
GATE_LOG = f"""\
nb.learn.mit.edu GET /.apisix/redirect?state={planted("gate-state")}&code={planted("gate-code")} 302
oidc_authenticate_user: /token?a=b&code_verifier={planted("verifier")}, client_secret="{planted("client-secret")}"
Set-Cookie: jupyterhub_apisix_session={planted("gate-session")}; Path=/; Secure
POST https://sso.ol.mit.edu/realms/olapps/login-actions/authenticate?session_code={planted("session-code")}&client_data={planted("data")}
GET /logout?id_token_hint={planted("hint")}
{" ".join(sorted(REALM))}
"""
USERS = [
    {
        "name": "7c1e",
        "auth_state": {"anything": planted("auth-state")},
        "servers": {"": {"pending": None, "state": {"pod": planted("state-blob")}, "user_options": {"course": "a"}}},
    }
]
ROUTES = {"/user/7c1e/": {"target": "http://10.0.0.1:8888", "data": {"token": planted("route")}}}
PAGE = f"""<script>window.jhdata = {{xsrf_token: "{planted("page")}"}}</script>
<input type="hidden" name="_xsrf" value="{planted("form")}">"""
OWN = {
    "hub": {"db": {"password": planted("values")}, "config": {"OAuth": {"client_secret": planted("oauth")}}},
    "imagePullSecret": {"dockerconfig": json.dumps({"auths": {"ecr": {"auth": LOGIN}}})},
    "singleuser": {"startTimeout": 600},
}
KIND_ONLY = {"singleuser": {"startTimeout": 600, "memory": {"guarantee": "128M"}}, "proxy": {"secretToken": PASSWORD}}


class FakeCluster:
    """A cluster that answers each question for its state with what was asked, and more."""

    nodes = ("jh-1-control-plane", "jh-1-worker")
    name = "jh-1"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()

    def kubectl(self, *args: str, timeout: float) -> str:
        self.hangs.wait(timeout)
        if self.error:
            raise self.error
        return POD if "--output=yaml" in args else f"{' '.join(args)}\nconnecting with {PASSWORD}\n"

    def export_logs(self, into: Path, timeout: float) -> None:
        for node in self.nodes:
            (into / node / "pods").mkdir(parents=True)
            (into / node / "kubelet.log").write_text(f"{'x' * 300_000} Authorization: Basic {LOGIN}\n")
            (into / node / "inspect.json").write_text(planted(f"inspect-{node}"))
        raise CommandError("kind export logs: still running after 30 s, killed.")


class Driver:
    """The window of a browser."""

    page_source = PAGE

    def get_screenshot_as_png(self) -> bytes:
        return b"\x89PNG"


def hub(role: Any) -> Hub:
    def answer(request: httpx.Request) -> httpx.Response:
        if role is AUTHORING:
            return httpx.Response(503, text=f"no hub, token={PASSWORD}")
        return httpx.Response(200, json=USERS if request.url.path.endswith("/users") else ROUTES)

    return Hub("http://hub", role.namespace, role.release, role.database, PASSWORD, httpx.MockTransport(answer))


def rendered(chart: object, release: Release) -> list[dict[str, Any]]:
    values = {**OWN, **(KIND_ONLY if Path("scaled.yaml") in release.values else {})}
    data = {"values.yaml": base64.b64encode(yaml.safe_dump(values).encode()).decode()}
    return [{"kind": "Secret", "data": data}]


def tables(database: str, *queries: str, timeout: float) -> str:
    assert not [word for query in queries for word in ("cookie", "state", "token", "*") if word in query]
    return f"{database}: {len(queries)} tables"


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    state = tmp_path / "state"
    hosts = state / "certs.d/ecr.example/hosts.toml"
    hosts.parent.mkdir(parents=True)
    hosts.write_text(f'Authorization = ["Basic {LOGIN}"]')
    (state / "secrets.json").write_text(json.dumps({"database": PASSWORD}))
    own = {"values_of": lambda spec: (Path("authoring.yaml" if spec == AUTHORING else "production.yaml"),)}
    secrets, namespaces = state / "secrets.json", ["jupyter"]
    return SimpleNamespace(name="jh-1", state=state, secrets=secrets, namespaces=namespaces, **own)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A docker in whose containers things are written down."""
    directory = tmp_path / "bin"
    fake = Program(
        directory,
        "docker",
        """case "$1" in
          exec) cat "$here/logs" ;;
          logs) cat "$here/service" ;;
          ps) echo "jh-1-registry Up 2 minutes" ;;
        esac""",
    )
    (directory / "logs").write_text(HUB_LOG)
    (directory / "service").write_text(f"url=http://u:{planted('docker')}@registry\n{GATE_LOG}")
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return fake


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    made = FakeCluster()
    yield made
    made.hangs.set()


@pytest.fixture
def scene(plan: Any, cluster: Any, docker: Program) -> Scene:
    releases = {
        role: Release(role.release, role.namespace, (Path("production.yaml"), Path("scaled.yaml")))
        for role in (STUDENT, AUTHORING)
    }
    running: Any = SimpleNamespace(
        plan=plan,
        chart=None,
        helm=SimpleNamespace(template=rendered),
        releases=releases,
        objects={role: rendered(None, release) for role, release in releases.items()},
        database=SimpleNamespace(tables=tables),
        student=hub(STUDENT),
        authoring=hub(AUTHORING),
    )
    return Scene(plan, cluster, running)


def journey() -> Any:
    hop = Hop(
        f"/hub/login?token={planted('hop')}",
        302,
        f"/x?code={planted('location')}",
        0.1,
        request_headers=(("Cookie", f"_xsrf={planted('sent')}"), ("Authorization", f"token {planted('bearer')}")),
        response_headers=(("Set-Cookie", f"jupyterhub-hub-login={planted('set')}; Path=/hub/"),),
    )
    return SimpleNamespace(name="7c1e", hub=SimpleNamespace(url="http://hub"), journey=Journey([hop]))


@pytest.fixture
def likely(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Sets the likely cause."""

    def likely(cause: str | None) -> None:
        monkeypatch.setattr(bundle, "likely_cause", lambda *_, **__: cause)

    likely(None)
    return likely


def write(scene: Scene, tmp_path: Path, **more: Any) -> tuple[str | None, dict[str, str]]:
    into = tmp_path / "evidence"
    into.mkdir()
    failure = f"test_a: expected 200, found 500\nand token={PASSWORD}"
    cause = bundle.write(scene, into, failure, since=0.0, **more)
    return cause, files(into)


def files(into: Path) -> dict[str, str]:
    return {
        str(file.relative_to(into)): file.read_bytes().decode(errors="replace")
        for file in into.rglob("*")
        if file.is_file()
    }


@pytest.mark.usefixtures("likely")
class TestWrite:
    def test_everything_is_there(self, scene: Scene, tmp_path: Path) -> None:
        extra = {"journeys.har": har.archive([journey()]), "timeline.txt": f"0.0 s token={planted('timeline')}"}
        _, found = write(scene, tmp_path, extra=extra, browser=SimpleNamespace(driver=Driver()))
        assert {
            *("index.txt", "failure.txt", "journeys.har", "timeline.txt", "page.html", "screen.png"),
            *("pods.txt", "pods.yaml", "events.txt", "nodes.yaml", "containers.txt"),
            *("hubs.json", "tables.txt", "values.yaml", "values.diff"),
            *("logs/jupyter.hub-1.hub.log", "logs/jupyter.hub-1.hub-before.log"),
            *(f"logs/{service}.log" for service in ("registry", "moto", "postgres", "keycloak")),
        } == set(found)
        assert found["logs/jupyter.hub-1.hub-before.log"].endswith("F crashed\n\n")
        assert found["logs/jupyter.hub-1.hub.log"].rstrip().endswith("F connecting with [redacted]")
        assert found["pods.txt"].startswith("get pods --output=wide --all-namespaces\n")

    def test_a_hub_that_a_test_has_for_itself(self, scene: Scene, tmp_path: Path) -> None:
        _, found = write(dataclasses.replace(scene, beside=(hub(SCALED),)), tmp_path)
        assert json.loads(found["hubs.json"])["jupyterhub-scaled"]["users"][0]["name"] == "7c1e"
        assert "jupyterhub-scaled\njupyterhub_scaled: 3 tables" in found["tables.txt"]

    def test_the_metrics_of_its_minutes(self, scene: Scene, tmp_path: Path) -> None:
        asked: list[tuple[float, float]] = []

        def series(expression: str, start: float, end: float, step: float) -> list[Series]:
            asked.append((start, end))
            return [Series({"namespace": "jupyter", "course": "a"}, ((start, 1.0), (end, 2.0)))]

        monitoring: Any = SimpleNamespace(series=series)
        began = time.time() - 10
        plan: Any = SimpleNamespace(**vars(scene.plan), hubs=HUBS)
        monitored = dataclasses.replace(scene, plan=plan, monitoring=monitoring)
        bundle.write(monitored, tmp_path, "it failed", since=began)
        assert "jupyter: a: 1 at first, 2 at last" in (tmp_path / "metrics.txt").read_text()
        titles = [graph["title"] for graph in json.loads((tmp_path / "metrics.json").read_text())]
        assert titles == [each.title for each in PANELS]
        assert {start for start, _ in asked} == {began - bundle.MINUTES_BEFORE}

    def test_no_secret_is_in_it(self, scene: Scene, tmp_path: Path) -> None:
        extra = {"journeys.har": har.archive([journey()]), "timeline.txt": f"0.0 s token={planted('timeline')}"}
        _, found = write(scene, tmp_path, extra=extra, browser=SimpleNamespace(driver=Driver()))
        shown = [(name, secret) for name, text in found.items() for secret in PLANTED if secret in text]
        assert not shown
        assert len(PLANTED) > 20

    def test_what_is_json_stays_json(self, scene: Scene, tmp_path: Path) -> None:
        _, found = write(scene, tmp_path, extra={"journeys.har": har.archive([journey()])})
        assert json.loads(found["journeys.har"])["log"]["entries"]
        hubs = json.loads(found["hubs.json"])
        assert hubs["jupyterhub"]["users"][0]["servers"][""]["user_options"] == {"course": "a"}
        assert hubs["jupyterhub"]["routes"]["/user/7c1e/"]["target"] == "http://10.0.0.1:8888"
        assert hubs["jupyterhub-authoring"]["users"].startswith("cannot be read: Server error '503")

    def test_the_index_has_the_failure_first(self, scene: Scene, tmp_path: Path) -> None:
        _, found = write(scene, tmp_path)
        lines = found["index.txt"].splitlines()
        assert lines[:3] == ["test_a: expected 200, found 500", "Likely cause: none is named", ""]
        assert "pods.yaml         their specs and statuses" in lines
        assert found["failure.txt"].splitlines()[1] == "and token=[redacted]"

    def test_the_likely_cause(self, scene: Scene, tmp_path: Path, likely: Callable[[str | None], None]) -> None:
        likely(f"the hub: no login with {PASSWORD}")
        cause, found = write(scene, tmp_path)
        assert cause == "the hub: no login with [redacted]"
        assert found["index.txt"].splitlines()[1] == "Likely cause: the hub: no login with [redacted]"

    def test_values_are_told_from_productions(self, scene: Scene, tmp_path: Path) -> None:
        _, found = write(scene, tmp_path)
        lines = found["values.diff"].splitlines()
        assert lines[:2] == ["--- jupyterhub in production", "+++ jupyterhub here"]
        assert "+    guarantee: 128M" in lines
        assert "+  secretToken: '[redacted]'" in lines
        assert not [line for line in lines if line.startswith("-") and not line.startswith("---")]
        both = list(yaml.safe_load_all(found["values.yaml"]))
        assert [each["singleuser"]["startTimeout"] for each in both] == [600, 600]

    def test_values_are_rendered_once(self, scene: Scene, tmp_path: Path) -> None:
        calls: list[Release] = []
        running: Any = scene.running

        def template(chart: object, release: Release) -> list[dict[str, Any]]:
            calls.append(release)
            return rendered(chart, release)

        running.helm.template = template
        for number in range(2):
            (tmp_path / str(number)).mkdir()
            write(scene, tmp_path / str(number))
        assert len(calls) == 2, "what runs here is rendered already"

    def test_what_cannot_be_had_leaves_its_reason(
        self, scene: Scene, cluster: FakeCluster, docker: Program, tmp_path: Path
    ) -> None:
        cluster.error = CommandError(f"kubectl get pods: exit code 1, token={PASSWORD}")
        docker.path.with_name("logs").unlink()
        _, found = write(scene, tmp_path)
        assert found["pods.txt"] == "cannot be read: kubectl get pods: exit code 1, token=[redacted]\n"
        assert found["logs/jh-1-worker.txt"].startswith("cannot be read: docker exec: exit code 1")
        assert "hubs.json" in found
        assert "pods.txt          all pods, and where they run: cannot be read: kubectl get pods" in found["index.txt"]

    def test_an_error_that_nobody_thought_of_costs_one_source_only(self, scene: Scene, tmp_path: Path) -> None:
        running: Any = scene.running
        running.database = None
        _, found = write(scene, tmp_path)
        assert found["tables.txt"].startswith("cannot be read: 'NoneType' object has no attribute")
        assert "values.yaml" in found

    def test_what_hangs_is_not_waited_for(
        self, scene: Scene, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundle, "LIMIT", 0.3)
        monkeypatch.setattr(bundle, "AT_ONCE", 12)
        cluster.hangs.clear()
        started = time.monotonic()
        _, found = write(scene, tmp_path)
        assert time.monotonic() - started < bundle.LOOK_TIMEOUT / 2
        assert found["events.txt"] == "cannot be read within 0 s\n"
        assert "containers.txt" in found


def test_a_window_that_is_gone(scene: Scene, tmp_path: Path, likely: Callable[[str | None], None]) -> None:
    class Gone:
        @property
        def page_source(self) -> str:
            raise OSError("no window")

        def get_screenshot_as_png(self) -> bytes:
            raise OSError("no window")

    _, found = write(scene, tmp_path, browser=SimpleNamespace(driver=Gone()))
    assert found["screen.txt"] == found["page.txt"] == "cannot be read: no window\n"


@pytest.mark.usefixtures("likely", "docker")
def test_of_a_boot_that_failed_the_cluster_and_its_nodes(plan: Any, cluster: Any, tmp_path: Path) -> None:
    into = tmp_path / "evidence"
    into.mkdir()
    bundle.write_boot(bundle.Scene(plan, cluster), into, "no answer", since=0.0, extra={"timeline.txt": "it began"})
    found = files(into)
    assert found["timeline.txt"] == "it began"
    assert not {"hubs.json", "tables.txt", "values.diff"} & set(found)
    nodes = {name: text for name, text in found.items() if name.startswith("nodes/")}
    assert set(nodes) == {f"nodes/{node}.kubelet.log" for node in cluster.nodes} | {"nodes/missing.txt"}
    assert nodes["nodes/missing.txt"] == "kind export logs: still running after 30 s, killed.\n"
    assert max(map(len, nodes.values())) <= bundle.LARGEST
    assert not [(name, secret) for name, text in found.items() for secret in PLANTED if secret in text]
    assert found["index.txt"].splitlines()[-1].startswith("nodes/ ")
