"""The resources that a program asks for, and the releases, routes, secrets and policies among them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.program.closure import Place
from harness.program.errors import ProgramError

UNKNOWN = "(unknown until it is applied)"
"""Text in place of a value that only the world can give; a longer text never has it in the middle."""
STACKS = ("CI", "QA", "Production")

RELEASE = "kubernetes:helm.sh/v3:Release"
POLICY = "aws:iam/policy:Policy"
INLINE_POLICY = "aws:iam/rolePolicy:RolePolicy"
ROLE = "aws:iam/role:Role"
VAULT_POLICY = "vault:index/policy:Policy"
VAULT_ROLE = "vault:kubernetes/authBackendRole:AuthBackendRole"
VAULT_CONNECTION = "vault:database/secretBackendConnection:SecretBackendConnection"


@dataclass(frozen=True)
class Resource:
    """A resource that would be applied.

    Attributes:
        type: Pulumi's, as in kubernetes:helm.sh/v3:Release.
        name: the program's, unique for a type.
        custom: a provider makes it; the others are groups of such.
        inputs: what the program gives, sorted by key. None vanishes, and integers are integers.
        place: the program's line that asks for it, itself or by way of a component.
    """

    type: str
    name: str
    custom: bool
    inputs: Mapping[str, Any]
    place: Place

    @property
    def file(self) -> str:
        return self.place.file

    @property
    def line(self) -> int:
        return self.place.line


@dataclass(frozen=True)
class KubernetesObject:
    """An object that a resource puts into the cluster; some put several.

    Attributes:
        name: empty where Pulumi draws one.
        body: all of it, as it is applied.
    """

    kind: str
    name: str
    namespace: str
    body: Mapping[str, Any]
    place: Place

    @property
    def spec(self) -> Mapping[str, Any]:
        return _mapping(self.body.get("spec"))

    def known(self) -> KubernetesObject:
        """Return itself.

        Raises:
            ProgramError: something in its specification is not known before it is applied.
        """
        _known({"spec": self.spec}, f"{self.kind} {self.name}", self.place)
        return self


@dataclass(frozen=True)
class ProgramRelease:
    """A Helm release.

    Attributes:
        repository: address of the chart repository; empty for a chart that is a path or an address itself.
        values: as Helm gets them.
    """

    name: str
    namespace: str
    chart: str
    version: str
    repository: str
    values: Mapping[str, Any]
    place: Place


@dataclass(frozen=True)
class Backend:
    """A Service that a route leads to."""

    service: str
    port: int | str


@dataclass(frozen=True)
class Plugin:
    """A plugin of APISIX, as a route or a set of shared plugins has it."""

    name: str
    config: Mapping[str, Any]
    enabled: bool = True


@dataclass(frozen=True)
class Route:
    """A rule of an ApisixRoute, or of an HTTPRoute.

    Attributes:
        name: of the rule; of an HTTPRoute, that of the object and the rule's position.
        hosts: as they are matched, with wildcards.
        plugin_config: name of the set of plugins that it shares with others; empty for none.
        plugins: its own and then the shared ones; of one name, its own.
        websocket: None for an HTTPRoute, which has no such switch.
        rule: all of the rule as it is applied.
    """

    name: str
    namespace: str
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    backends: tuple[Backend, ...]
    plugins: tuple[Plugin, ...]
    plugin_config: str
    websocket: bool | None
    rule: Mapping[str, Any]
    place: Place

    def plugin(self, name: str) -> Plugin | None:
        return next((plugin for plugin in self.plugins if plugin.name == name), None)


@dataclass(frozen=True)
class VaultSecret:
    """A Kubernetes Secret that is filled from Vault.

    Attributes:
        name: of the object that asks for it.
        target: name of the Secret.
        is_dynamic: made for this use, as database accounts are.
        mount: where in Vault, and `path` below it.
        templates: text by key of the Secret.
        includes: keys that it takes over from Vault as they are; patterns, as Vault's operator has them.
    """

    name: str
    namespace: str
    target: str
    is_dynamic: bool
    mount: str
    path: str
    templates: Mapping[str, str]
    includes: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class ServiceAccount:
    """A service account.

    Attributes:
        name: empty where Pulumi draws one.
    """

    name: str
    namespace: str
    annotations: Mapping[str, str]
    place: Place


@dataclass(frozen=True)
class Policy:
    """A policy of AWS, or the trust of a role.

    Attributes:
        name: the program's, of the resource.
        document: as AWS has it; empty where it is not known before it is applied.
    """

    name: str
    document: Mapping[str, Any]
    place: Place

    @property
    def statements(self) -> tuple[Mapping[str, Any], ...]:
        found = self.document.get("Statement", [])
        return tuple(found) if isinstance(found, list) else (found,)


@dataclass(frozen=True)
class Program:
    """A program evaluated for a stack.

    Attributes:
        project: name that Pulumi.yaml gives it.
        application: such as jupyterhub.
        resources: sorted by type and name.
        references: outputs that it asks of other stacks, as stack and output.
        asked: calls of AWS that it makes while it runs, as service and call.
        deleted_first: references to other stacks that are deleted before they are replaced.
    """

    stack: str
    application: str
    project: str
    resources: tuple[Resource, ...]
    references: tuple[tuple[str, str], ...] = ()
    asked: tuple[str, ...] = ()
    deleted_first: tuple[str, ...] = ()

    def of_type(self, *types: str) -> tuple[Resource, ...]:
        return tuple(resource for resource in self.resources if resource.type in types)

    @property
    def objects(self) -> tuple[KubernetesObject, ...]:
        """Return the Kubernetes objects that are made without a chart, sorted by kind, namespace and name."""
        found = [each for resource in self.resources for each in _objects(resource)]
        return tuple(sorted(found, key=lambda each: (each.kind, each.namespace, each.name)))

    def of_kind(self, kind: str) -> tuple[KubernetesObject, ...]:
        """Return the Kubernetes objects of a kind."""
        return tuple(each for each in self.objects if each.kind == kind)

    @property
    def releases(self) -> tuple[ProgramRelease, ...]:
        """Return the Helm releases, sorted by name.

        Raises:
            ProgramError: something of one is not known before it is applied.
        """
        found = [_release(resource) for resource in self.of_type(RELEASE)]
        return tuple(sorted(found, key=lambda release: (release.name, release.namespace)))

    def release(self, name: str) -> ProgramRelease:
        """Return the release of a name.

        Raises:
            ProgramError: there is none.
        """
        names = []
        for release in self.releases:
            names.append(release.name)
            if release.name == name:
                return release
        raise ProgramError(
            f"{self.application} for {self.stack}: expected a Helm release {name}, found {', '.join(names) or 'none'}\n"
            "The harness knows a hub by the name of its release."
        )

    @property
    def routes(self) -> tuple[Route, ...]:
        """Return the rules of all routes, sorted by host and name.

        Raises:
            ProgramError: something of one is not known before it is applied.
        """
        old = {(each.namespace, each.name): each for each in self.of_kind("ApisixPluginConfig")}
        new = {(each.namespace, each.name): each for each in self.of_kind("PluginConfig")}
        found = [route for each in self.of_kind("ApisixRoute") for route in _apisix_routes(each.known(), old)]
        found += [route for each in self.of_kind("HTTPRoute") for route in _http_routes(each.known(), new)]
        return tuple(sorted(found, key=lambda route: (route.hosts, route.name)))

    @property
    def secrets(self) -> tuple[VaultSecret, ...]:
        """Return the Secrets that are filled from Vault, sorted by target.

        Raises:
            ProgramError: something of one is not known before it is applied.
        """
        found = [
            _vault_secret(each.known(), is_dynamic=kind == "VaultDynamicSecret")
            for kind in ("VaultDynamicSecret", "VaultStaticSecret")
            for each in self.of_kind(kind)
        ]
        return tuple(sorted(found, key=lambda secret: (secret.namespace, secret.target, secret.name)))

    @property
    def databases(self) -> tuple[str, ...]:
        """Return the names of the databases: those that are made, and those that Vault gives accounts for."""
        made = {str(each.inputs["dbName"]) for each in self.resources if each.inputs.get("dbName")}
        for connection in self.of_type(VAULT_CONNECTION):
            url = str(connection.inputs.get("postgresql", {}).get("connectionUrl", ""))
            if name := url.partition("?")[0].rpartition("/")[2]:
                made.add(name)
        return tuple(sorted(made - {UNKNOWN}))

    @property
    def service_accounts(self) -> tuple[ServiceAccount, ...]:
        found = [
            ServiceAccount(each.name, each.namespace, _annotations(each), each.place)
            for each in self.of_kind("ServiceAccount")
        ]
        return tuple(sorted(found, key=lambda account: (account.namespace, account.name)))

    @property
    def buckets(self) -> tuple[str, ...]:
        """Return the names of the buckets that are made."""
        types = [each.type for each in self.resources if each.type.startswith("aws:s3/bucket")]
        made = [each for each in self.of_type(*types) if each.type.rpartition(":")[2] in ("Bucket", "BucketV2")]
        return tuple(sorted({str(each.inputs.get("bucket") or each.name) for each in made}))

    @property
    def policies(self) -> tuple[Policy, ...]:
        """Return AWS' policies, those of one role alone among them."""
        found = self.of_type(POLICY, INLINE_POLICY)
        return tuple(Policy(each.name, _document(each, "policy"), each.place) for each in found)

    @property
    def trusts(self) -> tuple[Policy, ...]:
        """Return the trust policy of each AWS role."""
        return tuple(Policy(each.name, _document(each, "assumeRolePolicy"), each.place) for each in self.of_type(ROLE))


