"""The gate's settings: those of APISIX's plugins, and Apache's directives for each, in one table.

A key that the program leaves out has the default of APISIX 3.17's openid-connect plugin, or of the lua-resty-session 4
in it, and never Apache's. A setting that Apache has nothing for is not checked; one that the table lacks is named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from harness.base.errors import HarnessError
from harness.plan.contract import SSO_CLIENT, SSO_HOST, SSO_REALM

OPENID, REQUEST_ID, REDIRECT, REWRITE = "openid-connect", "request-id", "redirect", "response-rewrite"
CALLBACK = "/.apisix/redirect"
"""Path to which Keycloak sends people back; APISIX puts it behind the path that was asked for."""
PATIENCE = 15
"""Seconds that the gate waits for an answer of Keycloak, which shares the machine with everything else."""
IDLE = 3
"""Seconds after which the gate takes another connection to a hub's proxy: Node ends an idle one after five, and for a
request that comes just then nginx asks again, and Apache answers 502."""
STAND_IN_PATIENCE = 5
"""The same on the way to a hub's stand-in, where a test waits for a Keycloak that never answers."""
SERVICE, SERVICE_PORT = "proxy-public", "http"
"""The chart's Service of a hub's proxy and its port, to which a route leads that names no other."""
MIRROR = "127.0.0.1:8081"
"""Address inside the gate's pod of a hub's stand-in, which answers with the headers that arrive."""
FOREVER = 365 * 24 * 3600
"""Seconds in the place of a time-out that is off: the most that the module takes, for which 0 means something else."""
SHORTEST_IDLE, SHORTEST_SESSION = 10, 15
"""Least seconds of OIDCSessionInactivityTimeout and of OIDCSessionMaxDuration: with fewer Apache does not start."""
UNAUTHENTICATED = {"auth": "auth true", "deny": "401", "pass": "pass"}
"""OIDCUnAuthAction by unauth_action; `true`: a script is sent to the login too, as APISIX does."""


@dataclass(frozen=True)
class Setting:
    """A setting of a plugin.

    Attributes:
        key: dotted, of the plugin's configuration.
        default: its value where the program leaves it out.
        apache: returns Apache's directives for a value; None for a setting that Apache has nothing for.
        why: reason for which it is not checked, or why it needs no directive.
        harmless: values with which Apache does the same without a directive.
    """

    key: str
    default: Any = None
    apache: Callable[[Any], tuple[str, ...]] | None = None
    why: str = ""
    harmless: tuple[Any, ...] = ()


def _header(name: str, variable: str) -> Callable[[Any], tuple[str, ...]]:
    """Return a setting's directives that send a header on: a caller's own never arrives."""
    return lambda on: (
        f"RequestHeader unset {name} early",
        *([f'RequestHeader set {name} "%{{{variable}}}e" env={variable}'] if on else ()),
    )


def _seconds(value: Any) -> int:
    return int(value) or FOREVER


