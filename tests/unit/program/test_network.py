"""Connections that AWS lets in."""

from __future__ import annotations

from typing import Any

import pytest

from harness.program.closure import Place
from harness.program.model import UNKNOWN, Resource
from harness.program.network import SECURITY_GROUPS, ingress_rules, is_wide

GROUP, RULE, NEW_RULE = SECURITY_GROUPS
POSTGRES = {"protocol": "tcp", "fromPort": 5432, "toPort": 5432}


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        (
            GROUP,
            {"ingress": [{**POSTGRES, "cidrBlocks": ["10.0.0.0/8"], "securityGroups": ["sg"]}]},
            [["10.0.0.0/8", "sg"]],
        ),
        (GROUP, {"ingress": [{**POSTGRES, "cidrBlocks": "unknown"}]}, [["unknown"]]),
        (GROUP, {"ingress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["::/0"]}]}, [["::/0"]]),
        (GROUP, {"ingress": [{**POSTGRES, "toPort": 5431, "fromPort": 80, "cidrBlocks": ["10.0.0.0/8"]}]}, []),
        (GROUP, {"ingress": [{**POSTGRES, "cidrBlocks": [], "securityGroups": []}]}, []),
        (GROUP, {"ingress": UNKNOWN}, [[UNKNOWN]]),
        (GROUP, {"ingress": [{**POSTGRES, "toPort": UNKNOWN, "cidrBlocks": ["::1/128"]}]}, [["::1/128"]]),
        (GROUP, {}, []),
        (RULE, {**POSTGRES, "type": "ingress", "sourceSecurityGroupId": "sg"}, [["sg"]]),
        (RULE, {**POSTGRES, "type": "egress", "cidrBlocks": ["0.0.0.0/0"]}, []),
        (NEW_RULE, {"ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432, "cidrIpv4": "0.0.0.0/0"}, [["0.0.0.0/0"]]),
    ],
)
def test_rules_of_a_port(kind: str, inputs: dict[str, Any], expected: list[list[str]]) -> None:
    assert list(ingress_rules(Resource(kind, "database", True, inputs, Place("a.py", 1)), 5432)) == expected


@pytest.mark.parametrize(
    ("source", "wide"),
    [
        ("0.0.0.0/0", True),
        ("128.0.0.0/1", True),
        ("::/0", True),
        ("18.0.0.0/8", False),
        ("10.0.0.0/8", False),
        ("sg-1", False),
    ],
)
def test_wide_networks_are_as_good_as_the_internet(source: str, wide: bool) -> None:
    assert is_wide(source) is wide
