"""Evidence: where it is kept, and that no secret is in it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.evidence import redaction
from harness.evidence import store as evidence

PASSWORD = "5eed" * 16
LOGIN = base64.b64encode(b"AWS:open-sesame").decode()


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
            ('"Cookie": "jupyterhub-session-id=abc", "Host": "x"', '"Cookie": "[redacted]", "Host": "x"'),
            ("{'Cookie': '_xsrf=\"a b\"; x=y', 'Host': 'x'}", "{'Cookie': '[redacted]', 'Host': 'x'}"),
            ("jupyterhub-user-7c1e=abc; Path=/user/7c1e/", "jupyterhub-user-7c1e=[redacted]; Path=/user/7c1e/"),
            ("signed 2|1:0|10:1792000000|9:username|4:YWJj|0f0e here", "signed [redacted] here"),
            ("/hub/oauth_callback?code=a.b-c&state=eyJ1", "/hub/oauth_callback?code=[redacted]&state=[redacted]"),
            ('href="/x?a=b&amp;state=ey%3D1"', 'href="/x?a=b&amp;state=[redacted]"'),
            ("/login?next=%2Fcb%3Fcode%3Dabc%26y%3Dz", "/login?next=%2Fcb%3Fcode%3D[redacted]%26y%3Dz"),
            ("/login?next=%252Fcb%253Fstate%253Dabc%2526y", "/login?next=%252Fcb%253Fstate%253D[redacted]%2526y"),
            ("postgresql://hub:p%40ss@db:5432/hub", "postgresql://hub:[redacted]@db:5432/hub"),
            ("redis://:p4ss@cache:6379/0", "redis://:[redacted]@cache:6379/0"),
            ("helm registry login --auth-token a1b2 --debug", "helm registry login --auth-token [redacted] --debug"),
            ("['login', '--auth-token', 'a1b2', '--debug']", "['login', '--auth-token', '[redacted]', '--debug']"),
            ('["--auth-token",\n "a1b2", "--debug"]', '["--auth-token",\n "[redacted]", "--debug"]'),
            ("- --auth-token\n- a1b2\n- --debug", "- --auth-token\n- [redacted]\n- --debug"),
            ("psql --password='a1b2'", "psql --password='[redacted]'"),
            ('"password": "p@ss w, rd"', '"password": "[redacted]"'),
            ("client_secret = 'abc'", "client_secret = '[redacted]'"),
            ('{\\"token\\": \\"abc def\\"}', '{\\"token\\": \\"[redacted]\\"}'),
            ('{"auths": {"ecr": {"auth": "QVdTOng="}}}', '{"auths": {"ecr": {"auth": "[redacted]"}}}'),
            ("sent Basic QVdTOnBhc3N3b3Jk to ecr", "sent Basic [redacted] to ecr"),
            ('<input type="hidden" name="_xsrf" value="2|a">', '<input type="hidden" name="_xsrf" value="[redacted]">'),
            ("<input value='2|a' name='_xsrf'>", "<input value='[redacted]' name='_xsrf'>"),
            ('jhdata = { xsrf_token: "MnwxO" }', 'jhdata = { xsrf_token: "[redacted]" }'),
            ('{"name": "JPY_API_TOKEN", "value": "abc"}', '{"name": "JPY_API_TOKEN", "value": "[redacted]"}'),
            ("eyJhbGciOiJSUzI1.eyJpc3MiOiJr.sig-1 mounted", "[redacted] mounted"),
            (
                "- name: JUPYTERHUB_API_TOKEN\n      value: abc\n    - name: USER\n      value: 7c1e",
                "- name: JUPYTERHUB_API_TOKEN\n      value: [redacted]\n    - name: USER\n      value: 7c1e",
            ),
            ("- name: DATABASE_URL\n  value: postgresql://a:b@c/d", "- name: DATABASE_URL\n  value: [redacted]"),
        ],
    )
    def test_secrets(self, text: str, shown: str) -> None:
        assert redaction.redact(text, [PASSWORD]) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "the token was refused: expired yesterday",
            "Cookie secret loaded from environment",
            "image registry.example/courses@sha256:" + "ab" * 32,
            "- serviceAccountToken:\n    expirationSeconds: 3607",
            "- name: JUPYTERHUB_API_URL\n  value: http://hub:8081/hub/api",
            "pod jupyter-1: container notebook: ImagePullBackOff",
            'MountVolume.SetUp failed: secret "jupyterhub-db-creds" not found',
            "references non-existent secret key: DATABASE_URL",
            "  - secret:\n      secretName: hub",
            "GET /tmplogin?course=clustering&notebook=a%26b.ipynb -> /hub/spawn?course=clustering",
            "Basic authentication was refused",
            "--cookie-secret-file /srv/secret --debug, and --no-password --debug",
            "jupyterhub-authoring-db-creds",
        ],
    )
    def test_what_a_person_needs_stays(self, text: str) -> None:
        assert redaction.redact(text, [PASSWORD]) == text


class TestScrub:
    def test_values(self) -> None:
        given: Any = {
            "hub": {
                "cookieSecret": "abc",
                "config": {"CryptKeeper": {"keys": ["a", "b"]}, "JupyterHub": {"cookie_max_age_days": 1}},
                "db": {"password": "", "existingSecret": "there"},
                "services": {"harness": {"apiToken": "abc"}},
                "extraEnv": [
                    {"name": "API_TOKEN", "value": "abc"},
                    {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "DATABASE_URL"}}},
                    {"name": "USER", "value": "me"},
                ],
            },
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": "ecr"}],
        }
        shown = redaction.scrub(given)
        hub = shown.pop("hub")
        assert shown == {"automountServiceAccountToken": False, "imagePullSecrets": [{"name": "ecr"}]}
        assert hub["cookieSecret"] == hub["services"]["harness"]["apiToken"] == "[redacted]"
        assert hub["config"] == {"CryptKeeper": {"keys": "[redacted]"}, "JupyterHub": {"cookie_max_age_days": 1}}
        assert hub["db"] == {"password": "[redacted]", "existingSecret": "there"}
        assert hub["extraEnv"][0]["value"] == "[redacted]"
        assert hub["extraEnv"][1:] == given["hub"]["extraEnv"][1:]

    def test_what_is_given_stays_as_it_is(self) -> None:
        given = {"token": "abc"}
        redaction.scrub(given)
        assert given == {"token": "abc"}


class TestKeep:
    @pytest.fixture
    def plan(self, tmp_path: Path) -> Any:
        """A plan of a run with a password, and with a registry that a login opens."""
        (tmp_path / "secrets.json").write_text(json.dumps({"database": PASSWORD}))
        hosts = tmp_path / "certs.d/ecr.example/hosts.toml"
        hosts.parent.mkdir(parents=True)
        hosts.write_text(f'[host."x".header]\n  Authorization = ["Basic {LOGIN}"]\n')
        return SimpleNamespace(secrets=tmp_path / "secrets.json", state=tmp_path)

    def test_the_runs_own_secrets_are_black(self, plan: Any, tmp_path: Path) -> None:
        file = tmp_path / "logs/hub.log"
        evidence.keep(plan, file, f"{PASSWORD}, {LOGIN}, open-sesame, and \udcff")
        assert file.read_text() == "[redacted], [redacted], [redacted], and ?"

    def test_after_the_teardown_there_are_none(self, tmp_path: Path) -> None:
        plan: Any = SimpleNamespace(secrets=tmp_path / "gone/secrets.json", state=tmp_path / "gone")
        evidence.keep(plan, tmp_path / "a.txt", "as it is")
        assert (tmp_path / "a.txt").read_text() == "as it is"


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