TABLE: tuple[Setting, ...] = (
    Setting("scope", "openid", lambda value: (f'OIDCScope "{value}"',)),
    Setting("unauth_action", "auth", lambda value: (f"OIDCUnAuthAction {UNAUTHENTICATED[value]}",)),
    Setting("bearer_only", False, why="a gate that logs nobody in has no login to check", harmless=(False,)),
    Setting("session.cookie_name", "session", lambda value: (f"OIDCCookie {value}",)),
    Setting(
        "session.absolute_timeout",
        86400,
        lambda value: (f"OIDCSessionMaxDuration {max(_seconds(value), SHORTEST_SESSION)}",),
    ),
    Setting(
        "session.idling_timeout",
        900,
        lambda value: (f"OIDCSessionInactivityTimeout {max(_seconds(value), SHORTEST_IDLE)}",),
    ),
    Setting("session.rolling_timeout", 3600, why="Apache has no rolling time-out", harmless=(0,)),
    Setting("session.cookie_secure", False, why="Apache's is Secure over https", harmless=(True, False)),
    Setting("session.cookie_same_site", "Lax", why="Apache sets SameSite by itself", harmless=("Lax",)),
    Setting(
        "session_contents",
        {"access_token": True, "enc_id_token": True, "id_token": True, "user": True},
        why="Apache's session has its own contents",
        harmless=({"access_token": True, "enc_id_token": True, "id_token": True, "user": True},),
    ),
    Setting(
        "renew_access_token_on_expiry",
        True,
        lambda on: ("OIDCRefreshAccessTokenBeforeExpiry 10 logout_on_error",) if on else (),
    ),
    Setting("iat_slack", 120, lambda value: (f"OIDCIDTokenIatSlack {int(value)}",)),
    Setting("timeout", 3, why=f"Apache waits {PATIENCE} s for Keycloak, which shares its machine", harmless=(3,)),
    Setting("ssl_verify", True, lambda on: (f"OIDCSSLValidateServer {'On' if on else 'Off'}",)),
    Setting("use_pkce", False, lambda on: ("OIDCPKCEMethod S256",) if on else ()),
    Setting("set_access_token_header", True, _header("X-Access-Token", "OIDC_access_token")),
    Setting("set_id_token_header", True, _header("X-ID-Token", "OIDC_id_token_payload")),
    Setting("set_userinfo_header", True, _header("X-Userinfo", "OIDC_userinfo_json")),
    Setting("set_refresh_token_header", False, _header("X-Refresh-Token", "OIDC_refresh_token")),
    Setting("redirect_uri", CALLBACK, lambda value: (f"OIDCRedirectURI {value}",)),
    Setting(
        "introspection_endpoint_auth_method",
        "client_secret_basic",
        why="no token is looked up in a login",
        harmless=("client_secret_basic", "client_secret_post"),
    ),
    # With post_logout_redirect_uri, in `_logout`.
    Setting("logout_path", "/logout", lambda value: ()),
    Setting("post_logout_redirect_uri", "", lambda value: ()),
)
"""Every key of openid-connect that the owners' program may have."""

OTHER_PLUGINS = {
    "cors": "Apache is not told to add CORS headers",
    "prometheus": "there is no APISIX to measure",
    "opentelemetry": "there is no APISIX to trace",
    "gzip": "Apache is not told to compress",
    "serverless-post-function": "its Lua, which evicts cookies of the old name, runs in APISIX alone",
}
"""Plugins that Apache has nothing for, each with the reason for which it is not checked."""

STAND_IN = (
    "APISIX's own callback of each path, and with it Keycloak's answer to a path with a blank or a non-ASCII letter",
    "APISIX's answer to a callback that comes twice, and to two links opened before the login",
    "APISIX's session cookie: its format, its Secure flag, its size",
    "APISIX's answer to an ID token that is older than iat_slack, from a gate whose clock is ahead",
    "the status of APISIX's failed login, and the page to which a renewal that fails leads",
    "the owners' ApisixRoute in a real APISIX, and its error page",
)
"""Parts of APISIX that a gate of Apache's cannot show."""


@dataclass(frozen=True)
class GatedRoute:
    """A route of the gate to one hub, as the program or our own file has it.

    Attributes:
        release: of the hub.
        websocket: False where a WebSocket is refused.
        plugins: configuration by the plugin's name.
        service, port: the hub's Service that it leads to, and the name or number of that Service's port.
    """

    release: str
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    websocket: bool
    plugins: Mapping[str, Mapping[str, Any]]
    service: str = SERVICE
    port: str = SERVICE_PORT

    @property
    def login(self) -> Mapping[str, Any] | None:
        """Configuration of its openid-connect; None for a route that asks for no login."""
        return self.plugins.get(OPENID)

    def setting(self, key: str) -> Any:
        """Return the value of a key of openid-connect that holds: the program's, or APISIX's default."""
        setting = next(each for each in TABLE if each.key == key)
        found = _at(self.login or {}, key)
        return setting.default if found is None else found


