"""Journeys as a HAR file."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from harness.evidence import har
from harness.evidence.redaction import redact
from harness.people.journey import Hop, Journey

SECRET = "s3cr3t-value"
HOPS = [
    Hop(
        f"/hub/oauth_callback?code={SECRET}&state={SECRET}&course=a%26b",
        302,
        f"/user/7c1e/?token={SECRET}&course=a%26b",
        0.25,
        at=1792000000.5,
        method="POST",
        request_headers=(
            ("Host", "hub"),
            ("Cookie", f"jupyterhub-session-id={SECRET}; _xsrf={SECRET}"),
            ("Authorization", f"token {SECRET}"),
            ("X-XSRFToken", SECRET),
            ("Referer", f"http://hub/hub/login?_xsrf={SECRET}"),
        ),
        response_headers=(
            ("Content-Type", "text/html"),
            ("Set-Cookie", f"jupyterhub-hub-login={SECRET}; HttpOnly; Path=/hub/"),
        ),
        size=42,
    ),
    Hop("/user/7c1e/tree", 599, None, 0.5),
]


def student(name: str, *hops: Hop) -> Any:
    return SimpleNamespace(name=name, hub=SimpleNamespace(url="http://hub"), journey=Journey(list(hops), ["Pulling"]))


def archived(*students: Any) -> dict[str, Any]:
    log: dict[str, Any] = json.loads(har.archive(students))["log"]
    return log


def test_form() -> None:
    """What HAR 1.2 asks for is there (http://www.softwareishard.com/blog/har-12-spec/)."""
    log = archived(student("7c1e", *HOPS))
    assert (log["version"], set(log["creator"])) == ("1.2", {"name", "version"})
    assert {"startedDateTime", "id", "title", "pageTimings"} <= set(log["pages"][0])
    request = {"method", "url", "httpVersion", "cookies", "headers", "queryString", "headersSize", "bodySize"}
    answer = {"status", "statusText", "httpVersion", "cookies", "headers", "content", "redirectURL"}
    for entry in log["entries"]:
        assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= set(entry)
        assert set(entry["request"]) == request
        assert set(entry["response"]) == answer | {"headersSize", "bodySize"}
        assert set(entry["timings"]) == {"send", "wait", "receive"}
        assert entry["pageref"] == log["pages"][0]["id"]


def test_hop() -> None:
    entry, last = archived(student("7c1e", *HOPS))["entries"]
    assert entry["startedDateTime"] == "2026-10-14T17:46:40.500+00:00"
    assert entry["time"] == 250
    assert entry["request"]["method"] == "POST"
    assert entry["request"]["url"] == "http://hub/hub/oauth_callback?code=[redacted]&state=[redacted]&course=a%26b"
    assert entry["request"]["queryString"][2] == {"name": "course", "value": "a&b"}
    assert entry["response"]["redirectURL"] == "/user/7c1e/?token=[redacted]&course=a%26b"
    assert entry["response"]["content"] == {"size": 42, "mimeType": "text/html"}
    assert (entry["response"]["statusText"], last["response"]["statusText"]) == ("Found", "")


def test_of_cookies_the_names_stay() -> None:
    entry = archived(student("7c1e", *HOPS))["entries"][0]
    headers = {each["name"]: each["value"] for part in ("request", "response") for each in entry[part]["headers"]}
    assert headers["Cookie"] == "jupyterhub-session-id=[redacted]; _xsrf=[redacted]"
    assert headers["Set-Cookie"] == "jupyterhub-hub-login=[redacted]; HttpOnly; Path=/hub/"
    assert [each["name"] for each in entry["request"]["cookies"]] == ["jupyterhub-session-id", "_xsrf"]
    assert [each["name"] for each in entry["response"]["cookies"]] == ["jupyterhub-hub-login"]


def test_no_secret_is_in_it() -> None:
    assert SECRET not in har.archive([student("7c1e", *HOPS)])


def test_it_is_still_json_when_it_is_kept() -> None:
    text = har.archive([student("7c1e", *HOPS)])
    assert json.loads(redact(text, [])) == json.loads(text)


def test_a_page_for_each_student() -> None:
    log = archived(student("", HOPS[1]), student("7c1e"))
    assert [page["title"] for page in log["pages"]] == ["no user yet", "7c1e"]
    assert log["pages"][0]["comment"] == "Pulling"
    assert [entry["pageref"] for entry in log["entries"]] == [log["pages"][0]["id"]]
