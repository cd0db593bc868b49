"""Rights in AWS of the accounts of servers, by the roles and policies of a program."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from harness.program.model import INLINE_POLICY, POLICY, ROLE, Policy, Program

ATTACHMENTS = ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/policyAttachment:PolicyAttachment")
ASSUME = "sts:AssumeRoleWithWebIdentity"
"""The action by which a pod takes a role, under its account of Kubernetes."""
ALL = "*"


def roles_of(program: Program, subject: str) -> set[str]:
    """Return the names of the roles that an account of Kubernetes may assume.

    Args:
        subject: as in system:serviceaccount:NAMESPACE:ACCOUNT.
    """
    called = _called(program, ROLE)
    return {
        called[trust.name]
        for trust in program.trusts
        for statement in trust.statements
        if any(_matches(subject, pattern) if wild else subject == pattern for pattern, wild in _subjects(statement))
    }


def trusted_subjects(program: Program) -> list[str]:
    """Return the accounts of Kubernetes that roles trust, as conditions name them; `*` where a role trusts them all."""
    statements = (statement for trust in program.trusts for statement in trust.statements)
    return sorted({pattern for statement in statements for pattern, _ in _subjects(statement)})


def policies_of(program: Program, roles: Collection[str]) -> list[Policy]:
    """Return the policies of roles: those that are attached to them, and their own."""
    attached = {
        _end(each.inputs.get("policyArn"))
        for each in program.of_type(*ATTACHMENTS)
        if any(_end(role) in roles for role in (each.inputs.get("role"), *as_list(each.inputs.get("roles", []))))
    }
    called = _called(program, ROLE)
    attached |= {
        _end(arn)
        for each in program.of_type(ROLE)
        if called[each.name] in roles
        for arn in each.inputs.get("managedPolicyArns") or ()
    }
    theirs = {name for name, called in _called(program, POLICY).items() if called in attached}
    theirs |= {each.name for each in program.of_type(INLINE_POLICY) if _end(each.inputs.get("role")) in roles}
    return [policy for policy in program.policies if policy.name in theirs]


def resources_allowed(policies: Collection[Policy], action: str) -> set[str]:
    """Return the resources on which policies allow an action, with wildcards as they are written."""
    return {
        str(resource)
        for policy in policies
        for statement in policy.statements
        if _allows(statement, action)
        for resource in as_list(statement.get("Resource", []))
    }


def may_write_to(policies: Collection[Policy], bucket: str) -> bool:
    """Return whether policies allow to write objects of a bucket: all of them, or those under a prefix."""
    for resource in resources_allowed(policies, "s3:PutObject"):
        pattern, _, objects = resource.partition("/")
        if (objects or pattern.endswith("*")) and _matches(f"arn:aws:s3:::{bucket}", pattern):
            return True
    return False


def as_list(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as a list of one: AWS takes both."""
    return value if isinstance(value, list) else [value]


def _subjects(statement: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield the accounts that a role's trust is for, each with whether its wildcards count."""
    if not _allows(statement, ASSUME):
        return
    conditions = [
        (str(pattern), "StringLike" in operator)
        for operator, keys in statement.get("Condition", {}).items()
        for key, value in keys.items()
        # One that leaves accounts out, as StringNotEquals does, is for all others.
        if key.endswith(":sub") and "Not" not in operator
        for pattern in as_list(value)
    ]
    yield from conditions or [(ALL, True)]


def _allows(statement: Mapping[str, Any], action: str) -> bool:
    given = (str(each).lower() for each in as_list(statement.get("Action", [])))
    return statement.get("Effect") == "Allow" and any(_matches(action.lower(), pattern) for pattern in given)


def _matches(text: str, pattern: str) -> bool:
    # AWS knows * and ?, and no brackets.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _called(program: Program, kind: str) -> dict[str, str]:
    """Return what AWS calls resources, by what the program calls them."""
    return {each.name: str(each.inputs.get("name") or each.name) for each in program.of_type(kind)}


def _end(name: Any) -> str:
    """Return the name in an ARN, or the name as it is."""
    return str(name).rpartition(":")[2].rpartition("/")[2]
