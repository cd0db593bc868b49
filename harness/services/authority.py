"""The run's own certificate authority. Its files are the run's: the teardown removes them, keys and all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trustme

from harness.base.errors import EnvironmentFault
from harness.base.files import make_readable


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as files that any container can read."""

    chain: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a directory of the run, new where there is none yet."""

    directory: Path

    @classmethod
    def of_run(cls, state: Path) -> Authority:
        """Return the authority of the run with that directory."""
        authority = cls(state / "authority")
        if not authority._key.exists():
            authority.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = trustme.CA(
                organization_name="ol-jupyterhub-harness", organization_unit_name=f"of {state.parent.name}"
            )
            made.cert_pem.write_to_path(authority.certificate)
            # Last: it is by the key that the next call knows that all is there.
            authority._key.touch(0o600)
            made.private_key_pem.write_to_path(authority._key)
        return authority

    @property
    def certificate(self) -> Path:
        """The authority's own certificate, for those who are to trust it."""
        return self.directory / "authority.pem"

    @property
    def _key(self) -> Path:
        return self.directory / "authority.key"

    def issue(self, name: str, *hosts: str, ends: datetime | None = None) -> Certificate:
        """Issue a certificate for hosts.

        Args:
            name: of its files.
            ends: when it expires; not for years unless given.

        Raises:
            EnvironmentFault: the authority's files cannot be read.
        """
        try:
            authority = trustme.CA.from_pem(self.certificate.read_bytes(), self._key.read_bytes())
        except (OSError, ValueError) as error:
            raise EnvironmentFault(
                f"{self.directory}: the run's certificate authority cannot be read: {error}. 'tox -e down' removes it."
            ) from error
        begins = datetime(ends.year - 1, 1, 1, tzinfo=ends.tzinfo) if ends else None
        issued = authority.issue_cert(*hosts, not_before=begins, not_after=ends)
        files = Certificate(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        files.chain.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(files.key)
        for file in (files.chain, files.key):
            make_readable(file)
        return files
