"""HTTP client for what a run has started: without a proxy, and with time-outs that name the request."""

from __future__ import annotations

import ssl
from http.cookiejar import Cookie, CookieJar
from typing import Any

import httpx

LOOPBACK = ("127.0.0.1", "localhost.local")
"""Domains of cookies from this machine, as http.cookiejar has them."""


class LoopbackJar(CookieJar):
    """The cookies of a client to which loopback is a secure place without TLS too, as it is to a browser.

    httpx copies the cookies for each request, and leaves a jar's policy behind: what it keeps has to be right.
    """

    def set_cookie(self, cookie: Cookie) -> None:
        """Keep a cookie; one of loopback that is Secure goes to loopback by http too."""
        cookie.secure = cookie.secure and cookie.domain not in LOOPBACK
        super().set_cookie(cookie)


class Client(httpx.Client):
    """A client of httpx for the run's own addresses, without TLS; httpx's own message for a time-out is "timed out"."""

    def __init__(self, **kwargs: Any) -> None:
        # Reading certificates that are not needed costs a tenth of a second of CPU, for each student. The caller's
        # environment has proxies and passwords (.netrc) for others.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(verify=context, trust_env=False, cookies=LoopbackJar(), **kwargs)

    def send(self, request: httpx.Request, **kwargs: Any) -> httpx.Response:
        """Send a request.

        Raises:
            httpx.TimeoutException: no answer in time; the message has method, host and path, and the limit.
        """
        try:
            return super().send(request, **kwargs)
        except httpx.TimeoutException as error:
            # Not the query: there may be a token in it.
            place = f"{request.method} {request.url.netloc.decode()}{request.url.path}"
            seconds = request.extensions.get("timeout", {}).get("read")
            limit = f" within {seconds:g} s" if seconds else ""
            raise type(error)(f"{place}: no answer{limit}", request=request) from error


def get(url: str, *, timeout: float = 30, **kwargs: Any) -> httpx.Response:
    """Ask for a URL once, without cookies or credentials.

    Args:
        timeout: seconds.
        kwargs: as httpx's own takes them.

    Raises:
        httpx.TimeoutException: as `Client.send`.
        httpx.TransportError: nothing answers there.
    """
    with Client(timeout=timeout) as client:
        return client.get(url, **kwargs)
