"""AWS: clients that reach moto, with nothing of the caller's own account."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from harness.services.aws import Aws

ENDPOINT = "http://127.0.0.1:9"


@pytest.fixture
def aws() -> Aws:
    aws = Aws("jh-1", Path())
    vars(aws)["address"] = ENDPOINT.removeprefix("http://")
    return aws


@pytest.fixture(
    params=[
        {},
        {"AWS_PROFILE": "production", "AWS_DEFAULT_PROFILE": "production"},
        {"AWS_ACCESS_KEY_ID": "real", "AWS_SECRET_ACCESS_KEY": "real", "AWS_SESSION_TOKEN": "real"},
        {"AWS_ENDPOINT_URL": "https://aws.example", "AWS_ENDPOINT_URL_S3": "https://s3.example"},
        {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"},
        {"AWS_CONFIG_FILE": "{tmp}/config", "AWS_PROFILE": "production"},
        {"AWS_SHARED_CREDENTIALS_FILE": "{tmp}/config", "AWS_PROFILE": "production"},
        {"AWS_CONFIG_FILE": "{tmp}/broken"},
        {"AWS_SHARED_CREDENTIALS_FILE": "{tmp}/broken"},
    ],
    ids=lambda settings: "+".join(map("=".join, settings.items())) or "nothing",
)
def callers_settings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(
        "[profile production]\nregion = eu-west-1\nendpoint_url = https://aws.example\n"
        "[production]\naws_access_key_id = real\naws_secret_access_key = real\naws_session_token = real\n"
    )
    (tmp_path / "broken").write_text("no settings")
    for name, value in request.param.items():
        monkeypatch.setenv(name, value.format(tmp=tmp_path))


@pytest.mark.usefixtures("callers_settings")
@pytest.mark.parametrize("service", ["ecr", "s3"])
def test_whatever_the_caller_has_set(aws: Aws, service: str) -> None:
    client = getattr(aws, service)
    assert client.meta.endpoint_url == ENDPOINT
    assert client.meta.region_name == "us-east-1"
    keys = client._request_signer._credentials
    assert (keys.access_key, keys.secret_key, keys.token) == ("throwaway", "throwaway", None)


def test_no_proxy_is_asked_for_moto(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, ENDPOINT)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as moto:
        threading.Thread(target=moto.handle_request, daemon=True).start()
        vars(aws)["address"] = f"127.0.0.1:{moto.server_port}"
        # The server's own refusal of a method that it does not know.
        with pytest.raises(ClientError, match="501"):
            aws.s3.list_buckets()
