"""A learner who comes through the gate: the login at Keycloak, and the way back to the page that was asked for."""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from harness.base.names import Names
from harness.base.timeline import Timeline
from harness.hub.api import Hub
from harness.people.journey import MAX_HOPS, SPAWNING_PATHS, JourneyError, Page, ServerProbe
from harness.people.student import Student
from harness.plan.contract import SSO_HOST
from harness.services.keycloak import Account

LOGIN_TIMEOUT = 120.0
"""Seconds for the answer to a login form: a class that logs in together waits for the hashes of its passwords."""
_FORM = re.compile(r'<form[^>]*\bid="kc-form-login"[^>]*\baction="([^"]+)"')
_WORDS = re.compile(
    r'(?:id="(?:input-error[\w-]*|kc-error-message)"|class="[^"]*\bkc-feedback-text\b[^"]*")[^>]*>(.*?)</', re.DOTALL
)
"""Places of Keycloak's words in its own theme (keycloak.v2): beside a field, on an error's page, above the form."""


class Learner(Student):
    """A visitor of a hub behind the gate.

    Args:
        hub: as it is reached through the gate, by its name.
        names: the way to the gate and to Keycloak.
        account: to log in with; None for a person who has none.
    """

    role = "learner"

    def __init__(
        self,
        hub: Hub,
        names: Names,
        account: Account | None,
        server_probe: ServerProbe,
        timeline: Timeline | None = None,
    ) -> None:
        super().__init__(hub, server_probe, timeline, names=names)
        self.account = account

    def open(self, link: str) -> Page:
        """Follow a link, log in where Keycloak asks for it, and go on to the page at the end.

        Raises:
            SpawnError, JourneyError: as Student.open; or the login is refused, with Keycloak's words.
        """
        parts = urlsplit(link)
        expects_server = parts.path in SPAWNING_PATHS and "course" in parse_qs(parts.query)
        return self._arrive(link, self.log_in(self.go_to_login(link)), expects_server)

    def go_to_login(self, link: str) -> httpx.Response:
        """Follow a link as far as the gate and Keycloak lead: to the login form, or to the first answer of the hub."""
        return self.follow(self.get(link))

    def log_in(self, page: httpx.Response) -> httpx.Response:
        """Fill in the login form and go on to the hub's first answer; a page that is no form is returned as it is.

        Raises:
            JourneyError: Keycloak refuses the login.
        """
        if not login_form(page):
            return page
        answer = self.follow(self.submit(page))
        if not self._at_hub(answer.request.url):
            who = self.account.name if self.account else "no one"
            raise JourneyError(f"Keycloak refuses the login of {who}: {words(answer)}\n{self.journey}")
        return answer

    def submit(self, page: httpx.Response, account: Account | None = None) -> httpx.Response:
        """Send a login form, and return the answer to it.

        Raises:
            JourneyError: the page has no form, or nobody is there to log in.
        """
        form, person = login_form(page), account or self.account
        if not form or not person:
            found = f"{page.status_code} {page.request.url.copy_with(query=None)}: {words(page)}"
            raise JourneyError(f"Expected the login form of Keycloak, found {found}\n{self.journey}")
        fields = {"username": person.name, "password": person.password, "credentialId": ""}
        return self.request("POST", form, data=fields, timeout=LOGIN_TIMEOUT)

    def follow(self, answer: httpx.Response) -> httpx.Response:
        """Follow redirects from an answer on, until one of the hub's own or to a page."""
        for _ in range(MAX_HOPS):
            following = answer.next_request
            if not following or (self._at_hub(answer.request.url) and self._at_hub(following.url)):
                return answer
            answer = self.get(str(following.url))
        raise JourneyError(f"The login has no end: {MAX_HOPS} hops\n{self.journey}")

    def _at_hub(self, url: httpx.URL) -> bool:
        return str(url).startswith(f"{self.hub.url}/")


def login_form(page: httpx.Response) -> str:
    """Return the address to which a page's login form is sent; empty for a page without one."""
    found = _FORM.search(page.text) if page.is_success else None
    return html.unescape(found[1]) if found else ""


def at_login(answer: httpx.Response) -> bool:
    """Return True if an answer sends to Keycloak."""
    return answer.is_redirect and urlsplit(answer.headers["location"]).hostname == SSO_HOST


def leads_to(answer: httpx.Response) -> str:
    """Return the address to which an answer sends, letter for letter; "nowhere" for one that sends nowhere.

    A gate may leave out its own host there: lua-resty-openidc, in APISIX, sends the path and query that it kept.
    """
    location = answer.headers.get("location")
    return urljoin(str(answer.request.url), location) if location else "nowhere"


def words(page: httpx.Response) -> str:
    """Return what Keycloak's page tells the person, on one line."""
    found = _WORDS.search(page.text)
    text = re.sub(r"<[^>]+>", " ", found[1]) if found else ""
    return html.unescape(" ".join(text.split())) or f"status {page.status_code}"
