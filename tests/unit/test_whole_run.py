"""Whole runs of pytest with a deployment of fakes: how they end, and that nothing is left."""

from __future__ import annotations

import multiprocessing
import os
import sys
import textwrap
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from fakes import Program

ROOT = Path(__file__).parents[2]
SECONDS = 90
"""Most that a run may take; a loaded machine included."""
# Docker as a list of containers, their names like the run's.
DOCKER = """
case "$1 $2" in
  version*) echo 28 ;;
  info*) echo / ;;
  "ps "*) case "$*" in *kind.cluster*) ;; *Status*) cat "$here/containers" ;; *) cut -f1 "$here/containers" ;; esac ;;
  "rm "*) : > "$here/containers"; [ ! -f "$here/on_rm" ] || . "$here/on_rm" ;;
  "network ls") [ ! -s "$here/containers" ] || echo jh-1 ;;
  events*) until [ -f "$here/fall" ]; do sleep 0.1; done; cat "$here/fall"; exec sleep 60 ;;
esac
"""
CONFTEST = """
import os
from contextlib import nullcontext
from types import SimpleNamespace
import fixtures.deployment
from harness.timeline import Timeline
from harness import bundle, deployment, leftovers
from harness.errors import HarnessError

pytest_plugins = {plugins}

HERE = "{here}"
PARTS = ("control-plane", "worker", "registry", "moto", "postgres")

def lay(plan, steps, prepared, undo):
    deployment.State(plan.state / deployment.STATE).set("cluster", "made")
    with open(HERE + "/containers", "w") as file:
        file.writelines("jh-1-" + part + "\\tUp 2 minutes\\n" for part in PARTS)
    if os.environ.get("LAY_FAILS"):
        undo()
        raise HarnessError("it does not come up")
    cluster = SimpleNamespace(why_silent=lambda seconds: "", lost=lambda seconds: {{}})
    return SimpleNamespace(plan=plan, cluster=cluster, unchecked=[], versions={{}}, student=None, authoring=None)

def install(running, steps, roles, timeline):
    print("installed:", *(role.release for role in roles))
    if os.environ.get("INSTALL_FAILS"):
        raise HarnessError("it does not come up")
    return "5.5.0"

deployment.lay, deployment.install, deployment.prepare = lay, install, lambda plan, steps: None
fixtures.deployment.recorded = lambda *_: nullcontext(Timeline())
leftovers.GRACE = 0.3
bundle.write = lambda *_, **__: print("evidence collected")
"""


@dataclass
class Ended:
    """A run that is over."""

    code: int | None
    out: str
    left: str
    """The containers that are still there."""


class Runner:
    """Runs tests in a checkout of its own."""

    def __init__(self, tmp_path: Path, processes: ForkServerContext) -> None:
        self._processes = processes
        self.bin, self.checkout = tmp_path / "bin", tmp_path / "checkout"
        self.checkout.mkdir()
        for name in ("helm", "images", "kind-config.yaml"):
            (self.checkout / name).symlink_to(ROOT / name)
        Program(self.bin, "docker", DOCKER)
        (self.bin / "containers").touch()
        plugins: dict[str, list[str]] = {}
        exec((ROOT / "conftest.py").read_text(), plugins)
        (self.checkout / "conftest.py").write_text(CONFTEST.format(plugins=plugins["pytest_plugins"], here=self.bin))

    def run(self, tests: str, *options: str, stdin: str = "", **env: str) -> Ended:
        head = "import os, signal, subprocess, sys, threading\n"
        (self.checkout / "test_it.py").write_text(head + textwrap.dedent(tests))
        arguments = ["-p", "fixtures.options", "-p", "no:cacheprovider", "--tb=short", "-q", *options]
        arguments += ["--rootdir", str(self.checkout), "--cluster-name", "jh-1", "test_it.py"]
        (self.bin / "stdin").write_text(stdin)
        environ = {"PATH": f"{self.bin}:{os.environ['PATH']}", **env}
        process = self._processes.Process(target=run_pytest, args=(self.checkout, self.bin, arguments, environ))
        process.start()
        process.join(SECONDS)
        process.kill()
        return Ended(process.exitcode, (self.bin / "out").read_text(), (self.bin / "containers").read_text())


def run_pytest(checkout: Path, streams: Path, arguments: list[str], environ: dict[str, str]) -> None:
    """Run pytest in this process, its standard streams files, and end with its exit code."""
    os.chdir(checkout)
    os.environ.update(environ)
    out = os.open(streams / "out", os.O_WRONLY | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(out, descriptor)
    sys.stdin = (streams / "stdin").open()
    sys.path.insert(0, str(ROOT))
    code = pytest.main(arguments)
    sys.stdout.flush()
    os._exit(code)


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Makes processes that have loaded already what takes a second to load."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.deployment", "harness.browser", "pytest_kind", "nbclient"])
    return context


