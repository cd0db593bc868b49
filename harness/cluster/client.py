"""Kubernetes' client, with a limit for each call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError

API_TIMEOUT = 30.0
"""Seconds for one call of the API server, where the caller gives no others."""


class NoAnswerError(HarnessError, HTTPError):
    """The API server did not answer a call; the message names the call."""


class BoundedApiClient(client.ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """Give every call a limit, and name the call that reached it; Kubernetes' own client does neither."""

    def call_api(self, method: str, url: str, *args: Any, _request_timeout: float | None = None, **kwargs: Any) -> Any:
        limit = _request_timeout or API_TIMEOUT
        try:
            return super().call_api(method, url, *args, _request_timeout=limit, **kwargs)
        except HTTPError as error:
            path = url.removeprefix(self.configuration.host).partition("?")[0]
            raise NoAnswerError(f"{method} {path}: no answer of the API server within {limit:g} s: {error}") from error


def connect(kubeconfig: Path) -> BoundedApiClient:
    """Return a client of the cluster of a kubeconfig."""
    configuration = client.Configuration()
    # A call without an answer is not repeated behind the caller's back.
    configuration.retries = False
    config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    return BoundedApiClient(configuration)