def unknown_in(value: Any, path: str) -> Iterator[str]:
    """Yield the paths of all that is not known before it is applied, in a value that is called `path`."""
    if value == UNKNOWN:
        yield path
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from unknown_in(each, f"{path}.{key}")
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from unknown_in(each, f"{path}[{index}]")


def _known(values: Mapping[str, Any], what: str, place: Place) -> None:
    """Refuse what is not known before it is applied."""
    for key, value in values.items():
        for path in unknown_in(value, key):
            raise ProgramError(
                f"{place}: {path} of {what} is not known before it is applied\n"
                "It comes from another stack or from a provider, and nothing in the checkout has it."
            )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(resource: Resource) -> Iterator[KubernetesObject]:
    """Yield the objects of a resource: one of Kubernetes' own, or the list that a group of them is given."""
    if not resource.type.startswith("kubernetes:") or resource.type == RELEASE:
        return
    bodies = resource.inputs.get("objs", [resource.inputs])
    for body in bodies if isinstance(bodies, list) else []:
        if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
            metadata = body["metadata"]
            yield KubernetesObject(
                kind=str(body.get("kind") or resource.type.rpartition(":")[2]),
                name=str(metadata.get("name") or ""),
                namespace=str(metadata.get("namespace") or ""),
                body=body,
                place=resource.place,
            )


