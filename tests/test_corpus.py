"""The script that downloads a corpus, with clients that hand out archives made here."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "get_corpus.py"
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the clients of these tests are scripts with a shebang")

# Every client is this program under its own name: it copies what the store has for its last argument.
CLIENT = """\
import os, pathlib, shutil, sys, time
store = pathlib.Path({store!r})
name, wanted = pathlib.Path(sys.argv[0]).name, sys.argv[-1].replace("/", "%")
with (store / "log").open("a") as log:
    log.write(name + " " + sys.argv[-1] + chr(10))
def stall():
    (store / "stalled").write_text(str(os.getpid()))
    time.sleep(60)
if name == "apt-config":
    print(f"LIST='{{store}}/sources.list'" + chr(10) + f"PARTS='{{store}}/sources.list.d'")
elif name == "dpkg-deb":
    data = pathlib.Path(sys.argv[-1]).read_bytes()
    sys.stdout.buffer.write(data[:-2048])
    sys.stdout.flush()
    if (store / "stall-dpkg-deb").exists():
        stall()
    sys.stdout.buffer.write(data[-2048:])
elif name == "apt-get" and wanted == "update":
    config = sys.argv[sys.argv.index("-c") + 1]
    shutil.copytree(pathlib.Path(config).parent / "parts", store / "parts", dirs_exist_ok=True)
elif name == "apt-cache":
    print("Package: x" + chr(10) + "Version: 2-1" + chr(10) * 2 + "Package: x" + chr(10) + "Version: 1-1")
else:
    if (store / ("stall-" + name)).exists():
        stall()
    found = list((store / wanted).glob("*"))
    for path in found:
        shutil.copy(path, ".")
    if not found:
        print("E: 404 Not found at https://me:secret@registry.example.org/" + wanted, file=sys.stderr)
        sys.exit(1)
