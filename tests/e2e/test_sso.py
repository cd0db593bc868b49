"""The gate: a learner logs in at Keycloak, and ends at the notebook of the link; past it, no one reaches a hub.

Keycloak is real. The gate is Apache with the settings of the owners' APISIX: what it cannot show is not checked. With
published artifacts it is APISIX, of which defects are known that count there alone.
"""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from fixtures.sso import CLASS, GatedHubs, NewLearner
from harness.gate.settings import CALLBACK
from harness.people.browser import Browser
from harness.people.learner import Learner, at_login, leads_to, login_form, words
from harness.people.link import EXAMPLE, Link
from harness.plan.contract import SSO_CLIENT, SSO_HOST
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec
from harness.scenarios.classroom import ClassArrival
from harness.services.keycloak import Account

AMPERSAND = "practice/LogReg_&_CART.ipynb"
NAMES = {
    "blank": "My Notes.ipynb",
    "ampersand": "LogReg_&_CART.ipynb",
    "plus": "C++ and more.ipynb",
    "non-ASCII": "été.ipynb",
    "slash": "Week 2/Deep Trees.ipynb",
    "percent": "100%.ipynb",
}
"""Names of notebooks, by what is unusual about them."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = (
    "/",
    "/tmplogin?course=clustering_and_descriptive_ai",
    "/hub/login",
    "/hub/health",
    "/hub/metrics",
    "/hub/api/",
    "/hub/api/users",
    "/hub/static/css/style.min.css",
    "/user/ada/lab",
    "/user/ada/api/contents",
    "/services/any/",
    "//hub/home",
    "/hub/%2e%2e/hub/home",
    "/.apisix/other",
)
EVIL = "https://evil.example/"
CONTENT = bytes(range(256)) * (50 * 10**6 // 256)
"""Content of a file of 50 MB that a learner takes through the gate."""
CHUNK = 10**6
"""Bytes that JupyterLab uploads at a time."""
PASSING, TOO_LARGE = 16 * 1024, 70 * 1024
"""Bytes of a header that arrives, and of one that the gate refuses."""


def page_of(kind: str) -> str:
    """Return the address of a notebook's page, as people bookmark it: its name is in the path."""
    return f"/user/ada/notebooks/{quote(NAMES[kind])}"


def of_hub(answer: httpx.Response) -> list[str]:
    """Return what an answer has of a hub or of a server behind it."""
    signs = [name for name in answer.headers if name.lower().startswith("x-jupyterhub")]
    signs += [cookie for cookie in answer.headers.get_list("set-cookie") if cookie.startswith(("jupyterhub-", "_xsrf"))]
    return signs + ([f"a page with {found[0]}"] if (found := re.search("(?i)jupyter ?hub|jhdata", answer.text)) else [])


class TestLink:
    def test_anonymous_link_ends_at_its_notebook(self, learner: NewLearner) -> None:
        """A course link that a person without a session opens ends at its very notebook, after the login."""
        person, link = learner(), Link(EXAMPLE.course, AMPERSAND)
        form = person.go_to_login(str(link))
        assert login_form(form), f"{link}: expected Keycloak's login form, found {form.status_code} {words(form)}"
        page = person.open(str(link))
        assert page.path.endswith(f"/notebooks/{AMPERSAND}"), f"{link} ended at {page.path}, not at {AMPERSAND}"
        found = person.server.contents(AMPERSAND)
        assert found.status_code == 200, f"{AMPERSAND} is not there: {found.status_code}"

    @pytest.mark.parametrize(
        "link",
        [
            *(pytest.param(str(Link(EXAMPLE.course, name)), id=kind) for kind, name in NAMES.items()),
            pytest.param(
                page_of("blank"),
                id="page of blank",
                marks=pytest.mark.known_defect_at_apisix(
                    "a page with a blank in its path, opened without a session, ends at Keycloak's 400: the path is "
                    "part of the callback"
                ),
            ),
            pytest.param(
                page_of("non-ASCII"),
                id="page of non-ASCII",
                marks=pytest.mark.known_defect_at_apisix(
                    "a page with a non-ASCII letter in its path, opened without a session, is redirected without an end"
                ),
            ),
        ],
    )
    def test_login_brings_back_to_the_link_as_it_was(self, learner: NewLearner, link: str) -> None:
        """After the login the gate leads to the link letter for letter, whatever is in its notebook's name."""
        person = learner()
        target = leads_to(person.log_in(person.go_to_login(link)))
        assert target == f"{person.hub.url}{link}", f"{link}: the login led to {target}"

    def test_link_in_a_browser(self, gated: GatedHubs, gated_browser: Browser, evidence_dir: Path) -> None:
        """In a browser the link leads to Keycloak's form, and after it to the notebook."""
        account, link = gated.keycloak.account("ada"), Link(EXAMPLE.course, EXAMPLE.notebook)
        gated_browser.open(f"{gated.student.url}{link}")
        gated_browser.wait_for("the login form", "#kc-form-login")
        gated_browser.screenshot(evidence_dir / "login.png")
        gated_browser.fill("username", account.name)
        gated_browser.fill("password", account.password)
        gated_browser.press("#kc-login")
        gated_browser.wait_for_notebook()
        gated_browser.screenshot(evidence_dir / "sso_notebook.png")
        assert gated_browser.driver.current_url.startswith(f"{gated.student.url}/user/")