def _annotations(account: KubernetesObject) -> Mapping[str, str]:
    return _mapping(_mapping(account.body["metadata"]).get("annotations"))


def _release(resource: Resource) -> ProgramRelease:
    inputs = resource.inputs
    used = ("chart", "name", "namespace", "repositoryOpts", "values", "version")
    _known({key: inputs.get(key) for key in used}, f"the Helm release {resource.name}", resource.place)
    return ProgramRelease(
        name=str(inputs.get("name", "")),
        namespace=str(inputs.get("namespace", "")),
        chart=str(inputs.get("chart", "")),
        version=str(inputs.get("version", "")),
        repository=str(inputs.get("repositoryOpts", {}).get("repo", "")),
        values=inputs.get("values", {}),
        place=resource.place,
    )


_Shared = Mapping[tuple[str, str], KubernetesObject]


def _apisix_routes(resource: KubernetesObject, shared: _Shared) -> Iterator[Route]:
    for rule in resource.spec.get("http", []):
        match = rule.get("match", {})
        plugin_config = str(rule.get("plugin_config_name", ""))
        own = [_plugin(each) for each in rule.get("plugins", [])]
        yield Route(
            name=str(rule.get("name", "")),
            namespace=resource.namespace,
            hosts=tuple(match.get("hosts", [])),
            paths=tuple(match.get("paths", [])),
            backends=tuple(Backend(each["serviceName"], each["servicePort"]) for each in rule.get("backends", [])),
            plugins=_with_shared(own, shared.get((resource.namespace, plugin_config))),
            plugin_config=plugin_config,
            websocket=bool(rule.get("websocket", False)),
            rule=rule,
            place=resource.place,
        )


def _http_routes(resource: KubernetesObject, shared: _Shared) -> Iterator[Route]:
    for number, rule in enumerate(resource.spec.get("rules", [])):
        references = [each["extensionRef"] for each in rule.get("filters", []) if "extensionRef" in each]
        plugin_config = next((str(each["name"]) for each in references if each.get("kind") == "PluginConfig"), "")
        backends = [Backend(str(each["name"]), each.get("port", "")) for each in rule.get("backendRefs", [])]
        yield Route(
            name=f"{resource.name}-{number}",
            namespace=resource.namespace,
            hosts=tuple(resource.spec.get("hostnames", [])),
            paths=tuple(each["path"]["value"] for each in rule.get("matches", []) if "path" in each),
            backends=tuple(backends),
            plugins=_with_shared([], shared.get((resource.namespace, plugin_config))),
            plugin_config=plugin_config,
            websocket=None,
            rule=rule,
            place=resource.place,
        )


def _with_shared(own: list[Plugin], resource: KubernetesObject | None) -> tuple[Plugin, ...]:
    names = {plugin.name for plugin in own}
    shared = [_plugin(each) for each in resource.known().spec.get("plugins", [])] if resource else []
    return (*own, *(plugin for plugin in shared if plugin.name not in names))


def _plugin(entry: Mapping[str, Any]) -> Plugin:
    return Plugin(str(entry.get("name", "")), entry.get("config", {}), bool(entry.get("enable", True)))


def _vault_secret(resource: KubernetesObject, *, is_dynamic: bool) -> VaultSecret:
    spec, destination = resource.spec, resource.spec.get("destination", {})
    transformation = _mapping(destination.get("transformation"))
    templates = _mapping(transformation.get("templates"))
    return VaultSecret(
        name=resource.name,
        namespace=resource.namespace,
        target=str(destination.get("name", "")),
        is_dynamic=is_dynamic,
        mount=str(spec.get("mount", "")),
        path=str(spec.get("path", "")),
        templates={key: str(each.get("text", "")) for key, each in templates.items()},
        includes=tuple(transformation.get("includes") or ()),
        place=resource.place,
    )


def _document(resource: Resource, key: str) -> Mapping[str, Any]:
    document = resource.inputs.get(key, {})
    if isinstance(document, str) and document != UNKNOWN:
        document = json.loads(document)
    return document if isinstance(document, dict) else {}
