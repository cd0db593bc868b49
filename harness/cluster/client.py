"""Kubernetes' client, with a limit for each call."""

from __future__ import annotations

from typing import Any

from kubernetes import client
from urllib3.exceptions import HTTPError

from harness.base.errors import HarnessError

API_TIMEOUT = 30.0
"""Seconds for one call of the API server, where the caller gives no others."""


class NoAnswerError(HarnessError, HTTPError):
    """The API server did not answer a call; the message names it."""


class _Bounded(client.ApiClient):  # type: ignore[misc]  # kubernetes has no types
    """Kubernetes' client, whose calls have no limit of their own and, where one is given, do not say whose it was."""

    def call_api(self, method: str, url: str, *args: Any, _request_timeout: float | None = None, **kwargs: Any) -> Any:
        limit = _request_timeout or API_TIMEOUT
        try:
            return super().call_api(method, url, *args, _request_timeout=limit, **kwargs)
        except HTTPError as error:
            path = url.removeprefix(self.configuration.host).partition("?")[0]
            raise NoAnswerError(f"{method} {path}: no answer of the API server within {limit:g} s: {error}") from error
