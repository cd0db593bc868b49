"""Maven inside an image's build finds packages where this machine's Maven does, and gets out as this machine does."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.artifacts.host_settings import maven_settings
from harness.base.errors import HarnessError
from harness.host.isolation import GIVEN_NO_PROXY, isolated

MIRRORS = """<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0">
  <localRepository>/mine</localRepository>
  <mirrors><mirror><id>company</id><mirrorOf>*</mirrorOf><url>https://mirror.example/maven</url></mirror></mirrors>
  <servers><server><id>company</id><username>me</username></server></servers>
</settings>"""


def settings(environ: dict[str, str], *files: Path) -> dict[str, list[str]]:
    """Return the texts of what is in each section."""
    root = ElementTree.fromstring(maven_settings(environ, tuple(map(str, files))))
    return {section.tag: [each.text or "" for entry in section for each in entry] for section in root}


def test_without_maven_there_is_nothing(tmp_path: Path) -> None:
    assert settings({}, tmp_path / "none.xml") == {}


def test_mirrors_are_the_machines(tmp_path: Path) -> None:
    (tmp_path / "settings.xml").write_text(MIRRORS)
    assert settings({}, tmp_path / "settings.xml") == {
        "servers": ["company", "me"],
        "mirrors": ["company", "*", "https://mirror.example/maven"],
    }


def test_proxy_is_that_of_the_environment() -> None:
    """Maven does not read the environment itself."""
    given = {"https_proxy": "http://me:pass%40word@proxy.example:3128", "no_proxy": "localhost,.company.example"}
    assert settings(given) == {
        "proxies": [
            *("https", "true", "https", "proxy.example", "3128"),
            *("me", "pass@word", "localhost|*.company.example"),
        ]
    }


def test_what_a_run_reaches_without_a_proxy_is_none_of_mavens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else Keycloak, which it builds, would be another artifact in each run."""
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "localhost")
    monkeypatch.delenv(GIVEN_NO_PROXY, raising=False)
    before = settings(dict(os.environ))
    with isolated(["jh-1-registry"]), isolated(["jh-2-registry"]):
        assert settings(dict(os.environ)) == before


def test_a_proxy_of_its_own_wins(tmp_path: Path) -> None:
    own = "<settings><proxies><proxy><host>own.example</host></proxy></proxies></settings>"
    (tmp_path / "settings.xml").write_text(own)
    found = settings({"https_proxy": "http://proxy.example:3128"}, tmp_path / "settings.xml")
    assert found == {"proxies": ["own.example"]}


def test_what_is_not_xml_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.xml").write_text("<settings>")
    with pytest.raises(
        HarnessError, match=r"settings.xml: not XML, so Maven's mirrors cannot be read from it: no elem"
    ):
        maven_settings({}, (str(tmp_path / "settings.xml"),))
