"""Journeys as a HAR file, which any browser's developer tools open (HTTP Archive 1.2).

The names and attributes of cookies stay, because a person looks for the requests that have them; their values do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from harness.evidence.redaction import HIDDEN, redact
from harness.people.journey import Hop
from harness.people.student import Student

SECRET_HEADERS = ("authorization", "proxy-authorization", "x-xsrftoken")
SECRET_PARAMETERS = ("token", "code", "state", "_xsrf")
UNKNOWN = -1
"""HAR's value for a number that was not measured."""


def archive(students: Iterable[Student]) -> str:
    """Return students' journeys as the text of a HAR file: a page a student, an entry a hop, no secrets."""
    pages, entries = [], []
    for number, student in enumerate(students, 1):
        hops = student.journey.hops
        page = {
            "startedDateTime": _when(hops[0].at if hops else 0.0),
            "id": f"journey-{number}",
            "title": student.name or "no user yet",
            "pageTimings": {},
            "comment": redact(" | ".join(student.journey.progress), ()),
        }
        pages.append(page)
        entries += [_entry(student.hub.url, hop, f"journey-{number}") for hop in hops]
    creator = {"name": "ol-jupyterhub-harness", "version": "1"}
    return json.dumps({"log": {"version": "1.2", "creator": creator, "pages": pages, "entries": entries}}, indent=1)


def _entry(base: str, hop: Hop, page: str) -> dict[str, Any]:
    url = redact(hop.url if "://" in hop.url.partition("?")[0] else base + hop.url, ())
    query = parse_qsl(urlsplit(hop.url).query, keep_blank_values=True)
    request = {
        "method": hop.method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [{"name": name, "value": HIDDEN} for name in _names(hop.request_headers)],
        "headers": _headers(hop.request_headers),
        "queryString": [
            {"name": name, "value": HIDDEN if name in SECRET_PARAMETERS else redact(value, ())} for name, value in query
        ],
        "headersSize": UNKNOWN,
        "bodySize": UNKNOWN,
    }
    types = [value for name, value in hop.response_headers if name.lower() == "content-type"]
    response = {
        "status": hop.status,
        "statusText": HTTPStatus(hop.status).phrase if hop.status in list(HTTPStatus) else "",
        "httpVersion": "HTTP/1.1",
        "cookies": [
            {"name": value.partition("=")[0], "value": HIDDEN}
            for name, value in hop.response_headers
            if name.lower() == "set-cookie"
        ],
        "headers": _headers(hop.response_headers),
        "content": {"size": hop.size, "mimeType": types[0] if types else "x-unknown"},
        "redirectURL": redact(hop.location or "", ()),
        "headersSize": UNKNOWN,
        "bodySize": hop.size,
    }
    return {
        "pageref": page,
        "startedDateTime": _when(hop.at),
        "time": 1000 * hop.seconds,
        "request": request,
        "response": response,
        "cache": {},
        "timings": {"send": 0, "wait": 1000 * hop.seconds, "receive": 0},
    }


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _headers(headers: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": _shown(name.lower(), value)} for name, value in headers]


def _shown(name: str, value: str) -> str:
    if name in SECRET_HEADERS:
        return HIDDEN
    if name == "cookie":
        return "; ".join(f"{each}={HIDDEN}" for each in _cookies(value))
    if name == "set-cookie":
        return re.sub(r"^([^=;]+)=[^;]*", rf"\1={HIDDEN}", value)
    return redact(value, ())


def _names(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in headers:
        if name.lower() == "cookie":
            yield from _cookies(value)


def _cookies(header: str) -> list[str]:
    """Return the names of the cookies in a request's header."""
    return [pair.partition("=")[0].strip() for pair in header.split(";") if pair.strip()]