@pytest.fixture
def runner(tmp_path: Path, processes: ForkServerContext) -> Runner:
    return Runner(tmp_path, processes)


def state_of(runner: Runner) -> list[str]:
    return [path.name for path in (runner.checkout / ".harness").iterdir()]


def test_a_passing_run_leaves_nothing(runner: Runner) -> None:
    ended = runner.run("def test_it(deployment): pass")
    assert (ended.code, ended.left, state_of(runner)) == (0, "", ["lock"]), ended.out
    assert "left behind" not in ended.out


def test_a_kept_cluster_is_not_left_behind(runner: Runner) -> None:
    ended = runner.run("def test_it(deployment): pass", "--keep-cluster")
    assert ended.code == 0, ended.out
    assert ended.left.count("jh-1-") == 5
    assert "left behind" not in ended.out


@pytest.mark.parametrize(
    ("test", "installed"),
    [
        ("def test_it(hub): pass", "jupyterhub"),
        ("def test_it(authoring_hub): pass", "jupyterhub-authoring"),
        ("def test_it(hub): pass\ndef test_that(authoring_hub): pass", "jupyterhub jupyterhub-authoring"),
        ("def test_it(deployment): pass", "jupyterhub jupyterhub-authoring"),
        (
            """
            import pytest
            from harness.roles import STUDENT
            @pytest.mark.parametrize("role", [STUDENT])
            def test_it(deployment, role): pass
            """,
            "jupyterhub",
        ),
    ],
)
def test_a_run_spares_itself_the_hub_that_no_test_asks_for(runner: Runner, test: str, installed: str) -> None:
    ended = runner.run(test, "-s")
    assert f"installed: {installed}\n" in ended.out


def test_what_is_left_behind_is_told_and_makes_the_run_red(runner: Runner) -> None:
    ended = runner.run(
        """
        def test_it(deployment):
            # Beyond the reach of who ends the run's own programs.
            code = "import os, time; os.fork() and os._exit(0); os.setsid(); os.close(1); time.sleep(12)"
            subprocess.run([sys.executable, "-c", code, "it stays"], stderr=subprocess.DEVNULL)
        """
    )
    assert ended.code == 11, ended.out
    assert "left behind: process " in ended.out
    assert "os.fork()" in ended.out, "its command line is told, as far as there is room"


def test_ctrl_c_in_a_test_and_again_in_the_removal(runner: Runner) -> None:
    (runner.bin / "on_rm").write_text("kill -INT $(cat $here/pid)")
    ended = runner.run(
        f"""
        def test_it(deployment):
            open("{runner.bin}/pid", "w").write(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGTERM)
        def test_that_never_runs(deployment): pass
        """
    )
    assert (ended.code, ended.left, state_of(runner)) == (2, "", ["lock"]), ended.out
    # The second one may come so soon that it counts as the first's echo.
    assert "Given up" not in ended.out
    assert "What there was" not in ended.out, "somebody who ends a run does not wait for that"
    assert "1 passed" not in ended.out


def test_first_ctrl_c_while_everything_is_removed(runner: Runner) -> None:
    (runner.bin / "on_rm").write_text("kill -INT $(cat $here/pid)")
    ended = runner.run(f'def test_it(deployment): open("{runner.bin}/pid", "w").write(str(os.getpid()))')
    assert (ended.code, ended.left, state_of(runner)) == (0, "", ["lock"]), ended.out
    assert "Cleaning up jh-1, which takes up to a minute. Once more leaves it as it is." in ended.out


@pytest.mark.parametrize("hangs", ["before it", "it", "after it"])
def test_the_time_of_the_run_is_up(runner: Runner, hangs: str) -> None:
    ended = runner.run(
        f"""
        import pytest

        def perhaps_hang(when):
            if when == "{hangs}":
                threading.Event().wait(60)

        @pytest.fixture
        def around():
            perhaps_hang("before it")
            yield
            perhaps_hang("after it")

        def test_it(deployment, around): perhaps_hang("it")
        def test_that_never_runs(deployment): pass
        """,
        "--run-timeout=1",
    )
    assert (ended.code, ended.left, state_of(runner)) == (2, "", ["lock"]), ended.out
    assert "The run is not over after 1 s (--run-timeout): it ends here." in ended.out
    assert ended.out.count("evidence collected") == 1
    assert "What there was while test_it ran: " in ended.out
    assert ended.out.count("1 passed") == (hangs == "after it")