@dataclass(frozen=True)
class GateSettings:
    """The settings of one route, for Apache.

    Attributes:
        login: directives of the login.
        answers: directives about answers.
        not_checked: settings that Apache has nothing for, each with the reason.
        unknown: settings and plugins that the table does not know.
    """

    login: tuple[str, ...]
    answers: tuple[str, ...]
    not_checked: tuple[str, ...]
    unknown: tuple[str, ...]


def read_settings(route: GatedRoute) -> GateSettings:
    """Return Apache's settings for a route.

    Raises:
        HarnessError: a value that neither APISIX nor the table knows.
    """
    login: list[str] = []
    not_checked = [f"{name}: {why}" for name, why in OTHER_PLUGINS.items() if name in route.plugins]
    for setting in TABLE if route.login is not None else ():
        value = route.setting(setting.key)
        if setting.apache:
            login += _directives(route, setting, value)
        elif value not in setting.harmless and _at(route.login or {}, setting.key) is not None:
            not_checked.append(f"{OPENID}.{setting.key} {value!r}: {setting.why}")
        elif setting.harmless and value not in setting.harmless:
            not_checked.append(f"{OPENID}.{setting.key}, left out and so {value!r}: {setting.why}")
    login += _logout(route) if route.login is not None else ()
    known = {OPENID, REQUEST_ID, REDIRECT, REWRITE, *OTHER_PLUGINS}
    unknown = [name for name in route.plugins if name not in known]
    keys = {setting.key for setting in TABLE}
    unknown += [f"{OPENID}.{key}" for key in _keys(route.login or {}, keys) if key not in keys]
    return GateSettings(tuple(login), tuple(_answers(route)), tuple(not_checked), tuple(unknown))


def _directives(route: GatedRoute, setting: Setting, value: Any) -> tuple[str, ...]:
    assert setting.apache
    try:
        return setting.apache(value)
    except (KeyError, ValueError, TypeError) as error:
        raise HarnessError(
            f"The gate's route {route.release}: {OPENID}.{setting.key} is {value!r}, which APISIX does not know"
        ) from error


def _logout(route: GatedRoute) -> Iterator[str]:
    """Yield the directives that end the gate's session at its logout path.

    APISIX compares the path with that of a request, which begins with a slash: one without it never matches.
    """
    path = str(route.setting("logout_path"))
    if path.startswith("/"):
        back = str(route.setting("post_logout_redirect_uri") or f"https://{route.hosts[0]}/")
        # A redirect of mod_alias comes too late: the proxy has taken the request by then.
        yield "RewriteEngine On"
        where = quote(back, safe=":/").replace("%", r"\%")
        yield f'RewriteRule "^{re.escape(path)}$" "{CALLBACK}?logout={where}" [R=302,NE,L]'


def _answers(route: GatedRoute) -> Iterator[str]:
    if route.plugins.get(REQUEST_ID, {}).get("include_in_response", REQUEST_ID in route.plugins):
        yield 'Header always set X-Request-Id "%{UNIQUE_ID}e"'
    for name, value in route.plugins.get(REWRITE, {}).get("headers", {}).get("set", {}).items():
        yield f'Header always set {name} "{value}"'


