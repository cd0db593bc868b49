"""A program and pipelines of our own: evaluated, broken, and shut in."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.base.errors import EnvironmentFault, HarnessError
from harness.base.shell import CommandError, run
from harness.plan.plan import default_cache
from harness.program.closure import APPLICATIONS, COURSES_PIPELINE
from harness.program.environment import Environment, prepare
from harness.program.errors import ProgramError, PythonMissingError, UnendingError
from harness.program.evaluate import OWN_DIRECTORY, TIMEOUT, Evaluator, canonical, without_network
from harness.program.model import UNKNOWN, Backend, Plugin, Program
from harness.program.pipelines import Pipelines, evaluate_pipelines

OURS = Path(__file__).parent / "checkout"
MAIN = APPLICATIONS["jupyterhub"] / "__main__.py"
SHOP = APPLICATIONS["jupyterhub"] / "shop.py"
CONFIGURATION = APPLICATIONS["jupyterhub"] / "Pulumi.QA.yaml"
IN_SHOP = '    name, namespace, domain = hub["name"], hub["namespace"], hub["domain"]\n'
SHOP_LINE = 14
"""Line of IN_SHOP, before which a test puts one of its own."""
IN_SCRIPT = '    for kind in ("git", "s3"):\n'
SCRIPT_LINE = 22
"""The same in the pipeline of the courses, which is evaluated faster."""


@pytest.fixture(scope="session")
def environment() -> Environment:
    """The environment of our program, built in the harness's cache if it is not there."""
    try:
        return prepare(OURS, default_cache(os.environ))
    except PythonMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def ours(environment: Environment) -> Evaluator:
    return Evaluator(OURS, environment)


@pytest.fixture(scope="session")
def qa(ours: Evaluator) -> Program:
    return ours.program("jupyterhub", "QA")


@pytest.fixture(scope="session")
def pipelines(ours: Evaluator) -> Pipelines:
    return evaluate_pipelines(ours)


@dataclass(frozen=True)
class Copy:
    """A copy of our checkout that a test breaks."""

    evaluator: Evaluator

    @property
    def checkout(self) -> Path:
        return self.evaluator.checkout

    def edit(self, file: Path, old: str, new: str) -> None:
        text = (self.checkout / file).read_text()
        assert old in text
        (self.checkout / file).write_text(text.replace(old, new, 1))

    def in_shop(self, code: str) -> None:
        self.edit(SHOP, IN_SHOP, f"    {code}\n{IN_SHOP}")

    def in_script(self, code: str) -> None:
        self.edit(COURSES_PIPELINE, IN_SCRIPT, f"    {code}\n{IN_SCRIPT}")

    def refusal(self, timeout: float = TIMEOUT) -> str:
        """Evaluate the program, and return the message, which is two lines."""
        evaluator = replace(self.evaluator, timeout=timeout)
        return _two_lines(lambda: evaluator.program("jupyterhub", "QA").releases)

    def refusal_of_script(self, timeout: float = TIMEOUT) -> str:
        """Evaluate the pipelines, and return the message, which is two lines."""
        evaluator = replace(self.evaluator, timeout=timeout)
        return _two_lines(lambda: evaluate_pipelines(evaluator))


def _two_lines(evaluate: Callable[[], object]) -> str:
    with pytest.raises((ProgramError, UnendingError)) as error:
        evaluate()
    message = str(error.value)
    assert len(message.splitlines()) == 2, message
    return message


@pytest.fixture
def copy(environment: Environment, tmp_path: Path) -> Copy:
    return Copy(Evaluator(Path(shutil.copytree(OURS, tmp_path / "checkout")), environment))