"""
COLUMNS = "profile language name kind package license include exclude mb".split()
PYTHON_ROW = "demo python alpha pip alpha==1.2 BSD-3-Clause - - 0".split()
SDIST_ROW = "full csharp beta sdist beta==0.3 MIT - - 0".split()
NPM_ROW = "demo javascript gamma npm @scope/gamma@3.0.1 MIT ^/[^/]+/src/ /skip/ 0".split()
DEB_ROW = "full ruby delta deb delta MIT - - 0".split()
SRC_ROW = "full c epsilon src nowhere|epsilon curl - /tools/ 0".split()
SHARING_ROW = "full go zeta src nowhere|epsilon MIT - - 0".split()
ROWS = [PYTHON_ROW, SDIST_ROW, NPM_ROW, DEB_ROW, SRC_ROW, SHARING_ROW]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("get_corpus", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["get_corpus"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["get_corpus"]


def tar_bytes(files, mode="w"):
    """A tar archive; a value that is a str makes a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_bytes(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class House:
    """A machine with clients and a table of its own."""

    def __init__(self, root):
        self.root, self.store, self.bin, self.dest = root, root / "store", root / "bin", root / "dest with space"
        for folder in (self.store / "sources.list.d", self.bin, root / "modules" / "pip", root / "clients"):
            folder.mkdir(parents=True)
        program = CLIENT.format(store=str(self.store))
        for name in ("npm", "apt-get", "apt-cache", "apt-config", "dpkg-deb"):
            # A path with a space cannot stand behind `#!`, and the interpreter's may have one.
            (root / "clients" / name).write_text(program)
            call = f"exec {shlex.quote(sys.executable)} -IS {shlex.quote(str(root / 'clients' / name))}"
            (self.bin / name).write_text(f'#!/bin/sh\n{call} "$@"\n')
            (self.bin / name).chmod(0o755)
        (root / "modules" / "pip" / "__init__.py").write_text("")
        (root / "modules" / "pip" / "__main__.py").write_text("import sys; sys.argv[0] = 'pip'\n" + program)
        (self.store / "sources.list").write_text("# main\ndeb http://packages.example.org/debian stable main\n")
        (self.store / "sources.list.d" / "more.sources").write_text("Types: deb\nURIs: http://p.example.org/more\n")
        self.table(ROWS)

    def table(self, rows):
        lines = [COLUMNS, *([field if field != "-" else "" for field in row] for row in rows)]
        (self.root / "table.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))

    def put(self, package, archive, data):
        folder = self.store / package.replace("/", "%")
        folder.mkdir(exist_ok=True)
        (folder / archive).write_bytes(data)

    def stock(self):
        """An archive of every kind."""
        wheel = {
            "alpha/core.py": b"def f():\n    return 1\n",
            "alpha/tests/test_core.py": b"def test(): pass\n",
            "alpha/tables.py": b"# This file is generated by tables.py\nX = 1\n",
            "alpha/data.json": b"{}",
            "alpha-1.2.dist-info/licenses/LICENSE": b"BSD",
        }
        self.put("alpha==1.2", "alpha-1.2-py3-none-any.whl", zip_bytes(wheel))
        self.put("beta==0.3", "beta-0.3.tar.gz", tar_bytes({"beta-0.3/B.cs": b"class B {}\n"}, "w:gz"))
        package = {
            "package/src/a.js": b"function a() {}\n",
            "package/src/a.min.js": b"function a(){}\n",
            "package/src/long.js": b"var x = 1;" * 100,
            "package/src/skip/b.js": b"function b() {}\n",
            "package/dist/a.js": b"function a() {}\n",
            "package/LICENSE": b"MIT",
        }
        self.put("@scope/gamma@3.0.1", "scope-gamma-3.0.1.tgz", tar_bytes(package, "w:gz"))
        package = {
            "./usr/lib/ruby/vendor_ruby/delta.rb": b"def d; end\n",
            "./usr/lib/ruby/vendor_ruby/link.rb": "delta.rb",
            "./usr/share/doc/delta/copyright": b"Expat",
            "./usr/share/doc/other/readme": b"no",
        }
        self.put("delta", "delta_1%3a2.0-1_all.deb", tar_bytes(package))
        package = {
            "epsilon-1/lib/e.c": b"int e(void);\n",
            "epsilon-1/tools/t.c": b"int t(void);\n",
            "epsilon-1/go/build/z.go": b"package z\n",
            "epsilon-1/COPYING": b"curl",
        }
        self.put("epsilon=1-1", "epsilon_1.orig.tar.xz", tar_bytes(package, "w:xz"))
        component = {"more-7/m.c": b"int m(void);\n", "more-7/X.Tests/m.c": b"int m(void);\n"}
        self.put("epsilon=1-1", "epsilon_1.orig-more.tar.gz", tar_bytes(component, "w:gz"))
        self.put("epsilon=1-1", "epsilon_1-1.debian.tar.xz", b"not looked at")
        return self

    def start(self, *flags, profile="full", dest=None):
        table = self.root / "table.tsv"
        return subprocess.Popen(
            # without site-packages, so that the only pip is the one made here
            list(map(str, (sys.executable, "-S", SCRIPT, profile, dest or self.dest, "--table", table, *flags))),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={"PATH": str(self.bin), "PYTHONPATH": str(self.root / "modules"), "HOME": str(self.root)},
        )

    def run(self, *flags, code=0, **options):
        process = self.start(*flags, **options)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == code, output
        assert "Traceback" not in output
        return output

    def log(self):
        """What the clients were asked for since the last call."""
        log = self.store / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return [line for line in lines if line.split()[0] != "dpkg-deb"]

    def tree(self, dest=None):
        dest = dest or self.dest
        files = (path.relative_to(dest).as_posix() for path in dest.rglob("*") if path.is_file())
        return sorted(name for name in files if not name.endswith((".corpus.json", "repositories.json")))

    def report(self, dest=None):
        return json.loads(((dest or self.dest) / "repositories.json").read_text())


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)


def packages(house, sizes, language="javascript"):
    """npm packages of files of the given sizes."""
    rows = []
    for name, files in sizes.items():
        content = {f"package/{path}": b"x;\n" * (size // 3) for path, size in files.items()}
        house.put(f"{name}@1", f"{name}-1.tgz", tar_bytes(content, "w:gz"))
        rows.append(["full", language, name, "npm", f"{name}@1", "MIT", "-", "-", "0"])
    house.table(rows)


# the whole


def test_layout_report_and_second_run(house):
    house.stock()
    output = house.run()
    assert house.tree() == [
        "c/epsilon/COPYING",
        "c/epsilon/lib/e.c",
        "c/epsilon/more/more-7/m.c",
        "csharp/beta/B.cs",
        "go/zeta/COPYING",
        "go/zeta/go/build/z.go",
        "javascript/gamma/LICENSE",
        "javascript/gamma/src/a.js",
        "python/alpha/alpha-1.2.dist-info/licenses/LICENSE",
        "python/alpha/alpha/core.py",
        "ruby/delta/usr/lib/ruby/vendor_ruby/delta.rb",
        "ruby/delta/usr/share/doc/delta/copyright",
    ]
    report = house.report()
    assert report["profile"] == "full" and report["missing"] == []
    found = {one["repo"]: (one["name"], one["version"], one["kind"], one["package"]) for one in report["repositories"]}
    assert found == {
        "c/epsilon": ("epsilon", "1", "src", "epsilon"),
        "csharp/beta": ("beta", "0.3", "sdist", "beta"),
        "go/zeta": ("zeta", "1", "src", "epsilon"),
        "javascript/gamma": ("gamma", "3.0.1", "npm", "@scope/gamma"),
        "python/alpha": ("alpha", "1.2", "pip", "alpha"),
        "ruby/delta": ("delta", "1:2.0-1", "deb", "delta"),
    }
    assert list(found) == sorted(found)
    archive = house.store / "alpha==1.2" / "alpha-1.2-py3-none-any.whl"
    assert report["repositories"][4] == {
        "repo": "python/alpha",
        "name": "alpha",
        "version": "1.2",
        "kind": "pip",
        "package": "alpha",
        "license": "BSD-3-Clause",
        "archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "files": 1,
        "bytes": 22,
    }
    written = "".join(path.read_text() for path in house.dest.rglob("*.json"))
    assert str(house.root) not in written and "example.org" not in written
    assert "[6 of 6]" in output and "6 of 6 packages" in output
    # a private state with source packages; two rows of one package share its download; what fails is tried in turn
    assert (house.store / "parts" / "00.list").read_text().splitlines()[-1].startswith("deb-src http")
    assert (house.store / "parts" / "01.sources").read_text().startswith("Types: deb deb-src\n")
    assert house.log() == [
        "pip alpha==1.2",
        "pip beta==0.3",
        "npm @scope/gamma@3.0.1",
        "apt-config Dir::Etc::sourceparts/d",
        "apt-get update",
        "apt-get delta",
        "apt-get nowhere",
        "apt-cache nowhere",
        "apt-get nowhere=2-1",
        "apt-get nowhere=1-1",
        "apt-get epsilon",
        "apt-cache epsilon",
        "apt-get epsilon=2-1",
        "apt-get epsilon=1-1",
    ]

    before = (house.dest / "repositories.json").read_bytes()
    assert house.run().count("there already") == 6
    assert house.log() == []
    assert (house.dest / "repositories.json").read_bytes() == before
    assert sorted(path.name for path in house.dest.iterdir() if path.name.startswith(".")) == []


def test_profile_languages_and_jobs(house):
    house.stock()
    house.run(profile="demo")
    assert {one["repo"] for one in house.report()["repositories"]} == {"javascript/gamma", "python/alpha"}
    house.log()
    house.run("--languages", "ruby", "c", "python", "--jobs", 3)
    assert {line.split()[0] for line in house.log()} == {"apt-config", "apt-get", "apt-cache"}
    # the report tells of everything that is there
    assert {one["repo"] for one in house.report()["repositories"]} == {
        *("c/epsilon", "javascript/gamma", "python/alpha", "ruby/delta")
    }


def test_a_changed_row_a_lost_file_and_a_spoilt_record_are_fetched_again(house):
    house.stock().run()
    house.log()
    changed = [*SDIST_ROW[:6], "/B", *SDIST_ROW[7:]]
    house.table([changed if row is SDIST_ROW else row for row in ROWS])
    (house.dest / "python/alpha/alpha/core.py").unlink()
    (house.dest / "javascript/gamma/.corpus.json").write_text("{")
    house.run()
    assert house.log() == ["pip alpha==1.2", "pip beta==0.3", "npm @scope/gamma@3.0.1"]
    assert len(house.tree()) == 12


@pytest.mark.parametrize("client", ["npm", "dpkg-deb"])
def test_a_killed_run_is_taken_up(house, client):
    house.stock()
    stall = house.store / f"stall-{client}"
    stall.touch()
    process = house.start()
    stalled = house.store / "stalled"
    deadline = time.monotonic() + 30
    while not (stalled.exists() and stalled.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    with contextlib.suppress(ProcessLookupError):  # the client that it left
        os.kill(int(stalled.read_text()), signal.SIGKILL)
    stall.unlink()
    broken_off = {"npm": "javascript/gamma", "dpkg-deb": "ruby/delta"}[client]
    assert (house.dest / "python/alpha/.corpus.json").exists()
    assert not (house.dest / broken_off).exists() and not (house.dest / "repositories.json").exists()
    assert (house.dest / ".corpus.partial").exists()
    house.log()
    output = house.run()
    assert "pip alpha==1.2" not in house.log() and "python/alpha" in output
    assert len(house.tree()) == 12 and len(house.report()["repositories"]) == 6
    assert not (house.dest / ".corpus.partial").exists()


# what goes wrong


def flip(data, position):
    return data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :]


BROKEN = {
    "truncated": lambda data: data[: len(data) // 2],
    "flipped": lambda data: flip(data, len(data) - 6),  # in the checksum of gzip
    "not an archive": lambda data: b"<html>Service unavailable</html>",
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_archive_is_reported_and_the_others_kept(house, how):
    house.stock()
    path = house.store / "@scope%gamma@3.0.1" / "scope-gamma-3.0.1.tgz"
    path.write_bytes(BROKEN[how](path.read_bytes()))
    output = house.run("--languages", "javascript", "csharp", code=1)
    assert house.tree() == ["csharp/beta/B.cs"]
    (missing,) = house.report()["missing"]
    assert missing["repo"] == "javascript/gamma" and missing["reason"].startswith("the archive is broken")
    assert "MISSING: the archive is broken" in output and "1 of 2 packages" in output


def test_a_broken_wheel_and_its_successor(house):
    house.stock()
    path = house.store / "alpha==1.2" / "alpha-1.2-py3-none-any.whl"
    path.write_bytes(flip(path.read_bytes(), 45))
    house.run("--languages", "python", code=1)
    assert house.report()["missing"][0]["reason"].startswith("the archive is broken")
    house.stock().run("--languages", "python")
    assert house.report()["missing"] == [] and "python/alpha/alpha/core.py" in house.tree()


def test_missing_clients(house):
    house.stock()
    for name in ("npm", "apt-get"):
        (house.bin / name).unlink()
    house.run(code=1)
    assert house.tree() == [
        "csharp/beta/B.cs",
        "python/alpha/alpha-1.2.dist-info/licenses/LICENSE",
        "python/alpha/alpha/core.py",
    ]
    assert {one["repo"]: one["reason"] for one in house.report()["missing"]} == {
        "javascript/gamma": "npm is not on this machine",
        **dict.fromkeys(("c/epsilon", "go/zeta", "ruby/delta"), "apt-get is not on this machine"),
    }


def test_a_missing_pip(house):
    shutil.rmtree(house.root / "modules" / "pip")
    assert "this Python has no pip" in house.run("--languages", "python", code=1)


def test_a_package_that_does_not_exist(house):
    output = house.run("--languages", "javascript", code=1)
    assert "npm ended with exit code 1 (E: 404 Not found at <address>)" in output and "secret" not in output
    assert house.report()["missing"] == [{"repo": "javascript/gamma", "reason": "npm ended with exit code 1"}]


@pytest.mark.parametrize("name", ["package/../../../evil.js", "/tmp/evil.js", "..\\evil.js", "C:\\evil.js"])
def test_paths_that_escape_are_refused(house, name):
    files = {"package/a.js": b"let a;\n", "package/a.py": b"a = 1\n", name: b"evil;\n"}
    house.put("@scope/gamma@3.0.1", "scope-gamma-3.0.1.tgz", tar_bytes(files, "w:gz"))
    house.put("alpha==1.2", "alpha-1.2-py3-none-any.whl", zip_bytes(files))
    house.run("--languages", "javascript", "python", code=1)
    for missing in house.report()["missing"]:
        assert missing["reason"].startswith(f"the archive is refused: its member {name!r}")
    assert house.tree() == [] and not list(house.root.rglob("evil*"))


def test_links_are_passed_over(house):
    outside = house.root / "outside"
    outside.mkdir()
    files = {"package/src": str(outside), "package/src/a.js": b"let a;\n", "package/src/b.js": "/etc/hosts"}
    house.put("@scope/gamma@3.0.1", "scope-gamma-3.0.1.tgz", tar_bytes(files, "w:gz"))
    house.run("--languages", "javascript")
    assert house.tree() == ["javascript/gamma/src/a.js"] and not list(outside.iterdir())
    assert not (house.dest / "javascript/gamma/src").is_symlink()


def test_what_others_put_there_is_left_alone(house):
    house.stock()
    (house.dest / "python/alpha").mkdir(parents=True)
    (house.dest / "python/alpha/mine.txt").write_text("mine")
    house.run("--languages", "python", "csharp", code=1)
    assert house.tree() == ["csharp/beta/B.cs", "python/alpha/mine.txt"]
    assert "holds something else" in house.report()["missing"][0]["reason"]


def test_archives_with_too_little(house):
    house.stock()
    house.table([[*SDIST_ROW[:-1], "0.5"], [*SRC_ROW[:6], "/nothing/", *SRC_ROW[7:]], SHARING_ROW])
    output = house.run(code=1)
    assert "WARNING: less than half of the 0.5 MB expected" in output
    assert [one["repo"] for one in house.report()["missing"]] == ["c/epsilon"]
    assert "no source files" in house.report()["missing"][0]["reason"]
    assert {one["repo"] for one in house.report()["repositories"]} == {"csharp/beta", "go/zeta"}


# the cap


def test_the_cap_is_the_same_whatever_came_before(house, tmp_path):
    sizes = {
        "one": {f"a{i}.js": 300 + 30 * i for i in range(20)},
        "two": {f"b/{i}.js": 900 - 30 * i for i in range(20)},
    }
    packages(house, sizes)
    # from nothing
    house.run("--max-mb-per-language", 0.01)
    small = house.tree()
    kept = sum((house.dest / name).stat().st_size for name in small)
    assert 0.01e6 - 900 < kept <= 0.01e6 and len({name.split("/")[1] for name in small}) == 2
    report = house.report()["repositories"]
    assert sum(one["bytes"] for one in report) == kept and sum(one["files"] for one in report) == len(small)
    house.log()
    assert "there already" in house.run("--max-mb-per-language", 0.01) and house.log() == []
    # upwards: what was removed is fetched again
    house.run("--max-mb-per-language", 0.015)
    middle = house.tree()
    assert set(small) < set(middle) and house.log() == ["npm one@1", "npm two@1"]
    # downwards, from everything, packages in the other order
    other = tmp_path / "other"
    packages(house, dict(reversed(sizes.items())))
    house.run("--jobs", 2, dest=other)
    assert len(house.tree(other)) == 40
    house.log()
    house.run("--max-mb-per-language", 0.015, dest=other)
    assert house.tree(other) == middle and house.log() == []
    # one package after the other
    third = tmp_path / "third"
    packages(house, {"one": sizes["one"]})
    house.run("--max-mb-per-language", 0.01, dest=third)
    packages(house, sizes)
    house.run("--max-mb-per-language", 0.01, dest=third)
    assert house.tree(third) == small


# usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["huge", "out"], "invalid choice: 'huge'"),
        (["demo"], "arguments are required: DEST"),
        (["demo", "out", "--languages", "cobol"], "invalid choice: 'cobol'"),
        (["demo", "out", "--max-mb-per-language", "0"], "'0' must be a positive number"),
        (["demo", "out", "--jobs", "many"], "'many' must be a positive number"),
        (["demo", "file"], "cannot write to"),
        (["demo", "out", "--table", "none.tsv"], "table 'none.tsv' cannot be read"),
        (["demo", "out", "--table", "file"], "must start with the columns profile language name"),
    ],
)
def test_usage_errors(script, arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("text")
    try:
        code = script.main(arguments)
    except SystemExit as stop:
        code = stop.code
    assert code == 2 and message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, "max", "line 3: 'max' is not one of demo, full"),
        (1, "cobol", "line 3: 'cobol' is not one of python"),
        (2, "../up", "line 3: name '../up' must be a plain folder name"),
        (2, "alpha", "names python/alpha twice"),
        (6, "(", "line 3: '(' is not a regular expression"),
        (8, "much", "line 3: could not convert"),
    ],
)
def test_table_errors(script, house, position, value, message):
    house.table([PYTHON_ROW, [*PYTHON_ROW[:2], "other", *PYTHON_ROW[3:]]])
    path = house.root / "table.tsv"
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    lines[2][position] = value
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    with pytest.raises(script.UsageError, match=re.escape(message)):
        script.read_table(path)


def test_two_runs_in_one_folder(script, house):
    with script.working_folder(house.dest):
        assert "another run is at work" in house.run(code=2)


# the rules


@pytest.mark.parametrize(
    ("language", "name", "wanted"),
    [
        ("python", "pkg/core.py", True),
        ("python", "pkg/latest.py", True),
        ("python", "pkg/test_core.py", False),
        ("python", "pkg/Tests/core.py", False),
        ("python", "pkg/core.pyx", False),
        ("python", "stats/_rank_test.py", True),
        ("python", "pkg/build/core.py", True),
        ("typescript", "src/a.tsx", True),
        ("typescript", "src/a.d.ts", False),
        ("typescript", "src/a.spec.ts", False),
        ("typescript", "src/build/a.ts", False),
        ("javascript", "a.min.js", False),
        ("javascript", "node_modules/a/a.js", False),
        ("java", "src/Contest.java", True),
        ("java", "src/StackTest.java", False),
        ("csharp", "Properties/AssemblyInfo.cs", False),
        ("csharp", "Newton.Json.Tests/Objects/Person.cs", False),
        ("csharp", "Form.Designer.cs", False),
        ("go", "go/build/build.go", True),
        ("go", "go/build/build_test.go", False),
        ("go", "api/types.pb.go", False),
        ("ruby", "lib/a_spec.rb", False),
        ("php", "src/Latest.php", True),
        ("php", "vendor/x/y.php", False),
        ("c", "src/a.h", True),
        ("c", "third_party/a.c", False),
        ("c", "src/con:aux.c", False),
    ],
)
def test_names(script, language, name, wanted):
    row = script.Row("full", language, "x", "npm", "x", "MIT", "", "", 0)
    assert script.is_wanted(row, name, 100) is wanted


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        *(("x/LICENSE", True), ("x/MIT-LICENSE", True), ("licenses/bsd-3-clause.txt", True), ("x/COPYING.LIB", True)),
        *(("x/license.rb", False), ("x/licensed.txt", False), ("x/copyright.pl", False), ("LICENSE/x/y.txt", False)),
    ],
)
def test_license_files(script, name, kept):
    assert script.is_license(name, 100) is kept


