"""Run transformers' own model tests on the coderep classes, and on BERT beside them, and print what came out.

The tests (`ModelTesterMixin` and `ConfigTester`) are not in the wheel, so the source distribution of the installed
transformers version is fetched with pip. It lacks a few helper modules that the tests import; empty stand-ins take
their place, so tests of generation and of export are not among those that run. Needs pytest and pip.

    python tests/conformance/run.py --peer bert --output docs/CONFORMANCE.md
"""

from __future__ import annotations

import argparse
import ast
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REQUIRED = ("test_modeling_common.py", "test_configuration_common.py")
NO_NETWORK = (
    "NewConnectionError",
    "Failed to establish a new connection",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Name or service not known",
    "name resolution",
    "Network is unreachable",
    "ProxyError",
)

# Groups of reasons for a skip, each with the pattern that its reasons match; the last one takes what is left.
WHY = {
    "They need an accelerator or a library that this machine lacks (one is slow):": r"^test requires|^test is slow",
    "Parts that the tests do not find; ours has rotary positions, but not as `config.rope_parameters` with scaling:": (
        r"RoPE|position embeddings|sliding window|SDPA|grouped_mm|experts|router_logits|TP plan"
    ),
    "It is an encoder, not a decoder or a model of several parts:": r"language modeling head|composite|subconfigs",
    "Nothing is there to convert or to keep in float32:": r"conversion|_keep_in_fp32",
    "Other:": "",
}


class ConformanceError(Exception):
    """What keeps the tests from being run, in one sentence for the user."""


def pip(*arguments: str, purpose: str, hint: str) -> None:
    """Run pip in this interpreter.

    Args:
        *arguments: Of pip.
        purpose: What the run is for, for messages.
        hint: What to do without a network.

    Raises:
        ConformanceError: pip is not installed, or it failed.
    """
    if importlib.util.find_spec("pip") is None:
        raise ConformanceError(f"pip is not installed in {sys.prefix}. Run: {sys.executable} -m ensurepip")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "1", "--timeout", "20"]
    print(f"{purpose} ...", file=sys.stderr)
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    output = done.stdout + done.stderr
    if any(sign in output for sign in NO_NETWORK):
        raise ConformanceError(f"{purpose}: pip reaches no package index. {hint}")
    errors = [line for line in output.splitlines() if line.lower().startswith("error")] or output.splitlines()
    raise ConformanceError(f"{purpose}: {errors[0] if errors else 'pip failed without a message.'}")


def fetch_tests(cache: Path, version: str) -> Path:
    """The folder that holds `tests/` of a transformers version, downloaded and unpacked if `cache` does not have it.

    Raises:
        ConformanceError: It cannot be downloaded or unpacked, or holds no tests.
    """
    root = cache / f"transformers-{version}"
    if not root.is_dir():
        archive = cache / f"transformers-{version}.tar.gz"
        if not archive.is_file():
            request = ["download", "--no-deps", "--no-binary", "transformers", f"transformers=={version}"]
            pip(
                *request,
                "--dest",
                str(cache),
                purpose=f"downloading the source of transformers {version}",
                hint=f"Where there is one, run `pip {' '.join(request)}`, then give the file's folder as --cache.",
            )
        unpack(archive, root)
    for name in REQUIRED:
        if not (root / "tests" / name).is_file():
            raise ConformanceError(f"the source distribution of transformers {version} has no tests/{name}.")
    return root