def digest(directory: Path) -> str:
    """Digest of the names and contents of all files in a directory."""
    found = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        found.update(f"{path.relative_to(directory)}".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


class TestProgram:
    def test_release(self, qa: Program) -> None:
        release = qa.release("shop")
        assert (release.namespace, release.chart, release.version) == ("shop", "shop", "1.2.3")
        assert release.repository == "https://charts.example.org"
        assert str(release.place).startswith(f"{SHOP}, line ")

    def test_values_are_those_of_a_preview(self, qa: Program) -> None:
        values = qa.release("shop").values
        assert values["replicas"] == 1
        assert type(values["replicas"]) is int
        assert values["memory"] == 0.5
        assert "nothing" not in values
        assert values["settings"] == '{"welcome": true}\n'
        assert list(values) == sorted(values)

    def test_secrets_of_the_configuration_are_texts_that_name_them(self, qa: Program) -> None:
        assert qa.release("shop").values["password"] == "secret:Pulumi.QA.yaml#hubs:list[0].password"

    def test_encrypted_files_give_their_keys_and_what_is_not_encrypted(self, qa: Program) -> None:
        (instance,) = qa.of_type("aws:rds/instance:Instance")
        assert instance.inputs["password"] == "secret:shop/secrets.qa.yaml#database.password"

    def test_outputs_of_other_stacks_are_unknown(self, qa: Program) -> None:
        (instance,) = qa.of_type("aws:rds/instance:Instance")
        assert instance.inputs["monitoringRoleArn"] == UNKNOWN
        assert ("organization/clusters/applications.QA", "node_role") in qa.references

    def test_calls_of_aws_are_told(self, qa: Program) -> None:
        assert qa.asked == ("ec2.describe_regions",)

    def test_route_has_its_own_plugins_and_the_shared_ones(self, qa: Program) -> None:
        (route,) = qa.routes
        assert (route.hosts, route.paths) == (("shop.qa.example.org",), ("/*",))
        assert route.backends == (Backend("proxy-public", 80),)
        assert route.websocket is True
        assert route.plugin_config == "shop-shared"
        assert route.plugins == (Plugin("cors", {"allow": "all"}), Plugin("gzip", {}, enabled=False))

    def test_secret_that_vault_fills(self, qa: Program) -> None:
        (secret,) = qa.secrets
        assert (secret.name, secret.namespace, secret.target) == ("shop-database", "shop", "shop-creds")
        assert (secret.mount, secret.path, secret.is_dynamic) == ("postgres-shop", "creds/app", True)
        assert secret.templates == {"URL": "pg://host/shop"}
        assert secret.includes == ("user",)

    def test_names(self, qa: Program) -> None:
        assert qa.databases == ("shop",)
        assert qa.buckets == ("notebooks-qa",)
        (account,) = qa.service_accounts
        assert (account.name, account.namespace, account.annotations) == ("shop-account", "shop", {"role": "reader"})

    def test_policies(self, qa: Program) -> None:
        (policy,) = qa.policies
        assert policy.statements == ({"Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::notebooks-qa"},)
        (trust,) = qa.trusts
        assert trust.statements == ({"Principal": "610119931565"},)

    def test_stacks_differ_where_their_files_do(self, ours: Evaluator) -> None:
        first, other = (each for each in ours.programs([("jupyterhub", "production"), ("jupyterhub", "ci")]))
        assert isinstance(first, Program)
        assert isinstance(other, Program)
        assert (first.stack, other.stack) == ("Production", "CI")
        assert first.release("shop").values["replicas"] == 2
        assert {each.hosts for each in (*first.routes, *other.routes)} == {
            ("shop.example.org",),
            ("shop.ci.example.org",),
        }

    def test_stack_file_with_the_prefix_of_older_commits(self, ours: Evaluator) -> None:
        program = ours.program("jupyterhub_data", "qa")
        (named,) = program.of_type("example:index:Stack")
        assert named.inputs["name"] == "applications.warehouse.QA"

    def test_route_of_the_gateway(self, ours: Evaluator) -> None:
        (route,) = ours.program("jupyterhub_data", "QA").routes
        assert (route.hosts, route.paths) == (("data.example.org",), ("/",))
        assert route.backends == (Backend("proxy-public-ws", 80),)
        assert [plugin.name for plugin in route.plugins] == ["request-id"]

    def test_twice_the_same(self, ours: Evaluator, qa: Program) -> None:
        assert ours.program("jupyterhub", "QA") == qa

    def test_nothing_is_written_to_the_checkout(self, copy: Copy) -> None:
        before = digest(copy.checkout)
        copy.evaluator.program("jupyterhub", "QA")
        evaluate_pipelines(copy.evaluator)
        assert digest(copy.checkout) == before


class TestBroken:
    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("print(nowhere)", "NameError: name 'nowhere' is not defined"),
            (
                'pulumi.runtime.invoke("aws:ec2/getVpc:getVpc", {})',
                "asks a provider for aws:ec2/getVpc:getVpc, to which an evaluation has no answer",
            ),
            (
                'pulumi.CustomResource("aws:ec2/vpc:Vpc", "v", {}, pulumi.ResourceOptions(id="vpc-1"))',
                "asks for the aws:ec2/vpc:Vpc that is there as vpc-1, to which an evaluation has no answer",
            ),
        ],
    )
    def test_program(self, copy: Copy, code: str, reason: str) -> None:
        copy.in_shop(code)
        first, second = copy.refusal().splitlines()
        assert first == f"{SHOP}, line {SHOP_LINE}: {reason}"
        assert second == f"jupyterhub for QA cannot be evaluated: {code}"

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("print(nowhere)", "NameError: name 'nowhere' is not defined"),
            ('{}["nowhere"]', "KeyError: 'nowhere'"),
            ('Path("no.txt").read_text()', "FileNotFoundError: [Errno 2] No such file or directory: 'no.txt'"),
            ("raise SystemExit(3)", "SystemExit: 3"),
            ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
            (
                'import boto3; boto3.client("ec2").describe_vpcs()',
                "asks AWS for ec2.describe_vpcs, to which an evaluation has no answer",
            ),
            (
                'import boto3; boto3.client("rds").get_paginator("describe_events")',
                "asks AWS for pages of rds.describe_events, to which an evaluation has no answer",
            ),
            (
                'import boto3; boto3.resource("s3")',
                "asks AWS for the resource s3, to which an evaluation has no answer",
            ),
            (
                'import httpx; httpx.get("https://example.org/")',
                "asks for https://example.org/, to which an evaluation has no answer",
            ),
            (
                'one = KeyError("one"); two = KeyError("two"); one.__cause__ = two; two.__cause__ = one; raise one',
                "KeyError: 'one'",
            ),
        ],
    )
    def test_script(self, copy: Copy, code: str, reason: str) -> None:
        copy.in_script(code)
        first, second = copy.refusal_of_script().splitlines()
        assert first == f"{COURSES_PIPELINE}, line {SCRIPT_LINE}: {reason}"
        assert second == f"the pipelines cannot be evaluated: {code}"

    def test_lookup_whose_failure_is_ignored(self, copy: Copy) -> None:
        copy.in_script("import boto3, contextlib")
        copy.in_script("with contextlib.suppress(Exception): boto3.client('s3').list_buckets()")
        assert copy.refusal_of_script().startswith(
            f"{COURSES_PIPELINE}, line {SCRIPT_LINE + 1}: asks AWS for s3.list_buckets, to which"
        )

    def test_key_that_is_missing_in_the_stack_file(self, copy: Copy) -> None:
        copy.edit(CONFIGURATION, "      domain: shop.qa.example.org\n", "")
        assert ": KeyError: 'domain'\n" in copy.refusal()

    def test_secret_that_is_missing_in_its_file(self, copy: Copy) -> None:
        copy.edit(MAIN, 'secrets["database"]', 'secrets["nowhere"]')
        assert copy.refusal().startswith(f"{MAIN}, line 30: KeyError: 'nowhere'\n")

    def test_namespace_that_the_cluster_lacks(self, copy: Copy) -> None:
        copy.edit(CONFIGURATION, "namespace: shop", "namespace: nowhere")
        assert ": ValueError: nowhere is none of shop, operations\n" in copy.refusal()

    def test_value_that_is_not_known(self, copy: Copy) -> None:
        copy.edit(SHOP, '"memory": 0.5', '"memory": role')
        assert "values.memory of the Helm release shop is not known before it is applied\n" in copy.refusal()

    def test_process_that_ends_itself(self, copy: Copy) -> None:
        copy.in_script("import os; os._exit(0)")
        with pytest.raises(ProgramError, match="the pipelines: the evaluation ended without an answer, and no output"):
            evaluate_pipelines(copy.evaluator)

    def test_the_others_are_still_evaluated(self, copy: Copy) -> None:
        copy.edit(CONFIGURATION, "      domain: shop.qa.example.org\n", "")
        broken, whole = copy.evaluator.programs([("jupyterhub", "QA"), ("jupyterhub", "CI")])
        assert isinstance(broken, ProgramError)
        assert isinstance(whole, Program)

    def test_stack_that_is_not_there(self, copy: Copy) -> None:
        (copy.checkout / CONFIGURATION).unlink()
        with pytest.raises(HarnessError, match=r"expected a file Pulumi.QA.yaml, found Pulumi.CI.yaml, Pulumi.Prod"):
            copy.evaluator.program("jupyterhub", "QA")

    def test_stack_that_nobody_has(self) -> None:
        with pytest.raises(HarnessError, match="--stack staging: expected CI, QA, Production, in any case"):
            canonical("staging")


