"""The options: where each can be given, and which of two wins."""

from __future__ import annotations

import pytest

from harness.plan.options import OPTIONS, Option, read

BY_NAME = {option.name: option for option in OPTIONS}


def values(
    name: str, *, flag: list[str] | None = None, env: str | None = None, ini: list[str] | None = None
) -> list[str]:
    """What an option is, given in these places."""
    option = BY_NAME[name]

    def only(given: list[str] | None) -> list[str]:
        return given or []

    environ = {} if env is None else {option.env: env}
    return read(
        lambda it: only(flag) if it is option else [],
        environ,
        lambda it: only(ini) if it is option else [],
    )[name]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("chart", ("--chart", "chart", "HARNESS_CHART", "harness_chart")),
        (
            "authoring-values",
            ("--authoring-values", "authoring_values", "HARNESS_AUTHORING_VALUES", "harness_authoring_values"),
        ),
    ],
)
def test_places(name: str, places: tuple[str, str, str, str]) -> None:
    option = BY_NAME[name]
    assert (option.flag, option.dest, option.env, option.ini) == places


@pytest.mark.parametrize(
    ("flag", "env", "ini", "found"),
    [
        (["builtin"], "4.4.1", ["4.0.0"], ["builtin"]),
        (None, "4.4.1", ["4.0.0"], ["4.4.1"]),
        (None, None, ["4.0.0"], ["4.0.0"]),
        (None, "", ["4.0.0"], ["4.0.0"]),
        (None, None, None, ["auto"]),
    ],
)
def test_which_wins(flag: list[str] | None, env: str | None, ini: list[str] | None, found: list[str]) -> None:
    assert values("chart", flag=flag, env=env, ini=ini) == found


@pytest.mark.parametrize(
    ("name", "env", "found"),
    [
        ("values", "one.yaml  two.yaml", ["one.yaml", "two.yaml"]),
        ("chart", "my charts/jupyterhub", ["my charts/jupyterhub"]),
    ],
)
def test_blanks_in_the_environment_separate_what_can_be_repeated(name: str, env: str, found: list[str]) -> None:
    assert values(name, env=env) == found


def test_several_of_one_replace_those_of_another_place() -> None:
    assert values("values", flag=["a.yaml", "b.yaml"], env="c.yaml", ini=["d.yaml"]) == ["a.yaml", "b.yaml"]


def test_defaults() -> None:
    found = read(lambda _: [], {}, lambda _: [])
    assert {name: value for name, value in found.items() if value} == {
        "chart": ["auto"],
        "artifacts": ["auto"],
        "kubernetes": ["pinned"],
        "monitoring": ["auto"],
        "install": ["auto"],
        "hub-port": ["0"],
        "authoring-port": ["0"],
        "cell-timeout": ["300"],
        "run-timeout": ["7200"],
        "evidence": [".evidence"],
        "stack": ["Production"],
    }


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_somebody_can_read_what_it_is_for(option: Option) -> None:
    assert option.help
    assert option.metavar.isupper()


def test_help_says_what_every_option_has() -> None:
    assert BY_NAME["chart"].text.endswith(" (default: auto; also HARNESS_CHART)")
    assert BY_NAME["mirror"].text.endswith(" (repeatable; also HARNESS_MIRROR)")
    assert BY_NAME["spawner"].text.endswith(" (also HARNESS_SPAWNER)")
