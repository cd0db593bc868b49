"""Hosts by their real names, each on a loopback port of a run: for this run's clients and browser, and for no other.

Addresses are as in production, without a port in any of them; Host and SNI are those that a real client sends.
"""

from __future__ import annotations

import ssl
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

import httpx
from tornado.netutil import OverrideResolver, Resolver

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Names:
    """The hosts that a run plays, and the authority that their certificates come from.

    Attributes:
        places: host:port on loopback, by a host's name and port; another port when a container starts again.
        authority: certificate of the authority, as a file; None for hosts without TLS.
    """

    places: MutableMapping[tuple[str, int], str]
    authority: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a client's TLS, with trust in the run's own authority and in no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.authority:
            context.load_verify_locations(self.authority)
        return context

    def transport(self) -> httpx.BaseTransport:
        """Return httpx's way to these hosts, for one client."""
        return _Transport(self)

    def resolver(self) -> Resolver:
        """Return tornado's way to these hosts."""
        found: Resolver = OverrideResolver(Resolver(), {known: self.place(*known) for known in self.places})
        return found

    @property
    def chromium_rules(self) -> str:
        """Value of Chromium's --host-resolver-rules: these hosts, loopback, and nothing else."""
        maps = [f"MAP {host}:{port} {place}" for (host, port), place in self.places.items()]
        return ", ".join([*maps, "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"])

    def place(self, host: str, port: int) -> tuple[str, int]:
        """Return the loopback address of a host.

        Raises:
            LookupError: the run plays no such host: the real one is never asked.
        """
        if (host, port) not in self.places:
            raise LookupError(f"{host}:{port} is no host of this run")
        address, _, number = self.places[host, port].rpartition(":")
        return address, int(number)


class _Transport(httpx.BaseTransport):
    """A way to hosts by their names, with a connection for each request.

    One that is kept would be used for another's name, and end under a request when a gate's calendar moves.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self._way = httpx.HTTPTransport(verify=names.context(), limits=httpx.Limits(max_keepalive_connections=0))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        try:
            address, port = self._names.place(url.host, url.port or PORTS[url.scheme])
        except LookupError as error:
            raise httpx.ConnectError(str(error), request=request) from None
        there = httpx.Request(
            request.method,
            url.copy_with(host=address, port=port),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": url.host},
        )
        return self._way.handle_request(there)

    def close(self) -> None:
        self._way.close()
