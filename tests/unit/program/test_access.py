"""Rights in AWS of the accounts of servers."""

from __future__ import annotations

from typing import Any

import pytest

from harness.program.access import may_write_to, policies_of, resources_allowed, roles_of, trusted_subjects
from harness.program.closure import Place
from harness.program.model import INLINE_POLICY, POLICY, ROLE, Program, Resource

AUTHORS = "system:serviceaccount:authors:publisher"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
ATTACHMENTS = "aws:iam/policyAttachment:PolicyAttachment"
WRITE = {"Effect": "Allow", "Action": "s3:Put*", "Resource": "arn:aws:s3:::notebooks/*"}


def program(*resources: tuple[str, str, dict[str, Any]]) -> Program:
    made = tuple(Resource(kind, name, True, inputs, Place("a.py", 1)) for kind, name, inputs in resources)
    return Program("QA", "jupyterhub", "jupyterhub", made)


def role(called: str, condition: dict[str, Any], **inputs: Any) -> tuple[str, str, dict[str, Any]]:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
    return ROLE, called, {"assumeRolePolicy": {"Statement": [statement]}, **inputs}


class TestRoles:
    @pytest.mark.parametrize(
        ("condition", "trusted"),
        [
            ({"StringEquals": {"oidc:sub": AUTHORS}}, True),
            ({"StringEquals": {"oidc:sub": ["another", AUTHORS]}}, True),
            ({"StringEquals": {"oidc:sub": "system:serviceaccount:authors:*"}}, False),
            ({"StringLike": {"oidc:sub": "system:serviceaccount:authors:*"}}, True),
            ({"ForAnyValue:StringLike": {"oidc:sub": "*:publishe?"}}, True),
            ({"StringLike": {"oidc:sub": "system:serviceaccount:[a]uthors:*"}}, False),
            ({"StringEquals": {"oidc:aud": "sts.amazonaws.com"}}, True),
            ({"StringNotEquals": {"oidc:sub": "another"}}, True),
            ({"StringNotEquals": {"oidc:sub": "another"}, "StringEquals": {"oidc:sub": "a third"}}, False),
        ],
        ids=[
            "it",
            "among-others",
            "no-wildcard",
            "wildcard",
            "one-character",
            "no-brackets",
            "whoever-has-a-token",
            "all-but-one",
            "one-and-not-another",
        ],
    )
    def test_trust_by_their_conditions(self, condition: dict[str, Any], trusted: bool) -> None:
        assert roles_of(program(role("publish", condition)), AUTHORS) == ({"publish"} if trusted else set())

    def test_trust_of_services_is_none_of_accounts(self) -> None:
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "rds.amazonaws.com"}}
        made = program((ROLE, "monitoring", {"assumeRolePolicy": {"Statement": statement}}))
        assert roles_of(made, AUTHORS) == set()
        assert trusted_subjects(made) == []

    def test_are_known_by_the_names_that_aws_has(self) -> None:
        assert roles_of(program(role("publish", {}, name="publish-qa")), AUTHORS) == {"publish-qa"}

    def test_what_they_trust_is_named(self) -> None:
        made = program(role("a", {"StringLike": {"oidc:sub": "system:*"}}), role("b", {}))
        assert trusted_subjects(made) == ["*", "system:*"]


class TestPolicies:
    def test_of_the_role_itself(self) -> None:
        policy = (POLICY, "publishing", {"policy": {"Statement": [WRITE]}})
        made = program(policy, role("publish", {}, managedPolicyArns=["arn:aws:iam::1:publishing"]), role("other", {}))
        assert [each.name for each in policies_of(made, {"publish"})] == ["publishing"]
        assert policies_of(made, {"other"}) == []

    @pytest.mark.parametrize(
        ("kind", "inputs"),
        [
            (ATTACHMENT, {"policyArn": "arn:aws:iam::1:publishing", "role": "publish"}),
            (
                ATTACHMENT,
                {"policyArn": "arn:aws:iam::1:policy/path/publishing", "role": "arn:aws:iam::1:role/path/publish"},
            ),
            (ATTACHMENTS, {"policyArn": "arn:aws:iam::1:publishing", "roles": ["publish"]}),
        ],
    )
    def test_are_those_that_are_attached(self, kind: str, inputs: dict[str, Any]) -> None:
        policy = (POLICY, "publishing", {"policy": {"Statement": [WRITE]}})
        assert policies_of(program(policy, (kind, "attachment", inputs)), {"other"}) == []
        [found] = policies_of(program(policy, (kind, "attachment", inputs)), {"publish"})
        assert found.name == "publishing"

    def test_one_that_no_role_has_allows_nothing(self) -> None:
        assert policies_of(program((POLICY, "publishing", {"policy": {"Statement": [WRITE]}})), {"publish"}) == []

    def test_of_one_role_alone(self) -> None:
        made = program((INLINE_POLICY, "own", {"role": "publish", "policy": {"Statement": WRITE}}))
        assert [each.name for each in policies_of(made, {"publish"})] == ["own"]
        assert policies_of(made, {"other"}) == []


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        (WRITE, True),
        ({**WRITE, "Action": ["s3:GetObject", "S3:putobject"]}, True),
        ({**WRITE, "Action": "*"}, True),
        ({**WRITE, "Action": ["s3:GetObject", "s3:ListBucket"]}, False),
        ({**WRITE, "Effect": "Deny"}, False),
    ],
)
def test_resources_are_those_of_the_action(statement: dict[str, Any], allowed: bool) -> None:
    made = program((POLICY, "publishing", {"policy": {"Statement": statement}}))
    assert resources_allowed(made.policies, "s3:PutObject") == ({"arn:aws:s3:::notebooks/*"} if allowed else set())


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        ("arn:aws:s3:::notebooks/*", True),
        ("arn:aws:s3:::notebooks/authors/*", True),
        ("arn:aws:s3:::note*/*", True),
        ("arn:aws:s3:::notebooks*", True),
        ("*", True),
        ("arn:aws:s3:::notebooks", False),
        ("arn:aws:s3:::notebooks-qa/*", False),
        ("arn:aws:s3:::notebooks-*", False),
    ],
)
def test_objects_of_a_bucket_are_written_under_a_prefix_too(resource: str, allowed: bool) -> None:
    made = program((POLICY, "publishing", {"policy": {"Statement": {**WRITE, "Resource": resource}}}))
    assert may_write_to(made.policies, "notebooks") is allowed
