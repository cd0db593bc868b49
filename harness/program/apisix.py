"""The objects that a program gives to APISIX: its ingress controller's own kinds, held to what that takes.

The models are ours, written to the facts of the controller's resource definitions: apache/apisix-ingress-controller,
config/crd/bases at 2.0.1, the version in the subchart 1.1.1 of APISIX's chart. Kubernetes drops a field that a
definition lacks without a word, so that a typing mistake has no effect and no error: here it is one.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from harness.base.validation import first_error
from harness.program.errors import ProgramError
from harness.program.model import KubernetesObject, Plugin, Program

Name = Annotated[str, Field(min_length=1)]
Duration = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h))+$")]
"""A time as Go has it: metav1.Duration of api/v2/apisixroute_types.go, of which the definition only says "string"."""
OF_MANY = re.compile("addr|forwarded|real_ip|constant")
"""Things that such a plugin counts by, which those in one room have in common."""
PAGE_REQUESTS = 100
"""Requests within a second of one learner: the page of a notebook asks for that many things."""
CLASS_REQUESTS = 30 * PAGE_REQUESTS
"""Requests within a minute of a class of 30 behind one address."""
CLASS_CONNECTIONS = 30 * (6 + 2)
"""Requests at a time of such a class: a browser has six connections to a host, and two WebSockets to a notebook."""
NOTEBOOK = 10 * 1024 * 1024
"""Bytes of a notebook with pictures, which is saved in one request."""
BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"
Host = Annotated[str, Field(pattern=r"^\*?[0-9a-zA-Z-.]+$")]


class _Exact(BaseModel):
    """A mapping with the definition's fields and no other; a text is no number."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Metadata(_Exact):
    """Metadata as a program writes it (Kubernetes' ObjectMeta)."""

    name: Name
    namespace: Name
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class _Plugin(_Exact):
    """A plugin of a route or of a set: apisixroutes, spec.http[].plugins[]; apisixpluginconfigs, spec.plugins[].

    What `secretRef` names is put into `config` key by key, `session.secret` as `secret` in `session`
    (internal/adc/translator/apisixroute.go, buildPluginConfig).
    """

    name: Name
    enable: bool = True
    config: Mapping[str, Any] = {}
    secretRef: str = ""


class _Backend(_Exact):
    """A Service in the route's own namespace: apisixroutes, spec.http[].backends[]."""

    serviceName: Name
    servicePort: int | str
    resolveGranularity: str = ""
    subset: str = ""
    weight: int | None = None


class _Upstream(_Exact):
    """An ApisixUpstream in a Service's place: apisixroutes, spec.http[].upstreams[]."""

    name: str = ""
    weight: int | None = None


class _Subject(_Exact):
    """A part of a request: apisixroutes, spec.http[].match.exprs[].subject."""

    scope: str
    name: str


class _Expression(_Exact):
    """A condition on a request: apisixroutes, spec.http[].match.exprs[]."""

    subject: _Subject
    op: str
    value: str = ""
    set: list[str] = []


class _Match(_Exact):
    """The requests of a rule: apisixroutes, spec.http[].match; `paths` alone is required."""

    paths: list[str]
    hosts: list[str] = []
    methods: list[str] = []
    remoteAddrs: list[str] = []
    exprs: list[_Expression] = []
    filter_func: str = ""


class _Timeout(_Exact):
    """Limits of the way to the Service: apisixroutes, spec.http[].timeout."""

    connect: Duration | None = None
    read: Duration | None = None
    send: Duration | None = None


class _Authentication(_Exact):
    """A login by APISIX's own consumers: apisixroutes, spec.http[].authentication."""

    enable: bool
    type: str
    jwtAuth: Mapping[str, Any] = {}
    keyAuth: Mapping[str, Any] = {}
    ldapAuth: Mapping[str, Any] = {}


class _Rule(_Exact):
    """A rule of a route: apisixroutes, spec.http[]; the definition requires its name alone."""

    name: Name
    match: _Match | None = None
    backends: list[_Backend] = []
    upstreams: list[_Upstream] = []
    plugins: list[_Plugin] = []
    plugin_config_name: str = ""
    plugin_config_namespace: str = ""
    priority: int = 0
    timeout: _Timeout | None = None
    websocket: bool | None = None
    authentication: _Authentication | None = None