class TestWithoutSession:
    @pytest.mark.parametrize("spec", [STUDENT, AUTHORING], ids=["students", "authors"])
    def test_nothing_of_a_hub_is_reached(self, gated: GatedHubs, spec: HubSpec) -> None:
        """Without a session no path by any method gets an answer of the hub: all lead to the login."""
        wrong = []
        with gated.client() as client:
            for method in METHODS:
                for path in PATHS:
                    client.cookies.clear()
                    answer = client.request(method, f"{gated.hubs[spec].url}{path}")
                    if of_hub(answer) or not (at_login(answer) or answer.is_client_error):
                        wrong.append(f"{method} {path}: {answer.status_code} {of_hub(answer)}")
        assert not wrong, f"{len(wrong)} requests pass the gate of {spec.release} without a session, first {wrong[0]}"

    def test_no_websocket_is_opened(self, gated: GatedHubs) -> None:
        """Without a session no WebSocket is opened."""
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        with gated.client() as client:
            answer = client.get(f"{gated.student.url}/user/ada/api/kernels/a/channels", headers=upgrade)
        assert at_login(answer), f"a WebSocket without a session: expected the login, found {answer.status_code}"

    def test_invented_session_is_none(self, gated: GatedHubs) -> None:
        """A cookie of the gate's name that the gate did not make opens nothing."""
        name = gated.routes[STUDENT].setting("session.cookie_name")
        with gated.client() as client:
            answer = client.get(f"{gated.student.url}/hub/home", headers={"Cookie": f"{name}=made-up; {name}_chunks=1"})
        assert at_login(answer), f"an invented session: expected the login, found {answer.status_code} {of_hub(answer)}"

    def test_name_without_a_route_leads_nowhere(self, gated: GatedHubs) -> None:
        """The gate's address under a name that has no route gives nothing of a hub."""
        with gated.client() as client:
            answer = client.get(f"{gated.student.url}/hub/login", headers={"Host": "elsewhere.example"})
        assert answer.is_client_error, f"a name without a route: expected 404 or so, found {answer.status_code}"
        assert not of_hub(answer)

    @pytest.mark.known_defect_at_apisix("http leads to https at port 9443, which only APISIX itself knows")
    def test_http_leads_to_https(self, gated: GatedHubs) -> None:
        """A link that was written with http leads to the same with https, and gives nothing away before."""
        link = str(Link(EXAMPLE.course, AMPERSAND))
        with gated.client() as client:
            answer = client.get(gated.student.url.replace("https://", "http://") + link)
        target = answer.headers.get("location", "nowhere")
        assert target == f"{gated.student.url}{link}", f"http leads to {target}, expected the same link with https"
        assert "set-cookie" not in answer.headers


