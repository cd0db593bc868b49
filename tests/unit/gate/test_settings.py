"""The gate's settings: APISIX's for what the program leaves out, Apache's directives, and a name for all else."""

from __future__ import annotations

from typing import Any

import pytest

from harness.base.errors import HarnessError
from harness.deployment.gate import ROUTES, read_routes
from harness.gate.settings import TABLE, GatedRoute, configuration, read_settings
from harness.plan.versions import IMAGES


def route(login: dict[str, Any] | None = None, websocket: bool = True, **plugins: Any) -> GatedRoute:
    given = {} if login is None else {"openid-connect": login}
    return GatedRoute("jupyterhub", ("nb.example",), ("/*",), websocket, {**given, **plugins})


def apache(of: GatedRoute) -> str:
    return configuration([(of, "hub:30000")], client_secret="c1ient", passphrase="phra5e")


class TestLeftOut:
    def test_times_are_those_of_lua_resty_session(self) -> None:
        """Apache's own would be eight hours and five minutes."""
        login = read_settings(route({})).login
        assert "OIDCSessionMaxDuration 86400" in login
        assert "OIDCSessionInactivityTimeout 900" in login
        assert "OIDCCookie session" in login

    def test_scope_and_action_are_those_of_apisix(self) -> None:
        login = read_settings(route({})).login
        assert 'OIDCScope "openid"' in login
        assert "OIDCUnAuthAction auth true" in login

    def test_a_rolling_time_out_that_apache_lacks_is_not_checked(self) -> None:
        """Left out it is 3600 s, and not off."""
        assert read_settings(route({})).not_checked == (
            "openid-connect.session.rolling_timeout, left out and so 3600: Apache has no rolling time-out",
        )
        assert not read_settings(route({"session": {"rolling_timeout": 0}})).not_checked


class TestGiven:
    @pytest.mark.parametrize(
        ("login", "directive"),
        [
            ({"session": {"absolute_timeout": 1209600}}, "OIDCSessionMaxDuration 1209600"),
            ({"session": {"absolute_timeout": 0}}, "OIDCSessionMaxDuration 31536000"),
            ({"session": {"absolute_timeout": 1}}, "OIDCSessionMaxDuration 15"),
            ({"iat_slack": 300}, "OIDCIDTokenIatSlack 300"),
            ({"session": {"idling_timeout": 0}}, "OIDCSessionInactivityTimeout 31536000"),
            ({"session": {"idling_timeout": 5}}, "OIDCSessionInactivityTimeout 10"),
            ({"session": {"cookie_name": "mine"}}, "OIDCCookie mine"),
            ({"scope": "openid email"}, 'OIDCScope "openid email"'),
            ({"unauth_action": "deny"}, "OIDCUnAuthAction 401"),
            ({"unauth_action": "pass"}, "OIDCUnAuthAction pass"),
            ({"redirect_uri": "/back"}, "OIDCRedirectURI /back"),
            ({"ssl_verify": False}, "OIDCSSLValidateServer Off"),
            ({"renew_access_token_on_expiry": True}, "OIDCRefreshAccessTokenBeforeExpiry 10 logout_on_error"),
        ],
    )
    def test_it_is_apaches(self, login: dict[str, Any], directive: str) -> None:
        assert directive in read_settings(route(login)).login
        assert directive in apache(route(login))

    def test_tokens_are_renewed_only_where_it_says_so(self) -> None:
        assert "OIDCRefresh" not in apache(route({"renew_access_token_on_expiry": False}))

    def test_a_header_that_a_caller_sends_never_arrives(self) -> None:
        login = read_settings(route({"set_userinfo_header": False})).login
        assert "RequestHeader unset X-Userinfo early" in login
        assert not [each for each in login if each.startswith("RequestHeader set X-Userinfo")]

    def test_a_logout_path_without_a_slash_is_inert(self) -> None:
        """APISIX compares it with the path of a request, which begins with one."""
        assert "/hub/logout$" not in apache(route({"logout_path": "hub/logout"}))
        matching = apache(route({"logout_path": "/hub/logout"}))
        assert 'RewriteRule "^/hub/logout$" "/.apisix/redirect?logout=https://' in matching

    def test_a_value_that_apisix_does_not_know(self) -> None:
        with pytest.raises(HarnessError, match=r"jupyterhub: openid-connect.unauth_action is 'ask', which APISIX"):
            read_settings(route({"unauth_action": "ask"}))


class TestNamed:
    def test_a_key_that_the_table_lacks(self) -> None:
        assert read_settings(route({"session": {"cokie_name": "a"}, "force": 1})).unknown == (
            "openid-connect.session.cokie_name",
            "openid-connect.force",
        )

    def test_a_plugin_that_is_not_known(self) -> None:
        assert read_settings(route({}, ip_restriction={})).unknown == ("ip_restriction",)

    def test_a_plugin_that_apache_has_nothing_for(self) -> None:
        [first, *_] = read_settings(route({}, cors={"allow_origins": "**"})).not_checked
        assert first == "cors: Apache is not told to add CORS headers"


class TestConfiguration:
    def test_no_path_is_open(self) -> None:
        assert "<Location />\n        AuthType openid-connect\n        Require valid-user" in apache(route({}))

    def test_a_route_without_a_login_has_none(self) -> None:
        """What the owners' program leaves open is open here too, so that a test can see it."""
        assert "AuthType" not in apache(route())

    def test_a_websocket_needs_the_routes_switch(self) -> None:
        assert "ProxyPass / http://hub:30000/ upgrade=websocket ttl=3 nocanon" in apache(route({}))
        assert "ProxyPass / http://hub:30000/ ttl=3 nocanon" in apache(route({}, websocket=False))

    def test_http_leads_to_https_only_where_it_says_so(self) -> None:
        assert "[R=301,NE,L]" in apache(route({}, redirect={"http_to_https": True}))
        assert "R=301" not in apache(route({}))

    def test_headers_of_answers(self) -> None:
        rewrite = {"headers": {"set": {"Referrer-Policy": "origin"}}}
        plugins: dict[str, Any] = {"response-rewrite": rewrite, "request-id": {}}
        answers = read_settings(route({}, **plugins)).answers
        assert answers == (
            'Header always set X-Request-Id "%{UNIQUE_ID}e"',
            'Header always set Referrer-Policy "origin"',
        )


def test_no_key_is_in_the_table_twice() -> None:
    keys = [setting.key for setting in TABLE]
    assert len(keys) == len(set(keys))


def test_our_own_file_is_known_in_full() -> None:
    for each in read_routes(IMAGES.parent / ROUTES).values():
        settings = read_settings(each)
        assert not settings.unknown
        assert settings.not_checked == ("cors: Apache is not told to add CORS headers",)


def test_the_documentation_has_every_key() -> None:
    text = (IMAGES.parent / "docs/gate.md").read_text()
    assert not [setting.key for setting in TABLE if f"| `{setting.key}` |" not in text]