class _RouteSpec(_Exact):
    """Rules of a route: apisixroutes, spec; `http` is a list by name (x-kubernetes-list-map-keys)."""

    ingressClassName: str = ""
    http: list[_Rule] = []
    stream: list[Mapping[str, Any]] = []

    @field_validator("http")
    @classmethod
    def names_differ(cls, rules: list[_Rule]) -> list[_Rule]:
        """Refuse two rules of one name, as Kubernetes does."""
        if twice := [name for name, count in Counter(rule.name for rule in rules).items() if count > 1]:
            raise ValueError(f"two rules have the name {twice[0]}")
        return rules


class _PluginConfigSpec(_Exact):
    """Plugins that routes share by its name: apisixpluginconfigs, spec."""

    plugins: list[_Plugin]
    ingressClassName: str = ""


class _SecretName(_Exact):
    """A Secret of any namespace: apisixtlses, spec.secret."""

    name: Name
    namespace: Name


class _TlsSpec(_Exact):
    """Hosts and the Secret with their certificate: apisixtlses, spec."""

    hosts: Annotated[list[Host], Field(min_length=1)]
    secret: _SecretName
    ingressClassName: str = ""
    client: Mapping[str, Any] | None = None


class _Object(_Exact):
    apiVersion: Literal["apisix.apache.org/v2"]
    kind: str
    metadata: _Metadata


class _Route(_Object):
    spec: _RouteSpec


class _PluginConfig(_Object):
    spec: _PluginConfigSpec


class _Tls(_Object):
    spec: _TlsSpec


KINDS: Mapping[str, type[_Object]] = {"ApisixPluginConfig": _PluginConfig, "ApisixTls": _Tls, "ApisixRoute": _Route}
"""Kinds of the controller that programs use; what routes name comes before them."""


def apisix_objects(program: Program) -> list[KubernetesObject]:
    """Return the objects that a program gives to APISIX, as they are applied; routes are the last.

    Raises:
        ProgramError: the controller's resource definition does not take one, or it is not known before it is applied.
    """
    return [_checked(each.known()) for kind in KINDS for each in program.of_kind(kind)]


def turns_away(plugin: Plugin) -> str:
    """Return how a plugin turns learners away by what a class or all of them have in common; empty if it does not."""
    given = plugin.config
    if plugin.name in ("ip-restriction", "ua-restriction"):
        if lists := [key for key in ("whitelist", "allowlist") if given.get(key)]:
            return f"it takes no one but its {lists[0]}"
        if refused := [each for each in given.get("denylist", ()) if re.search(each, BROWSER)]:
            return f"it refuses browsers, by {refused[0]!r}"
    size = given.get("max_body_size") or 0
    if plugin.name == "client-control" and 0 < size < NOTEBOOK:
        return f"max_body_size is {size}, expected at least {NOTEBOOK}, or a notebook with pictures is not saved"
    if OF_MANY.search(f"{given.get('key_type')} {given.get('key', 'remote_addr')}"):
        for most, what, least, whose in _limits(plugin):
            if most < least:
                return f"it takes {most:g} requests of one address {what}, expected at least {least}, as of {whose}"
    return ""


def _limits(plugin: Plugin) -> Iterator[tuple[float, str, int, str]]:
    """Yield how many requests a plugin lets through, in which time, how many it must, and whose these are.

    What is over `rate` or `conn` waits, and what is over it by more than `burst` is refused (apache/apisix,
    docs/en/latest/plugins). Numbers that are not known yet, or that APISIX itself fills in, count as enough.
    """

    def number(key: str, default: float = math.inf) -> float:
        found = plugin.config.get(key, default)
        return found if isinstance(found, int | float) else math.inf

    match plugin.name:
        case "limit-count":
            yield number("count") * 60 / max(60, number("time_window", 60)), "in a minute", CLASS_REQUESTS, "a class"
        case "limit-req":
            yield number("rate") * 60 + number("burst"), "in a minute", CLASS_REQUESTS, "a class"
            yield number("rate") + number("burst"), "in a second", PAGE_REQUESTS, "a notebook's page"
        case "limit-conn":
            yield number("conn") + number("burst"), "at a time", CLASS_CONNECTIONS, "a class"


def _checked(found: KubernetesObject) -> KubernetesObject:
    try:
        KINDS[found.kind].model_validate(found.body)
    except ValidationError as error:
        raise ProgramError(
            f"{found.place}: {found.kind} {found.name}: {first_error(error)}\n"
            "APISIX's ingress controller does not take it so: apache/apisix-ingress-controller, config/crd/bases."
        ) from error
    return found