class TestRefusedLogin:
    @pytest.mark.parametrize(
        ("name", "password", "told"),
        [
            ("grace", "not-the-password-of-grace", "Invalid username or password."),
            ("disabled", "", "Account is disabled, contact your administrator."),
            ("analyst", "throwaway", "Invalid username or password."),
        ],
        ids=["wrong password", "disabled user", "user of another realm"],
    )
    def test_it_is_told_and_can_be_tried_again(
        self, learner: NewLearner, gated: GatedHubs, name: str, password: str, told: str
    ) -> None:
        """A login that is refused says why, opens nothing, and a person can log in from there."""
        person, link = learner("ada"), str(EXAMPLE)
        known = {"analyst": "ol-data-platform"}
        account = Account(name, password or gated.keycloak.account(name).password)
        if name in known:
            account = gated.keycloak.account(name, known[name])
        refused = person.submit(person.go_to_login(link), account)
        assert words(refused) == told, f"the login of {name}: {refused.status_code} {words(refused)}, expected {told}"
        # With the person's cookies, and not as the person: at APISIX it would take the place of the login under way.
        home = f"{person.hub.url}/hub/home"
        with gated.client() as client:
            answer = client.get(home, headers=person.cookie_header(home))
        assert at_login(answer), f"the refused login of {name} opened a session: /hub/home answers {answer.status_code}"
        back = person.log_in(refused)
        assert leads_to(back) == f"{person.hub.url}{link}", "the second try did not lead to the link"

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"client_id": "unknown"}, "Client not found."),
            ({"redirect_uri": EVIL}, "Invalid parameter: redirect_uri"),
            ({"redirect_uri": "https://nb.learn.mit.edu.evil.example/"}, "Invalid parameter: redirect_uri"),
        ],
        ids=["unknown client", "other callback", "similar callback"],
    )
    def test_keycloak_serves_the_gate_alone(self, gated: GatedHubs, changed: dict[str, str], told: str) -> None:
        """Keycloak refuses another client, and another place to come back to, with a page and no way on."""
        with gated.client() as client:
            asked = client.get(f"{gated.student.url}/hub/home")
            query = {name: values[0] for name, values in parse_qs(urlsplit(asked.headers["location"]).query).items()}
            assert query["client_id"] == SSO_CLIENT
            place = asked.headers["location"].partition("?")[0]
            answer = client.get(place, params={**query, **changed})
        assert answer.status_code == 400, f"{changed}: expected 400, found {answer.status_code}"
        assert told in answer.text, f"{changed}: {words(answer)}, expected {told}"


class TestCallback:
    def test_changed_state_opens_nothing(self, learner: NewLearner, gated: GatedHubs) -> None:
        """A callback whose state was changed opens no session and shows nothing of the hub."""
        person = learner()
        callback = _callback(person, str(EXAMPLE))
        answer = person.get(re.sub("state=[^&]*", "state=changed", callback))
        _no_session(answer, person, gated)

    def test_callback_of_another_browser_opens_nothing(self, learner: NewLearner, gated: GatedHubs) -> None:
        """A callback that is sent to another person opens no session there: it belongs to the browser that began."""
        callback, other = _callback(learner(), str(EXAMPLE)), learner("grace")
        _no_session(other.get(callback), other, gated)

    @pytest.mark.known_defect_at_apisix("a callback that is loaded again ends at 500: its state is used up")
    def test_reloaded_callback_leads_on(self, learner: NewLearner) -> None:
        """A callback that is loaded again, as by the back button, leads to the hub and to no error."""
        person = learner()
        callback = _callback(person, "/hub/home")
        first = person.get(callback)
        assert leads_to(first) == f"{person.hub.url}/hub/home", f"{first.status_code} {first.headers}"
        again = person.follow(person.get(callback))
        assert not again.is_error, f"the callback again: {again.status_code}"
        assert str(again.request.url).startswith(person.hub.url)

    @pytest.mark.known_defect_at_apisix("of two tabs that wait for the login the first ends at 500: one state is kept")
    def test_two_links_opened_before_the_login(self, learner: NewLearner) -> None:
        """Of two tabs that wait for the login both arrive, each at its own link."""
        person = learner()
        first, second = str(Link(EXAMPLE.course, "a.ipynb")), str(Link(EXAMPLE.course, "b.ipynb"))
        forms = [person.go_to_login(link) for link in (first, second)]
        arrived = [leads_to(person.log_in(form)) for form in forms]
        wanted = [f"{person.hub.url}{link}" for link in (first, second)]
        assert arrived == wanted, f"two tabs ended at {arrived}, expected {wanted}"

    @pytest.mark.parametrize(
        "path",
        [
            f"/.apisix/redirect?logout={EVIL}",
            f"/.apisix/redirect?iss={EVIL}&target_link_uri={EVIL}",
            f"/tmplogin?next={EVIL}",
            "/%2f%2fevil.example/..%2f",
        ],
    )
    def test_no_address_of_the_gate_leads_elsewhere(self, learner: NewLearner, path: str) -> None:
        """Neither before a login nor after one does an address of the gate lead to another host than Keycloak's."""
        person = learner()
        for when in ("before", "after"):
            answer = person.get(path)
            seen: list[str | None] = []
            while answer.next_request and len(seen) < 8:
                seen.append(answer.next_request.url.host)
                if seen[-1] not in (SSO_HOST, urlsplit(person.hub.url).hostname):
                    break
                answer = person.get(str(answer.next_request.url))
            strangers = set(seen) - {SSO_HOST, urlsplit(person.hub.url).hostname}
            assert not strangers, f"{path}, {when} the login, leads to {strangers}"
            person.log_in(person.go_to_login("/hub/home"))