def unpack(archive: Path, root: Path) -> None:
    """Unpack the tests and the pytest settings of a source distribution; all of it or nothing.

    Raises:
        ConformanceError: The archive is damaged.
    """
    partial = Path(tempfile.mkdtemp(dir=root.parent, prefix="unpacking-"))
    try:
        with tarfile.open(archive) as tar:
            wanted = (f"{root.name}/tests/", f"{root.name}/pyproject.toml")
            members = [member for member in tar.getmembers() if member.name.startswith(wanted)]
            options = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            tar.extractall(partial, members, **options)
        (partial / root.name).replace(root)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ConformanceError(f"{archive} cannot be unpacked ({error}). Delete it and try again.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_stand_ins(tests: Path) -> list[str]:
    """Make the tests importable: write the packages and the helper modules that the distribution leaves out.

    Returns:
        The names of the modules that were written, whose content is empty classes and dictionaries.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    for name in REQUIRED:
        for node in ast.walk(ast.parse((tests / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                wanted[node.module].update(alias.name for alias in node.names)
    header = "# Written by coderep's conformance run: the source distribution leaves this module out.\n"
    written = []
    for module, names in sorted(wanted.items()):
        path = tests.joinpath(*module.split(".")).with_suffix(".py")
        if not path.exists() or path.read_text(encoding="utf-8").startswith(header):
            lines = [f"class {name}: ...\n" if name[0].isupper() else f"{name} = {{}}\n" for name in sorted(names)]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(header + "".join(lines), encoding="utf-8")
            written.append(f"tests.{module}")
        make_package(path.parent, tests)
    return written


def make_package(folder: Path, tests: Path) -> None:
    """Give a folder, and those between it and `tests`, an `__init__.py`."""
    for package in (folder, *folder.parents):
        (package / "__init__.py").touch()
        if package == tests:
            return


def place(name: str, tests: Path) -> Path:
    """Copy one of our suites to where transformers would have the tests of such a model."""
    folder = tests / "models" / name
    folder.mkdir(parents=True, exist_ok=True)
    make_package(folder, tests)
    return Path(shutil.copy(HERE / f"{name}_suite.py", folder / f"test_modeling_{name}.py"))


class Recorder:
    """A pytest plugin that keeps what the summary needs."""

    def __init__(self) -> None:
        self.outcomes: dict[str, dict[str, str]] = defaultdict(dict)
        self.subtests: dict[str, Counter[str]] = defaultdict(Counter)
        self.skips: dict[str, Counter[str]] = defaultdict(Counter)
        self.failures: list[tuple[str, str, str]] = []
        self.classes: set[str] = set()

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be imported is a failure."""
        if report.failed:
            self._fail(report.nodeid, report)

    def pytest_collection_finish(self, session: Any) -> None:
        """Tell how much there is to do."""
        for item in session.items:
            self.classes.update(model_class.__name__ for model_class in item.cls.all_model_classes)
            self.outcomes[item.cls.__name__][item.name] = "not run"
        print(f"running {len(session.items)} tests ...", file=sys.stderr)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the outcome of a test or subtest. A test whose subtest failed has failed, whatever else it says."""
        if report.passed and report.when != "call":
            return
        suite, test = report.nodeid.split("::")[1:3]
        subtest = hasattr(report, "context")
        if subtest:
            self.subtests[suite][report.outcome] += 1
        if report.skipped:
            self.skips[suite][self._reason(report.longrepr)] += 1
        if report.failed:
            self.outcomes[suite][test] = "failed"
            self._fail(f"{suite}::{test}", report)
        elif not subtest and self.outcomes[suite][test] != "failed":
            self.outcomes[suite][test] = report.outcome

    def _fail(self, name: str, report: Any) -> None:
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr)
        self.failures.append((name, (message.strip().splitlines() or ["no message"])[0], str(report.longrepr)))

    def _reason(self, longrepr: Any) -> str:
        text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        text = re.sub(r"<class '[\w.]+'>", "the model", text.removeprefix("Skipped: ").strip())
        for name in sorted(self.classes, key=len, reverse=True):
            text = text.replace(name, "the model")
        return text.rstrip(".")[:1].lower() + text.rstrip(".")[1:]


def run_tests(root: Path, files: Iterable[Path], only: str | None) -> Recorder:
    """Run test files that were placed in the unpacked distribution, in this process.

    Raises:
        ConformanceError: pytest could not start, or found no test.
    """
    import pytest

    recorder = Recorder()
    arguments = ["-c", str(root / "pyproject.toml"), "--rootdir", str(root), "-p", "no:cacheprovider"]
    arguments += ["-p", "no:terminalreporter", "-o", "addopts=", "-o", "log_cli=false", "-W", "ignore"]
    arguments += ["-k", only] if only else []
    code = pytest.main([*arguments, *map(str, files)], plugins=[recorder])
    if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.INTERRUPTED):
        if not recorder.failures:
            raise ConformanceError(f"pytest ended with {code!r}.")
    elif code == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise ConformanceError(f"no test matches {only!r}." if only else "pytest found no tests.")
    return recorder


def table(head: list[str], rows: Iterable[list[Any]]) -> list[str]:
    """A markdown table whose columns also line up in a terminal."""
    cells = [head, *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines


def summary(recorder: Recorder, peer: str | None) -> list[str]:
    """The tables of a run: counts, failures, what ends otherwise than with the peer, reasons of skips."""
    suites = list(recorder.outcomes)
    kinds = ("passed", "failed", "skipped")
    rows = []
    for suite in suites:
        tests, subtests = Counter(recorder.outcomes[suite].values()), recorder.subtests[suite]
        rows.append([suite, sum(tests.values()), *(tests[kind] for kind in kinds), *(subtests[kind] for kind in kinds)])
    lines = table(["class", "tests", *kinds, *(f"subtests {kind}" for kind in kinds)], rows)
    lines += ["", "`pytest -q` adds the failed and skipped subtests to the failed and skipped tests."]
    if recorder.failures:
        lines += ["", "## Failures", "", *table(["test", "cause"], [[name, why] for name, why, _ in recorder.failures])]
    if peer:
        theirs = recorder.outcomes[peer]
        other = [
            [test, suite, outcome, theirs.get(test, "not there")]
            for suite in suites
            for test, outcome in recorder.outcomes[suite].items()
            if suite != peer and outcome != theirs.get(test, "not there")
        ]
        lines += ["", f"## Tests that end otherwise than in {peer}", ""]
        lines += table(["test", "class", "outcome", peer], other) if other else ["None."]
    reasons = sorted({reason for suite in suites for reason in recorder.skips[suite]})
    if reasons:
        lines += ["", "## What is skipped, and why", ""]
        for why, pattern in WHY.items():
            chosen = [reason for reason in reasons if re.search(pattern, reason)]
            reasons = [reason for reason in reasons if reason not in chosen]
            if chosen:
                rows = [[reason, *(recorder.skips[suite][reason] for suite in suites)] for reason in chosen]
                lines += [why, "", *table(["reason", *suites], rows), ""]
    return lines


def installed_version() -> str:
    """The version of transformers.

    Raises:
        ConformanceError: It, pytest or the package under test is not installed.
    """
    missing = [name for name in ("transformers", "torch", "pytest") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConformanceError(f"{', '.join(missing)} not installed here. Run: pip install -e '.[dev]'")
    if importlib.util.find_spec("modeling_coderep") is None:
        raise ConformanceError("modeling_coderep is not importable. Run: pip install -e . (or set PYTHONPATH)")
    return importlib.metadata.version("transformers")


def conform(cache: Path, peer: str | None, only: str | None) -> tuple[Recorder, list[str]]:
    """Fetch, place and run the tests; the recorded outcomes and a report in markdown."""
    version = installed_version()
    root = fetch_tests(cache, version)
    if importlib.util.find_spec("parameterized") is None:
        site = cache / "site"
        sys.path.insert(0, str(site))
        if not (site / "parameterized").is_dir():
            pip(
                *("install", "--no-deps", "--target", str(site), "parameterized"),
                purpose="installing parameterized, which the tests need, into the cache",
                hint="Install parameterized in another way.",
            )
        importlib.invalidate_caches()
    stand_ins = write_stand_ins(root / "tests")
    names = ["coderep", *([peer] if peer else [])]
    files = [place(name, root / "tests") for name in names]
    start = time.monotonic()
    recorder = run_tests(root, files, only)
    ours = [suite for suite in recorder.outcomes if suite.startswith("CodeRep")]
    reference = next((suite for suite in recorder.outcomes if suite not in ours), None)
    versions = (
        f"transformers {version}, torch {importlib.metadata.version('torch')}, Python {platform.python_version()}"
    )
    lines = [
        "# Conformance",
        "",
        "transformers' own model tests, `ModelTesterMixin` and `ConfigTester` of its source distribution, on the",
        f"coderep classes{' and on BERT' if reference else ''}. Made by `make conformance`; do not edit.",
        "",
        f"{versions}, {platform.machine()}; {time.monotonic() - start:.0f} s.",
        "",
        *summary(recorder, reference),
        "",
        "## Not covered",
        "",
        "The source distribution leaves out modules that the tests import. Empty ones took their place, so what they",
        f"would add did not run: {', '.join(f'`{name}`' for name in stand_ins) or 'none'}.",
        "It also leaves out the pipeline tests, whose tiny models are on the Hub.",
    ]
    return recorder, lines


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description="Run transformers' own model tests on the coderep classes.")
    parser.add_argument("--cache", type=Path, help="folder that keeps the downloaded tests (default: a temporary one)")
    parser.add_argument("--output", type=Path, help="write the report there, as markdown")
    parser.add_argument("--peer", choices=["bert"], help="run the same tests on this model of transformers as well")
    parser.add_argument("--only", metavar="EXPR", help="only tests whose names match, as in pytest -k")
    options = parser.parse_args()
    if options.only and options.output:
        parser.error("--output is the report of the whole run; leave out --only.")
    # Read when transformers and pytest are imported. Nothing here needs the Hub.
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    os.environ.pop("PYTEST_ADDOPTS", None)
    sys.dont_write_bytecode = True
    try:
        with tempfile.TemporaryDirectory(prefix="conformance-") as temporary:
            cache = options.cache.resolve() if options.cache else Path(temporary)
            cache.mkdir(parents=True, exist_ok=True)
            recorder, lines = conform(cache, options.peer, options.only)
        for name, _, details in recorder.failures:
            print(f"----- {name}\n{details}\n")
        print("\n".join(lines))
        if options.output:
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except (ConformanceError, OSError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    return 1 if recorder.failures else 0


if __name__ == "__main__":
    sys.exit(main())
