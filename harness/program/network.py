"""Connections that AWS lets in, by the security groups of a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from harness.program.access import as_list
from harness.program.model import UNKNOWN, Resource

SECURITY_GROUPS = (
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
)
"""Groups with their rules, and rules on their own."""
SOURCES = (
    "cidrBlocks",
    "ipv6CidrBlocks",
    "prefixListIds",
    "securityGroups",
    "sourceSecurityGroupId",
    "cidrIpv4",
    "cidrIpv6",
    "prefixListId",
    "referencedSecurityGroupId",
)
WIDE = 8
"""Bits of a prefix; a network with fewer is as good as the internet."""


def ingress_rules(resource: Resource, port: int) -> Iterator[list[str]]:
    """Yield what each rule of a security group lets in at a port: networks, groups, or texts for unknown ones."""
    given = resource.inputs
    for rule in as_list(given.get("ingress", [])) if resource.type == SECURITY_GROUPS[0] else [given]:
        if rule == UNKNOWN:
            yield [UNKNOWN]
        if not isinstance(rule, Mapping) or rule.get("type", "ingress") != "ingress" or not _takes(rule, port):
            continue
        if sources := [str(each) for key in SOURCES for each in as_list(rule.get(key) or [])]:
            yield sources


def is_wide(source: str) -> bool:
    """Return whether a source is a network that is as good as the internet."""
    try:
        return ip_network(source, strict=False).prefixlen < WIDE
    except ValueError:
        return False


def _takes(rule: Mapping[str, Any], port: int) -> bool:
    if str(rule.get("protocol", rule.get("ipProtocol"))) in ("-1", "all"):
        return True
    first, last = rule.get("fromPort", -1), rule.get("toPort", -1)
    return UNKNOWN in (first, last) or int(first) <= port <= int(last)