class TestSession:
    @pytest.mark.known_defect_at_apisix("the session's cookie is not Secure, which is APISIX's default")
    def test_cookie_is_for_its_own_host_and_https(self, learner: NewLearner, gated: GatedHubs) -> None:
        """The session's cookie has the route's name, is Secure and HttpOnly, and belongs to its own host."""
        person = learner()
        answer = person.get(_callback(person, "/hub/home"))
        name = gated.routes[STUDENT].setting("session.cookie_name")
        given = answer.headers.get_list("set-cookie")
        cookies = [each for each in given if each.startswith(name)]
        assert cookies, f"expected the cookie {name}, found {[each.partition('=')[0] for each in given]}"
        for cookie in cookies:
            flags = {part.strip().lower().partition("=")[0] for part in cookie.split(";")[1:]}
            assert {"secure", "httponly"} <= flags, f"{name}: {flags}"
            assert "domain" not in flags, f"{name} is sent to other hosts too"

    @pytest.mark.parametrize("stale_first", [True, False], ids=["sent first", "sent last"])
    def test_cookies_of_a_parent_domain_do_no_harm(
        self, learner: NewLearner, gated: GatedHubs, stale_first: bool
    ) -> None:
        """A session survives other applications' cookies of a parent domain, which have the name 'session'."""
        person = learner()
        person.log_in(person.go_to_login("/hub/home"))
        own = person.cookie_header(f"{person.hub.url}/hub/home")["Cookie"]
        stale = "; ".join(f"{name}=stale" for name in ("session", "session_0", "session_1"))
        cookies = "; ".join([stale, own] if stale_first else [own, stale])
        with gated.client() as client:
            answer = client.get(f"{person.hub.url}/hub/home", headers={"Cookie": cookies})
        assert not at_login(answer), "a cookie named 'session' of a parent domain ends the session at the gate"

    def test_class_logs_in_together(self, learner: NewLearner) -> None:
        """A class of 32 logs in at the same time, and each ends at the link that was opened."""
        people = {f"/hub/home?seat={seat}": learner(f"learner-{seat:02}") for seat in range(1, CLASS + 1)}

        def arrive(link: str) -> str:
            person = people[link]
            return str(person.log_in(person.go_to_login(link)).headers.get("location", "nowhere"))

        with ThreadPoolExecutor(CLASS) as pool:
            ended = dict(zip(people, pool.map(arrive, people), strict=True))
        lost = {link: place for link, place in ended.items() if not place.endswith(link)}
        assert not lost, f"{len(lost)} of {CLASS} did not end at their links: {lost}"

    @pytest.mark.touches("all processors, for a minute")
    def test_class_opens_its_servers(self, student_class: ClassArrival, gated: GatedHubs) -> None:
        """A class comes through the gate together, and each has a running server of the link's course."""
        past = [result.course for result in student_class.results.values() if result.hub != gated.student.url]
        assert not past, f"the students of {past} did not come through the gate"
        lost = {course: result.trouble for course, result in student_class.results.items() if result.trouble}
        of = len(student_class.results)
        assert not lost, f"{len(lost)} of {of} have no server behind the gate, first {min(lost.items())}"

    @pytest.mark.parametrize("spec", [STUDENT, AUTHORING], ids=["to the students", "to the authors"])
    def test_form_of_the_other_host_does_nothing(self, learner: NewLearner, gated: GatedHubs, spec: HubSpec) -> None:
        """A form of one hub that is sent to the other does nothing there, and the person can go on at both."""
        other = AUTHORING if spec is STUDENT else STUDENT
        person, there = learner("ada", other), gated.hubs[spec].url
        form = person.follow(person.log_in(person.go_to_login("/hub/login")))
        token = next((each.value or "" for each in person.cookies.jar if each.name == "_xsrf"), "")
        sent = {"username": "mallory", "password": "any", "_xsrf": token}
        headers = {"Origin": person.hub.url, "Referer": str(form.request.url), "Sec-Fetch-Site": "same-site"}
        stranger = person.request("POST", f"{there}/hub/login?next=/hub/home", data=sent, headers=headers)
        assert at_login(stranger), f"without a session there: expected the login, found {stranger.status_code}"
        back = person.follow(stranger)
        assert str(back.request.url).startswith(there), f"after it the person is at {back.request.url}"
        answer = person.request("POST", f"{there}/hub/login?next=/hub/home", data=sent, headers=headers)
        given = [cookie for cookie in answer.headers.get_list("set-cookie") if "hub-login" in cookie]
        assert answer.is_client_error, f"with a session there: expected a refusal, found {answer.status_code}"
        assert not given, "a form of the other host logs in"
        assert not person.get(f"{there}/hub/home").is_server_error

    def test_hubs_have_sessions_of_their_own(self, learner: NewLearner, gated: GatedHubs) -> None:
        """A session at the students' hub is none at the authors': Keycloak is asked, which knows the person."""
        person = learner()
        person.log_in(person.go_to_login("/hub/home"))
        away = person.get(f"{gated.authoring.url}/hub/login")
        assert at_login(away), f"the authors' hub: expected the way to Keycloak, found {away.status_code}"
        arrived = person.follow(away)
        assert str(arrived.request.url).startswith(gated.authoring.url), f"ended at {arrived.request.url}"

    def test_logout_at_the_hub_ends_what_the_route_says(self, learner: NewLearner, gated: GatedHubs) -> None:
        """Logging out at the hub ends the gate's session only if that is the route's logout_path."""
        person, path = learner(), str(gated.routes[STUDENT].setting("logout_path"))
        person.follow(person.log_in(person.go_to_login("/hub/home")))
        answer = person.get("/hub/logout")
        if answer.next_request and answer.next_request.url.path == CALLBACK:
            # Apache ends the session a hop later than APISIX.
            person.get(str(answer.next_request.url))
        ended = at_login(person.get("/hub/login"))
        assert ended is (path == "/hub/logout"), f"logout_path {path!r}: the session {'ends' if ended else 'stays'}"

    @pytest.mark.known_defect_at_apisix("the route's logout_path has no slash at its beginning, and never matches")
    def test_logout_at_the_gate_ends_its_session(self, learner: NewLearner, gated: GatedHubs) -> None:
        """The gate's own logout ends its session: the next page asks for a login."""
        person = learner()
        person.log_in(person.go_to_login("/hub/home"))
        ended = person.get(gated.logout)
        assert at_login(ended), f"the gate's logout: expected the way to Keycloak's, found {ended.status_code}"
        assert at_login(person.get("/hub/home")), "the session is still good after the gate's logout"