def test_sizes(script):
    row = script.Row("full", "c", "x", "npm", "x", "MIT", "", "", 0)
    assert [script.is_wanted(row, "a.c", size) for size in (0, 1, 599_999, 600_000)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"int a;\n" * 50, True),
        (b"// Code generated by protoc-gen-go. DO NOT EDIT.\npackage a\n", False),
        (b"// <auto-generated/>\nclass A {}\n", False),
        (b"/* A Bison parser, made by GNU Bison 3.8. */\n", False),
        (b"# Generated by the grammar compiler\nx = 1\n", False),
        (b"# This file was automatically generated.\n", False),
        (b"#define X\n/* A lexical scanner generated by flex */\n", False),
        (b"package x\n// The code below was generated by lxd-generate - DO NOT EDIT!\n", False),
        (b'"""Events generated by the mouse."""\n', True),
        (b"/* Runs before the code is generated. */\n", True),
        (b"\n" * 1600 + b"// @generated is looked for in the head only\n", True),
        (b"var a=1;" * 100, False),
        (b"a\0b", False),
        (b"old mac line ends\r" * 100, True),
    ],
)
def test_contents(script, text, kept):
    assert script.is_handwritten(text) is kept


def test_the_table(script):
    rows = script.read_table(script.TABLE)
    assert {row.language for row in rows if row.profile == "demo"} == set(script.SUFFIXES)
    assert 25 < sum(row.mb for row in rows if row.profile == "demo") < 40 and all(row.mb > 0 for row in rows)
    licenses = {name for row in rows for name in row.license.split(" OR ")}
    assert licenses <= {
        *("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT", "PSF-2.0", "PostgreSQL", "Ruby", "curl"),
        *("zlib-acknowledgement", "GPL-2.0-only", "GPL-3.0-only"),
    }
    for row in rows:  # what a registry may replace any day is pinned
        if row.kind in ("pip", "sdist", "npm"):
            assert re.search(r"(==|.@)\d+(\.\d+)+$", row.package), row.package


def test_the_standard_library(script, tmp_path, capsys):
    """The one package that needs no client, through the front door."""
    table = tmp_path / "table.tsv"
    row = ["demo", "python", "stdlib", "std", "Python", "PSF-2.0", "^/(json|csv)", "", "0"]
    table.write_text("\t".join(COLUMNS) + "\n" + "\t".join(row) + "\n")
    assert script.main(["demo", str(tmp_path / "out"), "--table", str(table)]) == 0
    (found,) = json.loads((tmp_path / "out" / "repositories.json").read_text())["repositories"]
    assert found["version"] == ".".join(map(str, sys.version_info[:3])) and found["archive_sha256"] is None
    assert {path.name for path in (tmp_path / "out").rglob("*.py")} >= {"csv.py", "decoder.py"}
    assert "python/stdlib" in capsys.readouterr().out
