"""Evidence: the whole deployment's state, and none of its secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import Program
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError

from harness import evidence
from harness.shell import CommandError

PASSWORD = "5eed" * 16


class TestRedact:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            (f"postgresql://jupyterhub:{PASSWORD}@db:5432/hub", "postgresql://jupyterhub:[redacted]@db:5432/hub"),
            ("Authorization: token abcdef0123456789", "Authorization: token [redacted]"),
            ('{"authorization": "Bearer eyJhbGciOi.J9_x-y"}', '{"authorization": "Bearer [redacted]"}'),
            ("authorization: Basic QVdTOnBhc3N3b3Jk==", "authorization: Basic [redacted]"),
            ("GET /hub/api?token=abcdef0123456789 200", "GET /hub/api?token=[redacted] 200"),
            ("GET /progress?_xsrf=2|abc|def0123|17 200", "GET /progress?_xsrf=[redacted] 200"),
            ("Set-Cookie: jupyterhub-user-x=2|1:0|10; Path=/", "Set-Cookie: [redacted]"),
            ('"Cookie": "jupyterhub-session-id=abc"', '"Cookie": [redacted]'),
            (
                "- name: JUPYTERHUB_API_TOKEN\n      value: abc\n    - name: USER\n      value: 7c1e",
                "- name: JUPYTERHUB_API_TOKEN\n      value: [redacted]\n    - name: USER\n      value: 7c1e",
            ),
            ("- name: DATABASE_URL\n  value: postgresql://a:b@c/d", "- name: DATABASE_URL\n  value: [redacted]"),
        ],
    )
    def test_secrets(self, text: str, shown: str) -> None:
        assert evidence.redact(text, [PASSWORD]) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "the token was refused: expired yesterday",
            "Cookie secret loaded from environment",
            "image registry.example/courses@sha256:" + "ab" * 32,
            "- serviceAccountToken:\n    expirationSeconds: 3607",
            "- name: JUPYTERHUB_API_URL\n  value: http://hub:8081/hub/api",
            "pod jupyter-1: container notebook: ImagePullBackOff",
        ],
    )
    def test_what_a_person_needs_stays(self, text: str) -> None:
        assert evidence.redact(text, [PASSWORD]) == text


class FakeCluster:
    """A cluster with one pod, whose every answer has the password in it."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def kubectl(self, *args: str) -> str:
        if self._error:
            raise CommandError(f"kubectl {args[2]}: exit code 1")
        return f"{' '.join(args)} {PASSWORD}"

    def pods(self, namespace: str) -> Any:
        containers = [SimpleNamespace(name="hub"), SimpleNamespace(name="silent")]
        pod = SimpleNamespace(metadata=SimpleNamespace(name="hub-1"), spec=SimpleNamespace(containers=containers))

        def look() -> list[Any]:
            if self._error:
                raise self._error
            return [pod]

        return SimpleNamespace(look=look)

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool = False) -> str:
        return "" if container == "silent" else f"{'crashing' if previous else 'connecting'} with {PASSWORD}"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a run keeps about itself, beside a docker whose containers' logs have the password in them."""
    Program(tmp_path / "bin", "docker", f"echo log of $4, {PASSWORD}")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    state = tmp_path / "state"
    state.mkdir()
    (state / "secrets.json").write_text(json.dumps({"database": PASSWORD}))
    return state


def collected(state: Path, cluster: FakeCluster) -> dict[str, str]:
    into = evidence.directory(state.parent / "evidence", "tests/e2e/test_a.py::test_b[x y]")
    plan: Any = SimpleNamespace(secrets=state / "secrets.json", name="jh-1")
    fake: Any = cluster
    evidence.collect(plan, fake, into)
    return {file.name: file.read_text() for file in into.iterdir()}


class TestCollect:
    def test_everything_is_there(self, state: Path) -> None:
        files = collected(state, FakeCluster())
        hubs = ("jupyterhub", "jupyterhub-authoring")
        kinds = ("pods.txt", "pods.yaml", "events.txt", "hub-1-hub.log", "hub-1-hub-before.log")
        beside = {f"{part}.log" for part in ("registry", "moto", "postgres")}
        assert set(files) == {f"{hub}-{kind}" for hub in hubs for kind in kinds} | beside
        assert files["jupyterhub-pods.yaml"] == "--namespace jupyter get pods --output=yaml [redacted]"
        assert files["jupyterhub-authoring-hub-1-hub.log"] == "connecting with [redacted]"
        assert files["jupyterhub-authoring-hub-1-hub-before.log"] == "crashing with [redacted]"
        assert files["moto.log"] == "log of jh-1-moto, [redacted]\n"

    def test_no_secret_is_in_it(self, state: Path) -> None:
        assert not [name for name, text in collected(state, FakeCluster()).items() if PASSWORD in text]

    @pytest.mark.parametrize("error", [ApiException(503, "gone"), ProtocolError("connection broken")])
    def test_a_cluster_that_is_gone_is_said_and_the_rest_kept(self, state: Path, error: Exception) -> None:
        files = collected(state, FakeCluster(error))
        assert files["jupyterhub-pods.txt"] == "kubectl get: exit code 1"
        assert files["jupyterhub-logs.txt"] == str(error)
        assert "moto.log" in files

    def test_after_teardown(self, state: Path) -> None:
        """A failure in teardown is reported when the run's own files are gone."""
        (state / "secrets.json").unlink()
        assert "moto.log" in collected(state, FakeCluster())


class TestClear:
    def test_what_an_earlier_run_left_of_a_test_goes(self, tmp_path: Path) -> None:
        mine, other = (f"tests/e2e/test_a.py::test_b[/hub/{path}]" for path in ("a", "b"))
        for test in (mine, other):
            (evidence.directory(tmp_path, test) / "deeper").mkdir()
            (evidence.directory(tmp_path, test) / "deeper/failure.txt").touch()
        (tmp_path / "kept.png").touch()
        evidence.clear(tmp_path, mine)
        assert {path.name for path in tmp_path.iterdir()} == {"tests-e2e-test_a.py-test_b-hub-b", "kept.png"}
        assert (evidence.directory(tmp_path, other) / "deeper/failure.txt").exists()
        assert list(evidence.directory(tmp_path, mine).iterdir()) == []

    def test_nothing_was_left(self, tmp_path: Path) -> None:
        evidence.clear(tmp_path / "none", "tests/e2e/test_a.py::test_b")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/e2e/test_a.py::test_b", "tests-e2e-test_a.py-test_b"),
        ("tests/e2e/test_a.py::test_b[/hub/tmplogin]", "tests-e2e-test_a.py-test_b-hub-tmplogin"),
        ("../../etc", "..-..-etc"),
    ],
)
def test_directory(tmp_path: Path, test: str, name: str) -> None:
    (tmp_path / "kept.png").touch()
    for _ in range(2):
        assert evidence.directory(tmp_path, test) == tmp_path / name
        assert (tmp_path / name).is_dir()