class TestShutIn:
    @pytest.mark.parametrize(
        ("code", "tried"),
        [
            ('socket.create_connection(("192.0.2.1", 80))', "use the network: socket.getaddrinfo 192.0.2.1"),
            ('socket.socket().connect(("192.0.2.1", 80))', "use the network: socket.connect"),
            ('socket.gethostbyname("example.org")', "use the network: socket.gethostbyname example.org"),
            ('subprocess.run(["git", "status"])', "use another process: subprocess.Popen git"),
            ('os.system("id")', "use another process: os.system"),
            ('os.execv("/bin/true", ["true"])', "use another process: os.exec /bin/true"),
            ("os.fork()", "use another process: os.fork"),
            ("import multiprocessing as m; m.get_context('spawn').Process().start()", "use another process: "),
            ('Path(__file__).with_name("x").write_text("x")', "write a file outside its scratch directory: "),
            ("Path(__file__).unlink()", "write a file outside its scratch directory: os.remove"),
            ('Path(__file__).with_name("x").mkdir()', "write a file outside its scratch directory: os.mkdir"),
            ('Path("/tmp/x").write_text("x")', "write a file outside its scratch directory: /tmp/x"),
            ("os.open(__file__, os.O_RDWR)", "write a file outside its scratch directory"),
            ("os.open(__file__, os.O_RDONLY | os.O_TRUNC)", "write a file outside its scratch directory"),
            ("os.open(os.path.dirname(__file__), os.O_RDONLY)", "read a file that is not part of the program"),
            ("os.open(os.path.dirname(__file__), os.O_TMPFILE | os.O_RDWR)", "read a file that is not part of the"),
            ('import io; io.open_code("/root/.aws/credentials")', "read a file that is not part of the program: /root"),
            ("os.posix_spawn('/bin/true', ['true'], {})", "use another process: os.posix_spawn"),
            ("os.forkpty()", "use another process: os.forkpty"),
            ("os.kill(os.getppid(), 9)", "use another process: os.kill"),
            ("os.pidfd_open(os.getppid())", "use another process: pidfd_open"),
            ("import ctypes; ctypes.CDLL(None).system(b'true')", "call a library past Python: ctypes.dlopen"),
            ("import ctypes; ctypes.pythonapi.system(b'true')", "call a library past Python: ctypes.dlsym"),
            ("os.mkfifo(__file__ + '.x')", "write a file outside its scratch directory: mkfifo"),
            ("import posix; posix.mknod(__file__ + '.x')", "write a file outside its scratch directory: mknod"),
            (
                "open('x', 'w').close(); os.rename('x', __file__)",
                "write a file outside its scratch directory: os.rename",
            ),
            (
                "open('x', 'w').close(); os.link('x', __file__ + '.x')",
                "write a file outside its scratch directory: os.link",
            ),
            ("os.symlink(__file__, 'x')", "write a file outside its scratch directory: os.symlink"),
            ("os.symlink('x', __file__ + '.x')", "write a file outside its scratch directory: os.symlink"),
            ("os.chmod(os.open(__file__, os.O_RDONLY), 0)", "write a file outside its scratch directory: os.chmod"),
            ("os.utime(os.open(__file__, os.O_RDONLY))", "write a file outside its scratch directory: os.utime"),
            (
                "os.sendfile(os.open(__file__, os.O_WRONLY), os.open(__file__, os.O_RDONLY), 0, 9)",
                "write a file outside its scratch directory",
            ),
        ],
    )
    def test_script(self, copy: Copy, code: str, tried: str) -> None:
        code = f"import os, socket, subprocess; {code}"
        copy.in_script(code)
        before = digest(copy.checkout)
        assert copy.refusal_of_script().startswith(f"{COURSES_PIPELINE}, line {SCRIPT_LINE}: tries to {tried}")
        assert digest(copy.checkout) == before

    @pytest.mark.parametrize(
        ("code", "tried"),
        [
            ('import socket; socket.gethostbyname("example.org")', "use the network: socket.gethostbyname example.org"),
            ('import subprocess; subprocess.run(["git", "status"])', "use another process: subprocess.Popen git"),
            ('Path("welcome.json").write_text("x")', "write a file outside its scratch directory: welcome.json"),
        ],
    )
    def test_program(self, copy: Copy, code: str, tried: str) -> None:
        copy.in_shop(code)
        before = digest(copy.checkout)
        assert copy.refusal().startswith(f"{SHOP}, line {SHOP_LINE}: tries to {tried}\n")
        assert digest(copy.checkout) == before

    def test_refused_even_if_the_script_goes_on(self, copy: Copy) -> None:
        copy.in_script("import contextlib, subprocess")
        copy.in_script("with contextlib.suppress(OSError): subprocess.run('id')")
        line = f"{COURSES_PIPELINE}, line {SCRIPT_LINE + 1}"
        assert copy.refusal_of_script().startswith(f"{line}: tries to use another process: subprocess.Popen id\n")

    def test_kernel_refuses_what_goes_past_the_hook(self, tmp_path: Path) -> None:
        """What no audit event is raised for is refused where the kernel has Landlock."""
        inside, scratch, outside = tmp_path / "inside", tmp_path / "scratch", tmp_path / "outside"
        scratch.mkdir()
        outside.touch()
        code = f"""
            import os, subprocess, sys
            sys.path.insert(0, {str(OWN_DIRECTORY)!r})
            from inside.landlock import restrict
            if not restrict([{str(scratch)!r}]):
                sys.exit("no Landlock")
            open({str(scratch / "x")!r}, "w").close()
            open(os.devnull, "w").close()
            open({str(outside)!r}).close()
            for attempt in (
                lambda: open({str(outside)!r}, "w"),
                lambda: os.mkfifo({str(inside)!r}),
                lambda: os.rename({str(scratch / "x")!r}, {str(inside)!r}),
                lambda: os.truncate({str(outside)!r}, 0),
                lambda: subprocess.run(["true"]),
                lambda: os.kill(os.getppid(), 0),
            ):
                try:
                    attempt()
                except OSError:
                    continue
                print("not refused")
        """
        try:
            assert run([sys.executable, "-c", textwrap.dedent(code)], timeout=20) == ""
        except CommandError as error:
            if "no Landlock" not in error.output:
                raise
            pytest.skip("this kernel has no Landlock")

    def test_kernel_gives_no_network_either(self) -> None:
        devices = run([*without_network(), "cat", "/proc/net/dev"], timeout=20).splitlines()[2:]
        assert [line.split(":")[0].strip() for line in devices] == ["lo"]

    def test_nobody_may_take_the_network_away(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(EnvironmentFault, match="runs without a network, which takes unshare"):
            without_network()

    def test_keys_of_the_caller_are_not_in_the_environment(self, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key")
        copy.in_script('import os; raise ValueError(" ".join(sorted(os.environ)))')
        names = copy.refusal_of_script().splitlines()[0].rpartition("ValueError: ")[2].split()
        assert "AWS_DEFAULT_REGION" in names
        assert not [name for name in names if "KEY" in name or name.startswith(("PIP_", "TOX_", "VIRTUAL_ENV"))]

    @pytest.mark.parametrize("where", ["environ", "file", "link", "git"])
    def test_files_of_the_caller_are_not_read(self, copy: Copy, tmp_path: Path, where: str) -> None:
        key = tmp_path / ".aws/credentials"
        key.parent.mkdir()
        key.write_text("a key")
        link = copy.checkout / "link.txt"
        link.symlink_to(key)
        git = copy.checkout / ".git/config"
        git.parent.mkdir()
        git.write_text("an address with a password")
        paths = {
            "git": f'"{git}"',
            "environ": '"/proc", str(os.getppid()), "environ"',
            "file": f'"{key}"',
            "link": f'"{link}"',
        }
        copy.in_script(f"import os; Path({paths[where]}).read_bytes()")
        line = f"{COURSES_PIPELINE}, line {SCRIPT_LINE}"
        assert copy.refusal_of_script().startswith(f"{line}: tries to read a file that is not part of the program: ")

    @pytest.mark.parametrize("code", ["while True: pass", "import time; time.sleep(600)"])
    def test_end_of_the_time(self, copy: Copy, code: str) -> None:
        copy.in_script(code)
        assert copy.refusal_of_script(timeout=4).startswith(
            f"{COURSES_PIPELINE}, line {SCRIPT_LINE}: still there when the time for the pipelines was over, 4 s\n"
        )

    def test_end_of_the_time_for_one_that_keeps_it_from_being_told(
        self, copy: Copy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.program.evaluate.GRACE", 1.0)
        copy.in_script("import faulthandler; faulthandler.cancel_dump_traceback_later(); [0 for _ in iter(int, 1)]")
        assert copy.refusal_of_script(timeout=4).startswith(
            "the pipelines: still running, in no known line, when the time for the pipelines was over, 4 s\n"
        )


class TestPipelines:
    def test_build_jobs(self, pipelines: Pipelines) -> None:
        found = {job.image_name: (job.course_name, job.repo_uri, job.s3_object_path) for job in pipelines.build_jobs}
        assert found == {
            "sums": ("Sums", "git@example.org:sums.git", None),
            "unit.1": ("Unit 1", "git@example.org:1.git", None),
            "unit.2": ("Unit 2", "git@example.org:2.git", None),
            "blank": ("Blank", None, "blank.tar.gz"),
        }

    def test_build_job_names_its_line_and_definition(self, pipelines: Pipelines) -> None:
        job = pipelines.build_jobs[0]
        assert str(job.place) == f"{COURSES_PIPELINE}, line 16"
        assert job.definition == "git.json"

    def test_definitions(self, pipelines: Pipelines) -> None:
        jobs = {
            (Path(each.file).parent.name, each.name): [job["name"] for job in each.jobs] for each in pipelines.pipelines
        }
        assert jobs == {
            ("container_images", "git.json"): ["build-from-git"],
            ("container_images", "s3.json"): ["build-from-s3"],
            ("jupyterhub", "definition.json"): ["deploy-ci", "deploy-qa", "deploy-production"],
            ("simple_pulumi", "definition.json"): ["deploy-jupyterhub-data"],
        }

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda path: path.unlink(), f"expected a file {COURSES_PIPELINE}, found none"),
            (
                lambda path: path.write_text("pass\n"),
                "expected it to print fly set-pipeline with a variable image_name",
            ),
        ],
    )
    def test_no_courses(self, copy: Copy, change: Callable[[Path], object], message: str) -> None:
        change(copy.checkout / COURSES_PIPELINE)
        with pytest.raises(ProgramError, match=message):
            evaluate_pipelines(copy.evaluator)
