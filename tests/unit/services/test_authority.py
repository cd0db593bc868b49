"""The run's own certificate authority."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness.base.errors import HarnessError
from harness.base.names import Names
from harness.services.authority import Authority
from tests.unit.fakes import greet


def test_clients_of_the_run_trust_it(tmp_path: Path) -> None:
    authority = Authority.of_run(tmp_path)
    greet(authority.issue("gate", "a.example"), "a.example", Names({}, authority.certificate))


def test_the_next_call_finds_the_same(tmp_path: Path) -> None:
    """Or a kept Keycloak would not be trusted by the gate of the next run."""
    before = Authority.of_run(tmp_path).certificate.read_bytes()
    assert Authority.of_run(tmp_path).certificate.read_bytes() == before


@pytest.mark.parametrize(
    ("host", "ends", "why"),
    [
        ("b.example", None, "Hostname mismatch"),
        ("a.example", datetime.now(UTC) - timedelta(days=1), "certificate has expired"),
    ],
)
def test_a_certificate_that_does_not_fit_is_refused(host: str, ends: datetime | None, why: str, tmp_path: Path) -> None:
    authority = Authority.of_run(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        greet(authority.issue("gate", "a.example", ends=ends), host, Names({}, authority.certificate))


def test_another_authority_is_refused(tmp_path: Path) -> None:
    authority, other = Authority.of_run(tmp_path / "a"), Authority.of_run(tmp_path / "b")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed|signature"):
        greet(other.issue("gate", "a.example"), "a.example", Names({}, authority.certificate))


def test_its_own_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    authority = Authority.of_run(tmp_path)
    assert (authority.directory / "authority.key").stat().st_mode & 0o777 == 0o600
    assert authority.directory.stat().st_mode & 0o777 == 0o700


def test_one_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    authority = Authority.of_run(tmp_path)
    (authority.directory / "authority.key").write_text("-----BEGIN PRIVATE KEY-----\nbroken\n")
    with pytest.raises(
        HarnessError, match=r"/authority: the run's certificate authority cannot be read: .* removes it"
    ):
        authority.issue("gate", "a.example")