def test_a_node_that_is_paused_ends_the_run(runner: Runner) -> None:
    ended = runner.run(
        f"""
        import pytest

        @pytest.mark.known_defect("it is as it is")
        def test_it(deployment):
            '''A promise.'''
            file = "{runner.bin}/containers"
            text = open(file).read().replace("Up 2 minutes", "Up 2 minutes (Paused)", 1)
            open(file, "w").write(text)
            raise AssertionError("no answer")
        def test_that_never_runs(deployment): pass
        """
    )
    assert (ended.code, ended.left, state_of(runner)) == (10, "", ["lock"]), ended.out
    said = "The node container jh-1-control-plane is paused: nothing in the cluster answers. The run ends; nothing it"
    assert said in ended.out
    assert "evidence collected" not in ended.out
    assert "1 skipped" in ended.out
    assert "xfailed" not in ended.out


def test_a_node_that_dies_ends_what_waits_for_it(runner: Runner) -> None:
    ended = runner.run(
        f"""
        def test_it(deployment):
            file = "{runner.bin}/containers"
            text = open(file).read().replace("Up 2 minutes", "Exited (137)", 1)
            open(file, "w").write(text)
            open("{runner.bin}/fall", "w").write("jh-1-control-plane die\\n")
            threading.Event().wait(60)
        def test_that_never_runs(deployment): pass
        """
    )
    assert (ended.code, ended.left, state_of(runner)) == (10, "", ["lock"]), ended.out
    assert "jh-1-control-plane does not run (Exited (137)): nothing in the cluster answers" in ended.out
    assert "1 skipped" in ended.out


def test_a_node_that_died_for_a_moment_ends_the_run(runner: Runner) -> None:
    ended = runner.run(
        f"""
        def test_it(deployment):
            open("{runner.bin}/fall", "w").write("jh-1-worker die\\n")
            threading.Event().wait(60)
        """
    )
    assert (ended.code, ended.left) == (10, ""), ended.out
    assert "The container jh-1-worker died. The run ends; nothing it found after " in ended.out


def test_a_browser_that_is_gone_ends_the_run(runner: Runner) -> None:
    ended = runner.run(
        """
        from harness.browser import BrowserCrashedError
        def test_it(deployment):
            raise BrowserCrashedError("The browser is gone, which says nothing about the page: tab crashed\\nand more")
        def test_that_never_runs(deployment): pass
        """
    )
    assert (ended.code, ended.left, state_of(runner)) == (10, "", ["lock"]), ended.out
    assert "nothing about the page: tab crashed. The run ends; nothing it found after" in ended.out
    assert "1 skipped" in ended.out


def test_an_error_in_a_known_defects_test_is_a_failure(runner: Runner) -> None:
    ended = runner.run(
        """
        import pytest

        @pytest.mark.known_defect("the form loses it")
        def test_it(deployment): raise LookupError("no hub")
        """
    )
    assert (ended.code, ended.left) == (1, ""), ended.out
    assert "1 failed" in ended.out


def test_a_test_that_fails_on_firm_ground_is_a_failure(runner: Runner) -> None:
    ended = runner.run("def test_it(deployment): raise AssertionError('broken')")
    assert (ended.code, ended.left) == (1, ""), ended.out
    assert "1 failed" in ended.out


@pytest.mark.parametrize("what", ["LAY_FAILS", "INSTALL_FAILS"])
def test_no_deployment(runner: Runner, what: str) -> None:
    ended = runner.run("def test_it(deployment): pass", **{what: "1"})
    assert (ended.code, ended.left, state_of(runner)) == (1, "", ["lock"]), ended.out
    assert "error: it does not come up" in ended.out
    told = (runner.checkout / ".evidence/junit.xml").read_text()
    assert '<error message="it does not come up"' in told, told


@pytest.mark.parametrize("what", ["LAY_FAILS", "INSTALL_FAILS"])
def test_at_the_prompt_of_a_set_up_that_failed_it_is_all_still_there(runner: Runner, what: str) -> None:
    tests = """
        def test_it(deployment): pass
        def test_that_never_runs(deployment): pass
    """
    look = f"!print('at the prompt:', open('{runner.bin}/containers').read().count('jh-1-'))\n"
    ended = runner.run(tests, "--pdb", stdin=f"{look}c\n", **{what: "1"})
    assert (ended.code, ended.left, state_of(runner)) == (2, "", ["lock"]), ended.out
    assert "at the prompt: 5" in ended.out
    assert ended.out.count("at the prompt") == 1


def test_at_the_prompt_of_a_test_that_failed_it_is_all_still_there(runner: Runner) -> None:
    look = f"!print('at the prompt:', open('{runner.bin}/containers').read().count('jh-1-'))\n"
    ended = runner.run("def test_it(deployment): assert 0", "--pdb", stdin=f"{look}c\n")
    assert (ended.code, ended.left) == (1, ""), ended.out
    assert "at the prompt: 5" in ended.out