def _at(config: Mapping[str, Any], key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _keys(config: Mapping[str, Any], whole: set[str], before: str = "") -> Iterator[str]:
    """Yield the dotted keys of a configuration; those in `whole` are not looked into."""
    for name, value in config.items():
        key = f"{before}{name}"
        if isinstance(value, Mapping) and key not in whole:
            yield from _keys(value, whole, f"{key}.")
        else:
            yield key


def configuration(routes: Sequence[tuple[GatedRoute, str]], *, client_secret: str, passphrase: str) -> str:
    """Return Apache's configuration for routes.

    Args:
        routes: each with host:port of the hub behind it.
        client_secret: of the gate's client in the realm.
        passphrase: encrypts sessions.

    Raises:
        HarnessError: as `read_settings`.
    """
    return "\n".join(line for route, hub in routes for line in _route(route, hub, client_secret, passphrase)) + "\n"


def _route(route: GatedRoute, hub: str, client_secret: str, passphrase: str) -> Iterator[str]:
    settings = read_settings(route)
    name, *more = route.hosts
    names = [f"    ServerName {name}", *(f"    ServerAlias {each}" for each in more)]
    to_https = route.plugins.get(REDIRECT, {}).get("http_to_https", False)
    yield from ("<VirtualHost *:80>", *names)
    if to_https:
        # From the request's own line, in which the path is as it was sent; the query follows by itself.
        yield "    RewriteEngine On"
        yield r"    RewriteCond %{THE_REQUEST} ^\S+\s(/[^\s?]*)"
        yield r"    RewriteRule ^ https://%{HTTP_HOST}%1 [R=301,NE,L]"
    else:
        yield from _protected(route, settings, hub, client_secret, passphrase)
    yield "</VirtualHost>"
    yield from ("<VirtualHost *:443>", *names, "    SSLEngine on")
    yield "    SSLCertificateFile /etc/gate/run/gate.pem"
    yield "    SSLCertificateKeyFile /etc/gate/run/gate.key"
    yield from _protected(route, settings, hub, client_secret, passphrase)
    yield "</VirtualHost>"


def _protected(
    route: GatedRoute, settings: GateSettings, hub: str, client_secret: str, passphrase: str
) -> Iterator[str]:
    """Yield the login, and the way to the hub behind it."""
    in_location = [each for each in settings.login if each.startswith(("OIDCUnAuthAction", "OIDCCookie "))]
    patience = STAND_IN_PATIENCE if hub == MIRROR else PATIENCE
    for line in (
        "AllowEncodedSlashes NoDecode",
        *(
            ()
            if route.login is None
            else (
                f"OIDCProviderMetadataURL https://{SSO_HOST}/realms/{SSO_REALM}/.well-known/openid-configuration",
                f"OIDCClientID {SSO_CLIENT}",
                f"OIDCClientSecret {client_secret}",
                f"OIDCCryptoPassphrase {passphrase}",
                "OIDCCABundlePath /etc/gate/run/authority.pem",
                "OIDCSessionType client-cookie:store_id_token",
                # A tab each, that waits for the login; the oldest makes room.
                "OIDCStateMaxNumberOfCookies 100 true",
                f"OIDCHTTPTimeoutLong {patience}",
                f"OIDCHTTPTimeoutShort {patience}",
                "OIDCHTMLErrorTemplate /etc/gate/sorry.html",
                # APISIX leaves tokens as they are at a logout: a port that no one listens at.
                "OIDCProviderRevocationEndpoint https://127.0.0.1:9/",
                # A renewal that fails ends the session: on to the login, and not to a page without a way on.
                f"OIDCDefaultLoggedOutURL https://{route.hosts[0]}/",
                "OIDCPassIDTokenAs claims payload",
                "OIDCPassUserInfoAs claims json",
                "OIDCPassClaimsAs environment",
                *(each for each in settings.login if each not in in_location),
            )
        ),
        *settings.answers,
        "RequestHeader set X-Forwarded-Proto https",
        "RequestHeader set X-Forwarded-Port 443",
        "ProxyPreserveHost On",
        "ProxyTimeout 60",
        f"ProxyPass / http://{hub}/ {'upgrade=websocket ' if route.websocket else ''}ttl={IDLE} nocanon",
    ):
        yield f"    {line}"
    if route.login is not None:
        yield "    <Location />"
        for line in ("AuthType openid-connect", "Require valid-user", *in_location):
            yield f"        {line}"
        yield "    </Location>"