class TestBehind:
    def test_callers_headers_do_not_arrive(self, mirrored: Learner) -> None:
        """A header about the person that a caller sends never arrives: only the gate's own does."""
        forged = dict.fromkeys(("X-Userinfo", "X-Access-Token", "X-ID-Token", "X-Refresh-Token"), "forged")
        answer = mirrored.get("/any", headers={**forged, "OIDC_CLAIM_sub": "forged"})
        assert answer.status_code == 204, f"the stand-in that shows the headers answers {answer.status_code}"
        seen = answer.headers
        arrived = {name: value for name, value in seen.items() if name.startswith("seen-") and "forged" in value}
        assert not arrived, f"forged headers arrive behind the gate: {sorted(arrived)}"

    def test_gates_headers_arrive(self, mirrored: Learner, gated: GatedHubs) -> None:
        """Behind the gate arrive the headers that the route's settings add, and no other token."""
        seen, route = mirrored.get("/any").headers, gated.routes[STUDENT]
        for name, key in (
            ("access-token", "set_access_token_header"),
            ("id-token", "set_id_token_header"),
            ("userinfo", "set_userinfo_header"),
            ("refresh-token", "set_refresh_token_header"),
        ):
            wanted = bool(route.setting(key))
            assert bool(seen.get(f"seen-x-{name}")) is wanted, f"X-{name}: {key} is {wanted}, and it is not so"
        assert seen["seen-x-forwarded-proto"] == "https"

    def test_header_that_the_proxy_takes_arrives(self, learner: NewLearner) -> None:
        """A header of 16 KB passes gate and proxy, beside the session's own."""
        person = learner()
        person.log_in(person.go_to_login("/hub/home"))
        answer = person.get("/hub/health", headers={"X-Long": "x" * PASSING})
        assert answer.status_code == 200, f"a header of {PASSING} bytes: expected 200, found {answer.status_code}"

    def test_header_that_is_too_large_is_refused_in_words(self, learner: NewLearner) -> None:
        """A header beyond 64 KB is refused by the gate with a status that a client understands."""
        person = learner()
        person.log_in(person.go_to_login("/hub/home"))
        answer = person.get("/hub/health", headers={"X-Long": "x" * TOO_LARGE})
        assert answer.status_code in (400, 413, 431), f"a header of {TOO_LARGE} bytes: {answer.status_code}"

    def test_kernel_answers(self, learner_at_work: Learner) -> None:
        """A kernel answers over its WebSocket through gate and proxy."""
        with learner_at_work.server.kernel() as kernel:
            assert kernel.run("6 * 7").value == "42"

    def test_large_file_is_uploaded(self, learner_at_work: Learner) -> None:
        """A file of 50 MB arrives whole at the learner's server, in chunks as JupyterLab sends it."""
        learner_at_work.server.upload("large.bin", CONTENT, CHUNK)
        size = learner_at_work.server.size("large.bin")
        assert size == len(CONTENT), f"{size} of {len(CONTENT)} bytes arrived"

    def test_file_comes_back_as_it_was(self, learner_at_work: Learner) -> None:
        """A file of 1 MB is downloaded byte for byte as it was uploaded."""
        learner_at_work.server.upload("small.bin", CONTENT[:CHUNK], CHUNK)
        assert learner_at_work.server.download("small.bin") == CONTENT[:CHUNK]

    @pytest.mark.touches("the students' proxy")
    @pytest.mark.known_defect("a download of 50 MB can end the proxy, which may use 64 MB of memory")
    @pytest.mark.usefixtures("proxy_comes_back")
    def test_large_file_is_downloaded(self, learner_at_work: Learner) -> None:
        """A file of 50 MB is downloaded byte for byte."""
        with learner_at_work.server.kernel() as kernel:
            kernel.run(f"open('made.bin', 'wb').write(bytes(range(256)) * {len(CONTENT) // 256})")
        broke_off = ""
        try:
            found = learner_at_work.server.download("made.bin")
        except httpx.TransportError as error:
            broke_off = str(error)
        assert not broke_off, f"the download broke off: {broke_off}"
        assert found == CONTENT, f"{len(found)} of {len(CONTENT)} bytes came back"


def _callback(person: Learner, link: str) -> str:
    """Log in, and return the callback's address to which Keycloak sends the person, not yet asked for."""
    answer = person.submit(person.go_to_login(link))
    assert answer.is_redirect, f"expected the way back to the gate, found {answer.status_code} {words(answer)}"
    return str(answer.headers["location"])


def _no_session(answer: httpx.Response, person: Learner, gated: GatedHubs) -> None:
    assert not of_hub(answer), f"an answer of the hub: {of_hub(answer)}"
    after = person.get("/hub/home")
    assert at_login(after), f"a session was opened: /hub/home answers {after.status_code}"
