"""What a failed test shows of the timeline, seen in runs of pytest inside this one."""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
    import json, time
    from types import SimpleNamespace
    import pytest
    from fixtures.run import PLAN
    from fixtures.timeline import TIMELINE, looked_at, takes_part
    from harness.timeline import Timeline

    class Somebody:
        def __init__(self, timeline, name):
            self.began, self.called = time.time(), {name}
            timeline.add("http", f"{name} comes", who=name)

    @pytest.fixture(scope="session")
    def deployment(pytestconfig, tmp_path_factory):
        secrets = tmp_path_factory.mktemp("state") / "secrets.json"
        secrets.write_text(json.dumps({"hub": "5eed5eed"}))
        pytestconfig.stash[PLAN] = SimpleNamespace(secrets=secrets, state=secrets.parent)
        pytestconfig.stash[TIMELINE] = timeline = Timeline()
        timeline.add("pod", "long before", at=1.0)

    @pytest.fixture
    def visit(timeline, request):
        def new(name):
            takes_part(request, somebody := Somebody(timeline, name))
            return somebody
        return new

    @pytest.fixture(scope="module")
    def class_(timeline, request):
        people = [Somebody(timeline, name) for name in ("shared-1", "shared-2")]
        takes_part(request, *people)
        return people
"""


class Runs:
    """Runs tests, and has what each of them showed of the timeline, without the seconds."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        pytester.makeconftest(CONFTEST)

    def __call__(self, tests: str, *args: str) -> dict[str, list[str]]:
        self._pytester.makepyfile(tests)
        options = ("-p", "fixtures.timeline", "-p", "no:cacheprovider", "--tb=short", *args)
        out = self._pytester.runpytest_inprocess(*options).stdout.str()
        shown: dict[str, list[str]] = {}
        test = section = ""
        for line in out.splitlines():
            if found := re.fullmatch(r"_+ (?:ERROR at (?:setup|teardown) of )?(\w+) _+", line):
                test, section = found[1], ""
            elif found := re.fullmatch(r"-+ Captured (.+) -+|=+ .*", line):
                section = found[1] or ""
                if section:
                    shown[f"{test}, {section}"] = []
            elif section:
                shown[f"{test}, {section}"].append(re.sub(r"^ *[+-][\d.]+ s  (\w+) +", r"\1: ", line))
        return shown


@pytest.fixture
def run(pytester: pytest.Pytester) -> Runs:
    return Runs(pytester)


def test_a_failed_test_shows_its_own_slice_and_a_passed_one_none(run: Runs) -> None:
    shown = run("""
        def test_before(visit, timeline):
            visit("me-before")

        def test_it(visit, timeline):
            visit("me")
            timeline.add("hub", "nobody's, with the token 5eed5eed")
            timeline.add("notebook", "another's", who="other")
            assert 0

        def test_after(visit):
            visit("me-after")
    """)
    assert shown == {
        "test_it, timeline call": [
            "test: set-up of test_it begins",
            "test: set-up of test_it is over",
            "test: test of test_it begins",
            "http: me comes",
            "hub: nobody's, with the token [redacted]",
            "test: test of test_it is over",
        ]
    }


def test_a_failed_set_up_and_a_failed_tear_down_show_theirs(run: Runs) -> None:
    shown = run("""
        import pytest

        @pytest.fixture
        def no_set_up(visit):
            visit("me")
            assert 0

        @pytest.fixture
        def no_tear_down(visit):
            yield visit("me")
            assert 0

        def test_one(no_set_up): pass

        def test_two(no_tear_down): pass
    """)
    assert shown["test_one, timeline setup"] == [
        "test: set-up of test_one begins",
        "http: me comes",
        "test: set-up of test_one is over",
    ]
    assert shown["test_two, timeline teardown"][-2:] == [
        "test: tear-down of test_two begins",
        "test: tear-down of test_two is over",
    ]
    assert len(shown) == 2


def test_shared_people_are_of_each_test_that_uses_them_since_they_came(run: Runs) -> None:
    shown = run("""
        def test_one(class_): pass

        def test_two(timeline): assert 0

        def test_three(class_): assert 0
    """)
    assert "http: shared-1 comes" not in shown["test_two, timeline call"]
    assert shown["test_three, timeline call"][:2] == ["http: shared-1 comes", "http: shared-2 comes"]
    assert not [line for line in shown["test_three, timeline call"] if "test_one" in line or "test_two" in line]


def test_a_test_that_looks_at_one_of_many_shows_that_one(run: Runs) -> None:
    shown = run("""
        from fixtures.timeline import looked_at

        def test_one(class_, pytestconfig):
            looked_at(pytestconfig, class_[1])
            assert 0
    """)
    told = shown["test_one, timeline call"]
    assert "http: shared-2 comes" in told
    assert "http: shared-1 comes" not in told


def test_a_long_slice_is_cut_and_whoever_writes_the_bundle_has_it_all(run: Runs) -> None:
    shown = run("""
        from fixtures import timeline as slices

        def test_one(timeline, request):
            for number in range(300):
                timeline.add("hub", f"line {number}")
            assert slices.of(request.node).count("line ") == 300
            assert 0
    """)
    told = shown["test_one, timeline call"]
    assert len(told) == 201
    assert [line for line in told if "left out" in line]


def test_a_test_without_a_deployment_shows_nothing(run: Runs) -> None:
    assert run("def test_one(): assert 0") == {}


def test_a_known_defect_shows_nothing(run: Runs) -> None:
    assert (
        run("""
        import pytest

        @pytest.mark.xfail(reason="known")
        def test_one(timeline): assert 0
    """)
        == {}
    )
