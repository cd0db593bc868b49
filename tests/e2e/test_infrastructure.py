"""The infrastructure as it would be applied: names that agree, the gate, sessions, memory, and the build jobs.

It is read from the owners' program, evaluated for each stack; nothing of it needs a cluster. Promises about values hold
for the values files of the run as well, with a checkout or without one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kubernetes.utils import parse_quantity

from fixtures.infrastructure import FILES, AppliedRelease
from harness.base.quantities import duration_seconds
from harness.charts.manifests import secret_reference
from harness.gate.settings import CALLBACK
from harness.plan.contract import (
    BUSY,
    CLOSED_SERVICES,
    COURSE_REPOSITORY,
    INGRESS_CLASS,
    REGION,
    REPOSITORY,
    SSO_ADDRESSES,
    SSO_SECRET,
    USER_SCHEDULERS,
)
from harness.plan.hubs import AUTHORING, STUDENT, HubSpec
from harness.program.access import as_list, may_write_to, policies_of, resources_allowed, roles_of, trusted_subjects
from harness.program.apisix import KINDS, apisix_objects, turns_away
from harness.program.closure import APPLICATIONS as DIRECTORIES
from harness.program.closure import COURSES_PIPELINE, KEYCLOAK, settings_of, stacks_of
from harness.program.difference import flat
from harness.program.errors import ProgramError
from harness.program.evaluation import APPLICATIONS, Evaluation
from harness.program.model import STACKS, VAULT_CONNECTION, Program, Resource, Route, VaultSecret
from harness.program.network import SECURITY_GROUPS, ingress_rules, is_wide
from harness.program.pipelines import BuildJob, Pipelines, course_pipelines, resources_of_steps
from harness.program.vault import refused_secrets

FORTNIGHT = 1_209_600
"""Seconds that the owners let a session live (48395e12f, 4d1367366)."""
SESSION_DEFAULTS = {"absolute_timeout": 86_400, "idling_timeout": 900, "rolling_timeout": 3600}
"""Seconds that lua-resty-session 4 takes for what is left out."""
GATE_HEADERS = 64 * 1024
"""Bytes of a header that the gate lets through (large_client_header_buffers in the owners' APISIX)."""
SCHEDULER_MEMORY = {STUDENT.name: "512Mi", AUTHORING.name: "512Mi", "jupyterhub-data": "1Gi"}
"""Limits that user schedulers were given after they ran out of memory (f339dd9e6, 0eb789892)."""
PRIVATE_IMAGES = ("ghcr.io/mitodl/",)
"""Beginnings of images that are pulled with a login only; for ECR the nodes have one."""
OF_A_STACK = re.compile(r"jupyter-courses-\w+|\.(ci|rc)\.|_(ci|qa)\b|\b(ci|qa|rc|production|Production|CI|QA)\b")
"""Texts that tell one stack from another, wherever they stand."""
DATABASE = "aws:rds/instance:Instance"
SAFE_DATABASE = {
    "storageEncrypted": (True, "the database is not encrypted"),
    "deletionProtection": (True, "an apply may delete the database"),
    "skipFinalSnapshot": (False, "nothing is left of the database when it is removed"),
    "multiAz": (True, "a failed zone takes the database with it"),
    "backupRetentionPeriod": (True, "there are no backups of the database"),
}
"""Settings of production's database, each with whether it is on, and what it means if it is not so."""
SHARED = "SharedPasswordAuthenticator"
ADMIN_PASSWORD = 32
"""Characters that JupyterHub asks of the password of a SharedPasswordAuthenticator's administrators."""
POSTGRES_PORT = 5432
PUBLIC_ACCESS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
HEADER_SIZE = re.compile(r"--max-http-header-size=(\d+)")
MEANT_TO_DIFFER = ("NOTEBOOK_BUCKET", "domain", "proxy", "ingress")


@pytest.mark.parametrize("application", APPLICATIONS)
@pytest.mark.parametrize("stack", STACKS)
def test_program_evaluates(owners: Evaluation, stack: str, application: str) -> None:
    """The program of the two hubs and that of the data hub evaluate for every stack."""
    error = owners.errors.get(f"{application} for {stack}")
    assert not error, str(error)


def test_pipelines_evaluate(owners: Evaluation) -> None:
    """The pipelines that build images and deploy the hubs evaluate."""
    error = owners.errors.get("the pipelines")
    assert not error, str(error)


def test_other_stacks_are_there(owners: Evaluation) -> None:
    """Every stack whose outputs the programs ask for is one that a program in the checkout has."""
    stacks = stacks_of(owners.checkout)
    wrong = sorted(
        f"{program.application} for {program.stack} asks the stack {name}, which no Pulumi.yaml and stack file are for"
        for program in owners.programs.values()
        for name in {name for name, _ in program.references if name.startswith("organization/")}
        if name.removeprefix("organization/") not in stacks
    )
    assert not wrong, "\n".join(wrong)


def test_references_to_stacks_are_not_deleted_first(owners: Evaluation) -> None:
    """A reference to another stack is made anew before the old one goes, whose stack may have another name by now."""
    wrong = sorted(
        f"{program.application} for {program.stack}: the reference {name} is deleted before it is replaced "
        "(delete_before_replace), and Pulumi then asks for a stack under its old name"
        for program in owners.programs.values()
        for name in program.deleted_first
    )
    assert not wrong, "\n".join(wrong)


def test_vault_is_the_same_for_all(owners: Evaluation) -> None:
    """The hubs and the data hub of one stack ask one Vault, by one address: in their settings and in their provider."""
    for stack in STACKS:
        addresses = {
            address: application
            for (application, of), program in owners.programs.items()
            if of == stack
            for address in _vaults(owners, program)
        }
        assert len(addresses) <= 1, f"two Vaults for {stack}: " + ", ".join(
            f"{b} asks {a}" for a, b in addresses.items()
        )


def _vaults(owners: Evaluation, program: Program) -> Iterator[str]:
    """Yield the addresses of Vault that a program asks: its provider's, and the one of the provider by default."""
    yield from (str(resource.inputs.get("address")) for resource in program.of_type("pulumi:providers:vault"))
    if address := settings_of(owners.checkout / DIRECTORIES[program.application], program.stack).get("vault:address"):
        yield str(address)


def database_secret(program: Program, release: AppliedRelease) -> VaultSecret:
    """Return the Secret, filled from Vault, that a hub reads its database's address from."""
    reference = database_reference(release)
    filled = {(each.namespace, each.target): each for each in program.secrets}
    secret = filled.get((release.namespace, str(reference.get("name"))))
    assert secret, (
        f"{release}: DATABASE_URL comes from the Secret {reference.get('name')} in {release.namespace}, and Vault "
        f"fills {sorted(target for namespace, target in filled if namespace == release.namespace)} there"
    )
    assert reference.get("key") in secret.templates, (
        f"{release}: the Secret {secret.target} has {sorted(secret.templates)}, not the key {reference.get('key')}"
    )
    return secret


def database_reference(release: AppliedRelease) -> Mapping[str, Any]:
    """Return the name and the key of the Secret that DATABASE_URL comes from; empty where it comes from none."""
    return secret_reference(release.environment("hub").get("DATABASE_URL"))


def test_hub_reads_its_database_from_a_secret(applied_values: AppliedRelease) -> None:
    """DATABASE_URL comes from a Secret, and neither address nor password stands in the values."""
    written = database_address(applied_values)
    assert not written, f"{applied_values}: the values have the database's address, password and all, as {written}"
    reference = database_reference(applied_values)
    assert {"name", "key"} <= reference.keys(), (
        f"{applied_values}: expected DATABASE_URL to come from a key of a Secret (valueFrom.secretKeyRef), found "
        f"{dict(reference) or 'nothing'}"
    )


def database_address(release: AppliedRelease) -> str:
    """Return the key of the value that has the address of a hub's database in plain text; empty for none."""
    if isinstance(release.environment("hub").get("DATABASE_URL"), str):
        return "hub.extraEnv.DATABASE_URL"
    return next((key for key in ("hub.db.url", "hub.db.password") if release.value(key)), "")


def test_hubs_name_secrets_of_their_own(all_values: Mapping[HubSpec, AppliedRelease]) -> None:
    """The Secrets with the addresses of the two hubs' databases have different names."""
    students, authors = all_values[STUDENT], all_values[AUTHORING]
    names = [database_reference(each).get("name") for each in (students, authors)]
    assert len(set(names)) == 2, f"{students} and {authors}: both hubs read their database from the Secret {names[0]}"


def test_shared_password_is_there(applied_values: AppliedRelease) -> None:
    """A hub with a shared password has one, and administrators' is as long as JupyterHub asks for."""
    given = applied_values.value(f"hub.config.{SHARED}") or {}
    chosen = str(applied_values.value("hub.config.JupyterHub.authenticator_class", ""))
    # Files get a password of the run's own, and a spawner's file may set one.
    elsewhere = applied_values.source == FILES or SHARED in str(applied_values.value("hub.extraConfig"))
    if chosen in ("shared-password", f"jupyterhub.authenticators.shared.{SHARED}") and not elsewhere:
        assert any(given.get(key) for key in ("admin_password", "user_password")), (
            f"{applied_values}: expected hub.config.{SHARED}.admin_password, found none: no author can log in"
        )
    password = str(given.get("admin_password") or "")
    # A secret is known by its name alone.
    assert not password or password.startswith("secret:") or len(password) >= ADMIN_PASSWORD, (
        f"{applied_values}: hub.config.{SHARED}.admin_password has {len(password)} characters, expected "
        f"{ADMIN_PASSWORD} or more: the hub does not start"
    )


def test_accounts_of_the_hubs_are_apart(all_values: Mapping[HubSpec, AppliedRelease]) -> None:
    """Authors' servers run under an account that is named, and students' servers do not run under it."""
    students, authors = all_values[STUDENT], all_values[AUTHORING]
    theirs, account = (each.value("singleuser.serviceAccountName") for each in (students, authors))
    assert account, f"{authors}: no singleuser.serviceAccountName: authors' servers have no rights in AWS"
    assert theirs != account, f"{students}: servers run under {theirs}, which is the authors' account"


def test_authors_are_told_of_a_bucket(all_values: Mapping[HubSpec, AppliedRelease]) -> None:
    """Authors' servers are told of the bucket that they publish to, and students' are not."""
    students, authors = all_values[STUDENT], all_values[AUTHORING]
    theirs, bucket = (each.environment("singleuser").get("NOTEBOOK_BUCKET") for each in (students, authors))
    assert bucket, f"{authors}: NOTEBOOK_BUCKET is {bucket!r}: nothing tells authors where they publish"
    assert not theirs, f"{students}: NOTEBOOK_BUCKET is {theirs}, and learners have no business there"


def test_hub_reads_the_database_that_vault_fills(program: Program, applied: AppliedRelease) -> None:
    """DATABASE_URL comes from a Secret that Vault fills, for the very database that Vault's accounts are for."""
    secret = database_secret(program, applied)
    named = _database_in(secret, applied)
    urls = {
        each.inputs["backend"]: str(each.inputs["postgresql"]["connectionUrl"])
        for each in program.of_type(VAULT_CONNECTION)
    }
    assert secret.mount in urls, f"{applied}: Vault has no database at {secret.mount}; it has {sorted(urls)}"
    given = _database_of(urls[secret.mount])
    assert named == given, f"{applied}: DATABASE_URL names the database {named}, and Vault's accounts are for {given}"


def test_each_secret_that_a_release_takes_is_filled(program: Program, applied: AppliedRelease) -> None:
    """Each Secret that a release's values name is filled from Vault or made by the program: its pods wait for it."""
    _check_secrets(program, str(applied), applied.namespace, applied.values)


def test_vault_lets_secrets_be_filled(owners: Evaluation) -> None:
    """Vault's policies let the role of each Secret that is filled from Vault read what it is filled from."""
    wrong = sorted(
        f"{program.application} for {program.stack}: {secret.name} is filled from {path}, which Vault's policy "
        f"{', '.join(policies)} does not let it read"
        for program in owners.programs.values()
        for secret, path, policies in refused_secrets(program)
    )
    assert not wrong, "no hub starts, or no one logs in, for want of a Secret: " + "\n".join(wrong)


def _database_in(secret: VaultSecret, release: AppliedRelease) -> str:
    """Return the database that a hub is led to by its Secret."""
    return _database_of(secret.templates[str(database_reference(release)["key"])])


def _database_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


def test_hubs_have_databases_of_their_own(program: Program, students: AppliedRelease, authors: AppliedRelease) -> None:
    """Students' and authors' hubs keep their state in two databases."""
    names = [_database_in(database_secret(program, each), each) for each in (students, authors)]
    assert len(set(names)) == 2, f"both hubs ({program.stack}) keep their users in the database {names[0]}"


def test_authors_account_is_the_trusted_one(program: Program, authors: AppliedRelease) -> None:
    """The account that authors' servers run under exists, and a role that may write to their bucket trusts it."""
    account = authors.value("singleuser.serviceAccountName")
    there = [each.name for each in program.service_accounts if each.namespace == authors.namespace]
    assert account in there, f"{authors}: servers run under {account}, and {authors.namespace} has {sorted(there)}"
    wanted = subject_of(authors, account)
    assert roles_of(program, wanted), (
        f"{authors}: servers run as {wanted}, and roles trust {', '.join(trusted_subjects(program)) or 'none'}"
    )


def subject_of(release: AppliedRelease, account: str) -> str:
    """Return an account of a hub's namespace as AWS knows it."""
    return f"system:serviceaccount:{release.namespace}:{account}"


def test_students_have_no_account_with_rights(program: Program, students: AppliedRelease) -> None:
    """No role trusts the account that students' servers run under."""
    ours = subject_of(students, students.value("singleuser.serviceAccountName") or "default")
    roles = sorted(roles_of(program, ours))
    assert not roles, f"{students}: a role of AWS trusts the students' account {ours}: {', '.join(roles)}"


def test_authors_bucket_is_the_one_that_they_may_write_to(program: Program, authors: AppliedRelease) -> None:
    """The bucket in authors' servers is made by the program, and a policy of their role allows to write to it."""
    bucket = authors.environment("singleuser").get("NOTEBOOK_BUCKET")
    assert bucket in program.buckets, f"{authors}: NOTEBOOK_BUCKET is {bucket!r}, the program makes {program.buckets}"
    roles = roles_of(program, subject_of(authors, authors.value("singleuser.serviceAccountName")))
    policies = policies_of(program, roles)
    assert may_write_to(policies, str(bucket)), (
        f"{authors}: NOTEBOOK_BUCKET is {bucket}, and policies of the roles {sorted(roles)} allow to write to "
        f"{', '.join(sorted(resources_allowed(policies, 's3:PutObject'))) or 'nothing'}"
    )


def test_database_is_closed_and_kept(program: Program) -> None:
    """The internet does not reach the hubs' database, and production's outlives a failed zone and a wrong apply."""
    found = program.of_type(DATABASE)
    assert found, f"{program.application} for {program.stack} makes no database"
    for database in found:
        given = database.inputs
        wrong = ["publiclyAccessible: the internet reaches the database"] if given.get("publiclyAccessible") else []
        if program.stack == STACKS[-1]:
            for key, (expected, effect) in SAFE_DATABASE.items():
                wrong += [f"{key}: {effect}"] if bool(given.get(key)) != expected else []
        assert not wrong, f"{database.name} ({program.stack}, {database.place}): {'; '.join(wrong)}"


def test_database_takes_connections_of_ours_alone(program: Program) -> None:
    """The database's security groups let something in at its port, and not the whole internet."""
    groups = program.of_type(*SECURITY_GROUPS)
    rules = [rule for group in groups for rule in ingress_rules(group, POSTGRES_PORT)]
    assert rules or not groups, (
        f"{program.application} for {program.stack}: no rule of {', '.join(each.name for each in groups)} lets "
        f"anything in at {POSTGRES_PORT}: no hub reaches its database, and none starts"
    )
    wide = sorted({source for rule in rules for source in rule if is_wide(source)})
    assert not wide, (
        f"{program.application} for {program.stack}: {', '.join(wide)} may connect to the database at {POSTGRES_PORT}, "
        "which a password alone protects then: expected networks of ours"
    )


def test_authors_bucket_is_closed_and_kept(program: Program) -> None:
    """Nobody outside reads or writes the courses' bucket, and nothing that authors published is deleted by itself."""
    blocks = _of_bucket(program, "PublicAccessBlock")
    assert len(blocks) >= len(program.buckets), f"{program.stack}: a bucket of {program.buckets} has no access block"
    wrong = [f"{block.name}: {key} is off" for block in blocks for key in PUBLIC_ACCESS if not block.inputs.get(key)]
    versioned = [
        each
        for each in _of_bucket(program, "Versioning")
        if (each.inputs.get("versioningConfiguration") or {}).get("status") == "Enabled"
    ]
    if len(versioned) < len(program.buckets):
        wrong.append(f"a bucket of {program.buckets} has no versions: what an author overwrites is gone")
    for policy in _of_bucket(program, "Policy"):
        for statement in as_list(json.loads(policy.inputs["policy"]).get("Statement", [])):
            if statement.get("Effect") == "Allow" and _anybody(statement.get("Principal")):
                wrong.append(f"{policy.name}: {statement.get('Action')} is allowed to everybody")
    for rules in _of_bucket(program, "LifecycleConfiguration"):
        for rule in rules.inputs.get("rules", ()):
            if rule.get("status") == "Enabled" and rule.get("expiration", {}).get("days"):
                wrong.append(f"{rules.name}: what authors published goes after {rule['expiration']['days']} days")
    wrong += [f"{each.name}: forceDestroy is on" for each in _of_bucket(program, "") if each.inputs.get("forceDestroy")]
    assert not wrong, f"{program.application} for {program.stack}: {'; '.join(wrong)}"


def _of_bucket(program: Program, kind: str) -> tuple[Resource, ...]:
    return tuple(
        each for each in program.resources if re.fullmatch(f"aws:s3/bucket{kind}(V2)?:Bucket{kind}(V2)?", each.type)
    )


def _anybody(principal: Any) -> bool:
    return principal == "*" or (isinstance(principal, Mapping) and "*" in as_list(principal.get("AWS")))


def test_policies_end_at_the_buckets(program: Program) -> None:
    """No policy of the program allows all of a service's actions on more than the program's own buckets."""
    for policy in program.policies:
        for statement in policy.statements:
            actions, resources = (as_list(statement.get(key, [])) for key in ("Action", "Resource"))
            whole = [action for action in actions if re.fullmatch(r"\*|\w+:\*", str(action))]
            wide = [each for each in resources if str(each) in ("*", "arn:aws:s3:::*")]
            assert not (statement.get("Effect") == "Allow" and whole and wide), (
                f"{policy.name} ({program.stack}, {policy.place}) allows {', '.join(whole)} on {', '.join(wide)}: "
                "expected buckets by name"
            )


@pytest.mark.known_defect(
    "Vault's accounts for the databases end after half a year at most, and nothing restarts the hubs when Vault puts "
    "a new one into their Secret: a hub that runs that long then loses its database",
)
def test_new_account_of_the_database_reaches_the_hub(program: Program, applied: AppliedRelease) -> None:
    """A hub is restarted when Vault puts a new account for its database into the Secret that it read at its start."""
    target = database_secret(program, applied).target
    [filled] = [
        each
        for each in program.of_kind("VaultDynamicSecret")
        if each.namespace == applied.namespace and each.body["spec"]["destination"]["name"] == target
    ]
    restarted = [each.get("name") for each in filled.body["spec"].get("rolloutRestartTargets") or ()]
    assert "hub" in restarted, (
        f"{applied}: {filled.name} restarts {restarted or 'nothing'} when the account changes, expected the Deployment "
        "hub (spec.rolloutRestartTargets)"
    )


def routes_of(program: Program, release: AppliedRelease) -> list[Route]:
    """Return the routes into a release's namespace."""
    found = [route for route in program.routes if route.namespace == release.namespace]
    assert found, f"{release}: no route leads to {release.namespace}"
    return found


def test_route_leads_from_the_domain_to_the_proxy(program: Program, applied: AppliedRelease) -> None:
    """One route leads to each hub: from its domain, where a logout ends too, for all paths, to the proxy's Service."""
    [*routes] = routes_of(program, applied)
    assert len(routes) == 1, f"{applied}: expected one route to it, found {[route.name for route in routes]}"
    [route] = routes
    names = {entry for each in route.plugins for entry in as_list(each.config.get("post_logout_redirect_uri", []))}
    hosts = {re.sub(r"^https://|/.*", "", str(name)) for name in names}
    assert hosts <= set(route.hosts), (
        f"{applied}: the route is for {list(route.hosts)}, and a logout leads to {sorted(hosts)}"
    )
    assert route.paths == ("/*",), f"{applied}: expected the route to take all paths, /*; it takes {list(route.paths)}"
    backends = [(each.service, str(each.port)) for each in route.backends]
    assert backends in ([("proxy-public", "http")], [("proxy-public", "80")]), (
        f"{applied}: expected the route to lead to proxy-public:http, the proxy's Service; it leads to {backends}"
    )


def test_apisix_takes_what_it_is_given(program: Program) -> None:
    """Routes, plugins and hosts have the fields and types that APISIX's ingress controller takes, and no others."""
    given = {each.kind for each in apisix_objects(program)}
    assert given == KINDS.keys(), f"{program.stack}: expected {', '.join(KINDS)}, found {', '.join(sorted(given))}"


def test_apisix_reads_what_it_is_given(owners: Evaluation) -> None:
    """Routes and hosts are of the class that the clusters' APISIX reads."""
    wrong = sorted(
        f"{program.application} for {program.stack}: {each.kind} {each.name} is of the class {found or 'of none'!r}"
        for program in owners.programs.values()
        for each in program.objects
        if each.kind in KINDS
        and (found := each.spec.get("ingressClassName", "")) != INGRESS_CLASS
        # A set of plugins is found by its name.
        and (found or each.kind != "ApisixPluginConfig")
    )
    assert not wrong, f"{'; '.join(wrong)}: expected {INGRESS_CLASS!r}: no controller reads it, and no one gets in"


def test_certificate_is_for_the_domain(program: Program, applied: AppliedRelease) -> None:
    """A certificate is asked for with the name of each host that a route takes."""
    named = {
        str(name)
        for each in program.of_kind("Certificate")
        if each.namespace == applied.namespace
        for name in each.spec.get("dnsNames", [])
    }
    hosts = {host for route in routes_of(program, applied) for host in route.hosts}
    assert hosts <= named, f"{applied}: no certificate for {sorted(hosts - named)}; there are some for {sorted(named)}"


def test_nobody_passes_by_the_gate(program: Program, applied: AppliedRelease) -> None:
    """Every way to a hub asks for a login first: the route does, and neither Service nor Ingress leads past it."""
    for route in routes_of(program, applied):
        login = route.plugin("openid-connect")
        assert login, f"{applied}: the route {route.name} asks for no login: it has no openid-connect"
        assert login.enabled, f"{applied}: the route {route.name} asks for no login: openid-connect is disabled"
        action = login.config.get("unauth_action", "auth")
        assert action == "auth", (
            f"{applied}: the route {route.name} has unauth_action {action!r}: who has no session is let through; "
            "expected 'auth'"
        )
        assert not login.config.get("bearer_only"), (
            f"{applied}: the route {route.name} takes bearer tokens only, so a browser gets no login"
        )
    open_services = [
        f"{each.name} ({each.spec.get('type')})"
        for each in program.of_kind("Service")
        if each.namespace == applied.namespace and each.spec.get("type", "ClusterIP") not in CLOSED_SERVICES
    ]
    assert not open_services, f"{applied}: Services that are reached past the gate: {open_services}"
    ingresses = [each.name for each in program.of_kind("Ingress") if each.namespace == applied.namespace]
    assert not ingresses, f"{applied}: Ingresses that lead past the gate: {ingresses}"


def test_no_value_opens_a_way_past_the_gate(applied_values: AppliedRelease) -> None:
    """Neither an Ingress, nor a route of the chart, nor a Service leads to a hub past the gate."""
    for key in ("ingress.enabled", "httpRoute.enabled"):
        assert not applied_values.value(key), f"{applied_values}: {key} opens a second way, past the gate"
    for service, default in {"proxy.service": "LoadBalancer", "hub.service": "ClusterIP"}.items():
        kind = applied_values.value(f"{service}.type", default)
        assert kind in CLOSED_SERVICES, f"{applied_values}: {service}.type is {kind}, which is reached past the gate"
        for key in ("loadBalancerIP", "externalIPs"):
            assert not applied_values.value(f"{service}.{key}"), (
                f"{applied_values}: {service}.{key} opens a way past the gate"
            )


def test_gate_takes_a_class_at_one_address(program: Program, applied: AppliedRelease) -> None:
    """The gate turns no one away for where they come from, for their browser, or for how many of them come at once."""
    wrong = [
        f"{plugin.name} of the route {route.name}: {reason}"
        for route in routes_of(program, applied)
        for plugin in route.plugins
        if plugin.enabled and (reason := turns_away(plugin))
    ]
    assert not wrong, f"{applied}: the gate turns learners away: {'; '.join(wrong)}"


def test_websockets_pass_the_route(program: Program, applied: AppliedRelease) -> None:
    """The route lets WebSockets through, without which no kernel answers."""
    for route in routes_of(program, applied):
        assert route.websocket, f"{applied}: the route {route.name} has no websocket: true; no kernel answers"


def test_route_ends_no_quiet_connection(program: Program, applied: AppliedRelease) -> None:
    """The gate keeps a connection over which nothing is said for a minute, such as a kernel's that computes."""
    limits = [(route.name, route.rule.get("timeout")) for route in routes_of(program, applied)]
    limits += [
        (f"{each.kind} {each.name}", each.spec.get("timeout"))
        for each in program.objects
        if each.kind in ("ApisixUpstream", "BackendTrafficPolicy") and each.namespace == applied.namespace
    ]
    wrong = [
        f"{name} has timeout.{way} {limit.get(way)}"
        for name, limit in limits
        for way in ("read", "send")
        # 0 is the controller's default.
        if limit and 0 < duration_seconds(limit.get(way)) < BUSY
    ]
    assert not wrong, (
        f"{applied}: {', '.join(wrong)}: expected at least {BUSY} s, or the page of a learner whose cell computes "
        "loses its kernel"
    )


def test_sessions_live_for_a_fortnight(program: Program, applied: AppliedRelease) -> None:
    """A session at the gate ends after 14 days."""
    _check_session(program, applied, {"absolute_timeout": FORTNIGHT})


def test_sessions_do_not_end_early(program: Program, applied: AppliedRelease) -> None:
    """A session at the gate ends neither for being idle nor for being rolled."""
    _check_session(program, applied, {"idling_timeout": 0, "rolling_timeout": 0})


def _check_session(program: Program, applied: AppliedRelease, expected: Mapping[str, int]) -> None:
    for route in routes_of(program, applied):
        session = _session(route)
        found = {name: session.get(name, SESSION_DEFAULTS[name]) for name in expected}
        wrong = [
            f"{name} is {found[name]} s{'' if name in session else ' (left out: the default)'}, expected {it}"
            for name, it in expected.items()
            if found[name] != it
        ]
        assert not wrong, f"{applied}: sessions at the gate: {'; '.join(wrong)}"


def _session(route: Route) -> Mapping[str, Any]:
    login = route.plugin("openid-connect")
    session = login.config.get("session", {}) if login else {}
    return session if isinstance(session, Mapping) else {}


def test_session_cookies_have_names_of_their_own(programs: Mapping[str, Program]) -> None:
    """The gate's cookie has a name of its own for each hub and stack, so that one login never ends another."""
    names = {
        f"{route.name} for {stack}": str(_session(route).get("cookie_name", "session"))
        for stack, program in programs.items()
        for route in program.routes
        if route.plugin("openid-connect")
    }
    shared = sorted(name for name, count in Counter(names.values()).items() if count > 1)
    assert not shared, f"one cookie {shared[0]} for " + ", ".join(key for key, name in names.items() if name in shared)
    plain = sorted(key for key, name in names.items() if name == "session")
    assert not plain, f"the cookie of {plain[0]} has the default name 'session', which other applications use too"


def test_session_stays_with_its_hub(program: Program, applied: AppliedRelease) -> None:
    """The gate's cookie goes back to the hub's own host, and with its session to no other host of the domain."""
    hosts = {host for route in program.routes for host in route.hosts}
    for route in routes_of(program, applied):
        cookie = _session(route).get("cookie")
        nested = cookie.get("domain") if isinstance(cookie, Mapping) else None
        for domain in filter(None, (_session(route).get("cookie_domain"), nested)):
            name = str(domain).removeprefix(".")
            others = sorted(host for host in hosts if host.endswith(f".{name}"))
            only_here = name in route.hosts and not others
            assert only_here, (
                f"{applied}: the session's cookie is for {domain}, expected no cookie_domain: every host of it gets "
                f"the session of who is logged in at {', '.join(route.hosts)}"
            )


def test_login_comes_back_to_the_hub(owners: Evaluation, program: Program, applied: AppliedRelease) -> None:
    """Keycloak may send people back to each host of a hub, whatever path they came by."""
    filled = {f"{each.mount}/{each.path}" for each in program.secrets if each.namespace == applied.namespace}
    try:
        allowed = settings_of(owners.checkout / KEYCLOAK, program.stack).get(SSO_ADDRESSES)
    except ProgramError:
        allowed = None
    if SSO_SECRET not in filled or not allowed:
        pytest.skip(f"{applied}: the checkout does not have the return addresses of the client of its gate")
    wrong = [
        address
        for route in routes_of(program, applied)
        for address in _callbacks(route)
        # Keycloak knows a wildcard at the end alone.
        if not any(address == each or (each.endswith("*") and address.startswith(each[:-1])) for each in allowed)
    ]
    assert not wrong, (
        f"{applied}: Keycloak refuses to send people back to {', '.join(wrong)}, so that no one logs in: expected it "
        f"in {SSO_ADDRESSES} of {KEYCLOAK} for {program.stack}, found {', '.join(allowed)}"
    )


def _callbacks(route: Route) -> list[str]:
    login = route.plugin("openid-connect")
    given = str(login.config.get("redirect_uri") or "") if login else ""
    # By itself APISIX puts its callback behind the path that was asked for.
    return [given] if "://" in given else [f"https://{host}{given or '/any' + CALLBACK}" for host in route.hosts]


def test_requests_carry_an_id(program: Program, applied: AppliedRelease) -> None:
    """The gate gives each request an id, by which its logs are found."""
    for route in routes_of(program, applied):
        plugin = route.plugin("request-id")
        assert plugin, f"{applied}: the route {route.name} has no request-id"
        assert plugin.enabled, f"{applied}: the route {route.name} has its request-id disabled"


def node_options(release: AppliedRelease) -> str:
    """Return the options of Node.js that a hub's proxy runs with."""
    return str(release.environment("proxy.chp").get("NODE_OPTIONS", ""))


@pytest.mark.known_defect(
    "the proxy takes headers of 32 KB, and the gate lets 64 KB through",
)
def test_headers_that_pass_the_gate_pass_the_proxy(applied_values: AppliedRelease) -> None:
    """A header that the gate lets through fits through the proxy."""
    options = node_options(applied_values)
    found = HEADER_SIZE.search(options)
    size = int(found[1]) if found else 16 * 1024  # Node.js' default
    assert size >= GATE_HEADERS, (
        f"{applied_values}: the proxy takes headers of {size} bytes, and the gate of {GATE_HEADERS}"
    )


def test_proxy_takes_long_headers(applied_values: AppliedRelease) -> None:
    """The proxy takes headers of 32 KB, which the session's cookies need."""
    options = node_options(applied_values)
    found = HEADER_SIZE.search(options)
    assert found, (
        f"{applied_values}: NODE_OPTIONS is {options!r}: the proxy takes headers of 16 KB, and cookies are longer"
    )
    assert int(found[1]) >= 32 * 1024, f"{applied_values}: the proxy takes headers of {found[1]} bytes, expected 32768"


def test_user_scheduler_has_its_memory(applied_values: AppliedRelease) -> None:
    """The user scheduler has the memory that it was given after it had run out of it."""
    _check_scheduler(str(applied_values), applied_values.values, SCHEDULER_MEMORY[applied_values.hub.name])


def test_user_scheduler_is_there(applied_values: AppliedRelease) -> None:
    """The user scheduler is switched on, and there are two of it for when a node goes."""
    assert applied_values.value("scheduling.userScheduler.enabled", True), (
        f"{applied_values}: scheduling.userScheduler is off: servers are spread over all nodes, which then never empty"
    )
    copies = applied_values.value("scheduling.userScheduler.replicas", USER_SCHEDULERS)
    assert copies >= USER_SCHEDULERS, (
        f"{applied_values}: scheduling.userScheduler.replicas is {copies}, expected {USER_SCHEDULERS}: with none of "
        "it no server is placed, and with one none while its node is drained"
    )


def _check_scheduler(whose: str, values: Mapping[str, Any], least: str) -> None:
    scheduler = values.get("scheduling", {}).get("userScheduler", {})
    limit = scheduler.get("resources", {}).get("limits", {}).get("memory")
    assert limit is None or parse_quantity(limit) >= parse_quantity(least), (
        f"{whose}: the user scheduler is limited to {limit} of memory, expected {least} or more"
    )


def test_stacks_differ_where_they_are_meant_to(programs: Mapping[str, Program]) -> None:
    """The three stacks have the same values, but for the names of the stack itself."""
    trees = {
        stack: {
            f"{release.name} {path}": OF_A_STACK.sub("STACK", text)
            for release in program.releases
            for path, text in flat(release.values)
        }
        for stack, program in programs.items()
    }
    last = trees[STACKS[-1]]
    wrong = [
        f"{where}: {stack} has {tree.get(where, 'nothing')[:60]}, {STACKS[-1]} has {last.get(where, 'nothing')[:60]}"
        for stack, tree in trees.items()
        for where in sorted(tree.keys() | last.keys())
        if tree.get(where) != last.get(where) and not any(key in where for key in MEANT_TO_DIFFER)
    ]
    assert not wrong, "\n".join(wrong[:10])


def test_routes_differ_where_they_are_meant_to(programs: Mapping[str, Program]) -> None:
    """The routes of the three stacks have the same settings of login and WebSockets, but for names."""
    found = {
        stack: {
            route.name.removesuffix(stack.lower()): OF_A_STACK.sub("STACK", _login(route)) for route in program.routes
        }
        for stack, program in programs.items()
    }
    last = found[STACKS[-1]]
    wrong = [
        f"{name} for {stack}: {it}, and for {STACKS[-1]}: {last.get(name)}"
        for stack, routes in found.items()
        for name, it in routes.items()
        if it != last.get(name)
    ]
    assert not wrong, "\n".join(wrong)


def _login(route: Route) -> str:
    plugin = route.plugin("openid-connect")
    config = dict(plugin.config) if plugin else {}
    session = {key: value for key, value in _session(route).items() if key != "cookie_name"}
    hosts = ("post_logout_redirect_uri", "session")
    kept = {key: value for key, value in sorted(config.items()) if key not in hosts}
    return f"websocket {route.websocket}, {kept}, session {session}"


def test_every_build_job_has_a_repository(pipelines: Pipelines) -> None:
    """Every build job has a repository or an archive to build from, and no address ends in a blank."""
    wrong = [_fault(job) for job in pipelines.build_jobs]
    assert not any(wrong), "\n".join(filter(None, wrong))


def _fault(job: BuildJob) -> str:
    origin = job.repo_uri or (f"{job.s3_bucket}/{job.s3_object_path}" if job.s3_bucket and job.s3_object_path else "")
    if not origin.strip():
        return f"{job.place}: {job.image_name} has nothing to build from"
    for name, text in (("image_name", job.image_name), ("repository", origin)):
        if text != text.strip():
            return f"{job.place}: the {name} {text!r} of {job.image_name} has a blank at an end"
    return ""


def test_every_repository_has_a_course(pipelines: Pipelines) -> None:
    """No two build jobs build one repository, or push one image."""
    for what, values in (
        ("repository", [job.repo_uri for job in pipelines.build_jobs if job.repo_uri]),
        ("image", [job.image_name for job in pipelines.build_jobs]),
    ):
        # A repository's address may end in .git or not.
        counts = Counter(value.strip().removesuffix(".git").lower() for value in values)
        twice = sorted(value for value, count in counts.items() if count > 1)
        assert not twice, f"two build jobs for one {what}: {', '.join(twice)}"


def test_push_of_an_author_is_built(pipelines: Pipelines) -> None:
    """What an author pushes to a course's repository, or publishes, starts a build by itself."""
    wrong = []
    for command, definition in course_pipelines(pipelines):
        origin = command.variables.get("course_repo") or command.variables.get("s3_object_path") or ""
        triggers = [resource for step, resource in resources_of_steps(definition, "get") if step.get("trigger")]
        if not any(origin in str(resource.get("source")) for resource in triggers):
            wrong.append(command.variables["image_name"])
    assert not wrong, (
        f"{COURSES_PIPELINE}: what an author pushes to {wrong[0]} and {len(wrong) - 1} other courses builds nothing: "
        "expected a get step of the repository with trigger: true"
    )


def test_build_is_what_servers_pull(pipelines: Pipelines) -> None:
    """Each course's build is pushed to the repository and the tag that students' servers pull."""
    wrong = []
    for command, definition in course_pipelines(pipelines):
        image = command.variables["image_name"]
        puts = [resource.get("source", {}) for _, resource in resources_of_steps(definition, "put")]
        expected = {"repository": (REPOSITORY, COURSE_REPOSITORY), "tag": (image,), "aws_region": (REGION, None)}
        if not any(all(source.get(key) in values for key, values in expected.items()) for source in puts):
            found = [":".join(str(source.get(key)) for key in expected) for source in puts if "repository" in source]
            wrong.append(f"{image} goes to {', '.join(found) or 'no repository'}")
    assert not wrong, (
        f"{COURSES_PIPELINE}: the image of {wrong[0]}, and {len(wrong) - 1} more: servers pull "
        f"{COURSE_REPOSITORY}, tag image_name, and never get what an author pushed"
    )


def test_every_build_job_is_pre_pulled(pipelines: Pipelines, students: AppliedRelease) -> None:
    """The courses that build jobs push are those that the students' nodes pull before anybody comes."""
    entries = students.value("prePuller.extraImages", {}).values()
    pulled = {each["tag"] for each in entries if each.get("name") == COURSE_REPOSITORY}
    built = {job.image_name for job in pipelines.build_jobs}
    assert not built - pulled, f"{students}: built and not pre-pulled: {sorted(built - pulled)}"
    assert not pulled - built, f"{students}: pre-pulled, and no job builds it: {sorted(pulled - built)}"


def test_deployments_follow_each_other(pipelines: Pipelines) -> None:
    """The hubs are deployed to CI, then to QA, then to production, each after the one before."""
    stages = [stack.lower() for stack in STACKS]
    for pipeline in pipelines.pipelines:
        deploying: dict[str, list[Any]] = {}
        for job in pipeline.jobs:
            if str(job.get("name", "")).startswith("deploy-"):
                deploying.setdefault(job["name"].rpartition("-")[0], []).append(job)
        for deployment, jobs in deploying.items():
            found = [job["name"].rpartition("-")[2].lower() for job in jobs]
            assert found == stages, f"{pipeline.file}: {deployment} goes to {', '.join(found)}: expected {stages}"
            for before, job in itertools.pairwise(jobs):
                assert f"'{before['name']}'" in str(job), (
                    f"{pipeline.file}: {job['name']} does not wait for {before['name']} (passed)"
                )


def test_paths_in_aws_have_no_empty_part(owners: Evaluation) -> None:
    """Paths of roles and policies are ones that AWS takes: from a slash to a slash, with no two in a row."""
    wrong = sorted(
        f"{program.application} for {program.stack}: {each.name} has the path {each.inputs['path']} ({each.place})"
        for program in owners.programs.values()
        for each in program.resources
        if each.type.startswith("aws:iam/")
        and each.inputs.get("path")
        and not re.fullmatch(r"/([^/]+/)*", str(each.inputs["path"]))
    )
    assert not wrong, "AWS refuses a path with an empty part: " + "; ".join(wrong)


class TestDataHub:
    """The data hub, of which no copy is run."""

    def test_route_passes_websockets(self, data_program: Program) -> None:
        """The route lets WebSockets through: its backend says that it speaks them."""
        for route in data_program.routes:
            if route.websocket:
                continue
            services = {each.name: each for each in data_program.of_kind("Service")}
            for backend in route.backends:
                ports = services[backend.service].spec.get("ports", []) if backend.service in services else []
                speaks = {str(port.get("appProtocol")) for port in ports}
                assert "kubernetes.io/ws" in speaks, (
                    f"{route.name} ({data_program.stack}) leads to {backend.service}, which does not speak WebSockets: "
                    f"expected appProtocol kubernetes.io/ws, found {sorted(speaks) or 'no such Service'}"
                )

    def test_there_is_a_route(self, data_program: Program) -> None:
        """A route leads to the data hub, with a certificate for its host."""
        hosts = {host for route in data_program.routes for host in route.hosts}
        assert hosts, f"no route leads to the data hub ({data_program.stack})"
        named = {str(name) for each in data_program.of_kind("Certificate") for name in each.spec.get("dnsNames", [])}
        assert hosts <= named, (
            f"no certificate for {sorted(hosts - named)} ({data_program.stack}), only {sorted(named)}"
        )

    def test_requests_carry_an_id(self, data_program: Program) -> None:
        """The gate gives each request an id, by which its logs are found."""
        for route in data_program.routes:
            assert route.plugin("request-id"), f"{route.name} ({data_program.stack}) has no request-id"

    def test_login_comes_back_by_https(self, data_program: Program) -> None:
        """A login returns to the data hub's own host by https, though TLS ends before the hub."""
        for release in data_program.releases:
            config = release.values.get("hub", {}).get("config", {})
            address = str(config.get("GenericOAuthenticator", {}).get("oauth_callback_url", ""))
            hosts = {host for route in data_program.routes for host in route.hosts}
            expected = [f"https://{host}/hub/oauth_callback" for host in sorted(hosts)]
            assert address in expected, (
                f"{release.name} ({data_program.stack}): oauth_callback_url is {address or 'not set'!r}, "
                f"expected one of {expected}"
            )

    def test_hub_reads_the_database_that_vault_fills(self, data_program: Program) -> None:
        """Each Secret that the hub's environment names is filled from Vault or made by the program."""
        for release in data_program.releases:
            _check_secrets(data_program, f"{release.name} ({data_program.stack})", release.namespace, release.values)

    def test_user_scheduler_has_its_memory(self, data_program: Program) -> None:
        """The user scheduler has the memory that it was given after it had run out of it."""
        for release in data_program.releases:
            _check_scheduler(
                f"{release.name} ({data_program.stack})",
                release.values,
                SCHEDULER_MEMORY.get(release.name, "512Mi"),
            )

    def test_dns_reads_its_host(self, data_program: Program) -> None:
        """The hub's host is one that the cluster's DNS is made from: it reads HTTPRoutes and no other routes."""
        read = {str(name) for each in data_program.of_kind("HTTPRoute") for name in each.spec.get("hostnames", [])}
        hosts = {host for route in data_program.routes for host in route.hosts}
        assert hosts <= read, (
            f"{sorted(hosts - read)} ({data_program.stack}): no HTTPRoute has it, and external-dns reads nothing else "
            "in this cluster"
        )

    def test_private_image_comes_with_a_secret(self, data_program: Program) -> None:
        """An image from a registry that asks for a login is pulled with a Secret."""
        for release in data_program.releases:
            image = release.values.get("singleuser", {}).get("image", {})
            private = str(image.get("name", "")).startswith(PRIVATE_IMAGES)
            assert not private or image.get("pullSecrets"), (
                f"{release.name} ({data_program.stack}): {image.get('name')} is private, and singleuser.image has no "
                "pullSecrets"
            )


def _check_secrets(program: Program, release: str, namespace: str, values: Mapping[str, Any]) -> None:
    made = {each.target for each in program.secrets if each.namespace == namespace}
    made |= {each.name for each in program.of_kind("Secret") if each.namespace == namespace}
    missing = sorted(set(_secret_names(values)) - made)
    assert not missing, (
        f"{release} takes the Secret {', '.join(missing)}, which nothing fills in {namespace}; there are {sorted(made)}"
    )


def _secret_names(values: Any) -> Iterator[str]:
    """Yield the names of Secrets in values: of variables, and of what images are pulled with."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if key == "secretKeyRef" and isinstance(value, Mapping):
                yield str(value.get("name"))
            elif key in ("imagePullSecrets", "pullSecrets"):
                yield from (str(each["name"] if isinstance(each, Mapping) else each) for each in as_list(value))
            else:
                yield from _secret_names(value)
    elif isinstance(values, list):
        for value in values:
            yield from _secret_names(value)
