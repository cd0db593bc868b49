"""Settings that images take from the machine they are built on: its package registries, and its trusted authorities."""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from harness.base.errors import HarnessError
from harness.base.shell import run
from harness.host.isolation import GIVEN_NO_PROXY

CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
"""Files of trusted certificates on Debian, Fedora and others."""
PIP_SETTINGS = ("index-url", "extra-index-url", "trusted-host", "timeout")
PIP_FILES = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
MAVEN_FILES = ("/etc/maven/settings.xml", "~/.m2/settings.xml")
MAVEN_SECTIONS = ("proxies", "servers", "mirrors")
"""Parts of Maven's settings.xml that say where it finds packages, in the order of its schema."""
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def certificates(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file of the certificates that this machine trusts.

    Raises:
        HarnessError: the machine has none.
    """
    for place in (environ.get("SSL_CERT_FILE", ""), *CERTIFICATES):
        if place and Path(place).is_file():
            return Path(place)
    raise HarnessError("This machine has no file of CA certificates; install ca-certificates, or set SSL_CERT_FILE.")


def apt_sources(suite: str) -> str:
    """Return the machine's own Debian mirrors as apt sources for a suite; empty where it has none."""
    if not shutil.which("apt-get"):
        return ""
    listed = run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages", "Origin: Debian"],
        timeout=60,
        what="asking apt for its mirrors",
    )
    lines = set()
    for uri, label in (line.split(maxsplit=1) for line in listed.splitlines()):
        wanted = [f"{suite}-security"] if label == "Debian-Security" else [suite, f"{suite}-updates"]
        lines |= {f"deb {uri} {each} main\n" for each in wanted}
    return "".join(sorted(lines))


def pip_configuration(environ: Mapping[str, str] = os.environ) -> str:
    """Return a pip.conf with the package indexes of this machine's pip."""
    settings: dict[str, str] = {}
    for place in (*PIP_FILES, environ.get("PIP_CONFIG_FILE", "")):
        parser = configparser.RawConfigParser()
        parser.read(Path(place).expanduser() if place else [])
        for name in PIP_SETTINGS:
            settings[name] = parser.get("global", name, fallback=settings.get(name, ""))
    for name in PIP_SETTINGS:
        settings[name] = environ.get(f"PIP_{name.upper().replace('-', '_')}", settings[name])
    lines = [f"{name} = {value}\n".replace("\n", "\n    ").rstrip(" ") for name, value in settings.items() if value]
    return "".join(["[global]\n", *lines])


def maven_settings(environ: Mapping[str, str] = os.environ, files: tuple[str, ...] = MAVEN_FILES) -> str:
    """Return a settings.xml with the mirrors and proxies of this machine's Maven; it may have no Maven.

    Where its files name no proxy, that of the environment is Maven's too, which does not read the environment itself.

    Raises:
        HarnessError: one of the files is not XML.
    """
    settings = ElementTree.Element("settings")
    for name in MAVEN_SECTIONS:
        found = [entry for file in files for entry in _maven_entries(Path(file).expanduser(), name)]
        if name == "proxies" and not found:
            found = list(_maven_proxies(environ))
        if found:
            ElementTree.SubElement(settings, name).extend(found)
    ElementTree.indent(settings)
    return ElementTree.tostring(settings, encoding="unicode") + "\n"


def _maven_entries(file: Path, section: str) -> list[ElementTree.Element]:
    """Return the entries of one section of a settings.xml, without their namespace."""
    if not file.is_file():
        return []
    try:
        root = ElementTree.parse(file).getroot()
    except ElementTree.ParseError as error:
        raise HarnessError(f"{file}: not XML, so Maven's mirrors cannot be read from it: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else element.tag
    return root.findall(f"{section}/*")


def _maven_proxies(environ: Mapping[str, str]) -> Iterator[ElementTree.Element]:
    for protocol in ("http", "https"):
        url = urlsplit(environ.get(f"{protocol}_proxy") or environ.get(f"{protocol.upper()}_PROXY") or "")
        if not url.hostname:
            continue
        around = environ.get(GIVEN_NO_PROXY, environ.get("no_proxy") or environ.get("NO_PROXY") or "")
        hosts = [f"*{host}" if host.startswith(".") else host for host in around.replace(" ", "").split(",") if host]
        fields = {
            "id": protocol,
            "active": "true",
            "protocol": protocol,
            "host": url.hostname,
            "port": str(url.port or 80),
            "username": unquote(url.username or ""),
            "password": unquote(url.password or ""),
            "nonProxyHosts": "|".join(hosts),
        }
        entry = ElementTree.Element("proxy")
        for name, value in fields.items():
            if value:
                ElementTree.SubElement(entry, name).text = value
        yield entry


def proxies(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the machine's proxy settings; a Dockerfile takes them as build arguments without declaring them."""
    return {name: environ[name] for name in PROXIES if environ.get(name)}
