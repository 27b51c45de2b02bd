"""The house itself: import rules, the front door, the wheel."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import coderep

ROOT = Path(coderep.__file__).resolve().parent
PACKAGES = ("modeling_coderep", "data_collators", "trainers", "hub_cards")
MAY_IMPORT = {
    "modeling_coderep": set(),
    "data_collators": set(),
    "trainers": {"modeling_coderep", "data_collators"},
    "hub_cards": {"modeling_coderep", "data_collators", "trainers"},
}
# What every installation of transformers with torch has.
HUB_PORTABLE_IMPORTS = {
    *sys.stdlib_module_names,
    *("huggingface_hub", "numpy", "safetensors", "tokenizers", "torch", "tqdm", "transformers"),
}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    """(top-level name, level, module) of every import in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0], node.level, node.module or ""


def broken_rules(package, path):
    names = {name for name, level, _ in imported(path) if level == 0}
    return names & ({*PACKAGES, "coderep"} - {package} - MAY_IMPORT[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    assert {path.name: broken for path in files(package) if (broken := broken_rules(package, path))} == {}


def test_import_rule_can_fail(tmp_path):
    (tmp_path / "bad.py").write_text("def f():\n    from hub_cards.render import render\n")
    assert broken_rules("trainers", tmp_path / "bad.py") == {"hub_cards"}


def test_model_code_is_portable():
    """What transformers' copier can follow: siblings by `from .x import y`, and what comes with transformers."""
    for path in files("modeling_coderep"):
        for name, level, module in imported(path):
            assert level <= 1, f"{path.name} imports from a parent"
            if level == 1:
                assert module and "." not in module, f"{path.name}: `from . import x` is not copied"
            else:
                assert name in HUB_PORTABLE_IMPORTS, f"{path.name} imports {name}"
    assert [
        path for path in (ROOT / "modeling_coderep").iterdir() if path.is_dir() and path.name != "__pycache__"
    ] == []
    siblings = {path.stem for path in (ROOT / "modeling_coderep").glob("*_coderep.py")} - {"modeling_coderep"}
    direct = {module for _, level, module in imported(ROOT / "modeling_coderep" / "modeling_coderep.py") if level}
    assert direct == siblings, "the modeling file imports every sibling directly"


def child(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )


def test_hub_cards_leaves_torch_out():
    assert child("import sys, hub_cards; sys.exit('torch' in sys.modules)").returncode == 0


def test_help_and_version_leave_heavy_packages_out():
    code = (
        "import sys; sys.argv = ['coderep']; import coderep;"
        "code = coderep.main([{!r}]); print(sorted(sys.modules)); sys.exit(code)"
    )
    for flag in ("-h", "--version"):
        done = child(code.format(flag))
        assert done.returncode == 0
        loaded = done.stdout.splitlines()[-1]
        assert not any(f"'{name}'" in loaded for name in ("torch", "transformers", "numpy", "tree_sitter"))


def test_every_command_loads_and_explains_itself(capsys):
    for words, (target, _) in coderep.COMMANDS.items():
        command = coderep.load(target)
        try:
            code = command(["-h"])
        except SystemExit as stop:
            code = stop.code
        assert code == 0
        assert "usage: coderep " + " ".join(words) in capsys.readouterr().out


def test_every_public_name_exists():
    for name in coderep.__all__:
        assert getattr(coderep, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        coderep.nothing  # noqa: B018


def test_import_registers_the_auto_classes():
    code = "import coderep; from transformers import AutoConfig; print(type(AutoConfig.for_model('coderep')).__name__)"
    done = child(f"import sys; {code}; sys.exit('torch' in sys.modules)")
    assert done.stdout.strip() == "CodeRepConfig"
    assert done.returncode == 1, "torch would be noticed where it is left out"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["dmeo"], 2, "unknown command 'dmeo'"),
        (["data"], 2, "unknown command 'data'"),
        (["search", "/no/checkpoint", ".", "query"], 2, "checkpoint '/no/checkpoint' is not a folder"),
        (["search", "tests", "/no/path", "query"], 2, "'tests' is not a checkpoint: it has no config.json"),
        (["encode", ".", "missing.jsonl", "--output", "x.npy"], 2, "'missing.jsonl' does not exist"),
        (["train", "mlm", "--config", "no.yaml"], 2, "recipe 'no.yaml' does not exist"),
        (["train", "mlm", "--mlm_rte", "0.1"], 2, "unknown key 'mlm_rte' in the flags. Did you mean 'mlm_rate'?"),
        (["train", "mlm", "--max_steps", "many"], 2, "max_steps in the recipe and flags must be int, got 'many'"),
        (["train", "mlm", "steps"], 2, "unexpected argument 'steps'. Flags look like --name value"),
        (["train", "mlm"], 2, "no data given. Name a folder made by `coderep data ...` with --data"),
        (["data", "pairs", "--source", "nowhere", "--output", "x"], 2, "source 'nowhere' does not exist"),
        (["data", "pairs", "--source", ".", "--output", "x", "--languages", "cobol"], 2, "unknown language 'cobol'"),
        (["card", "render", "."], 2, "it has no run.json"),
        (["card", "publish", ".", "--repo", "me/x"], 2, "is not an exported checkpoint"),
        (["eval", "retrieval", "bm25", "--data", "."], 2, "holds no retrieval set"),
        (["demo", "--source", "nowhere"], 2, "source 'nowhere' is not a folder"),
    ],
)
def test_mistakes_get_one_line_and_their_exit_code(argv, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    assert coderep.main(argv) == code
    error = capsys.readouterr().err
    assert message in error.splitlines()[0] and error.startswith("coderep: ") and "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["tests"]


def test_recipe_mistakes(capsys, tmp_path):
    recipe = tmp_path / "r.yaml"
    for text, message in (
        ("mlm: {objektive: dobf}", "unknown key 'objektive' in recipe"),
        ("- a list", "must be a mapping of keys to values, got list"),
        ("a: [", "is not valid YAML"),
    ):
        recipe.write_text(text)
        assert coderep.main(["train", "mlm", "--config", str(recipe)]) == 2
        assert message in capsys.readouterr().err


def test_recipe_values_become_the_types_of_their_fields(tmp_path):
    from trainers.arguments import MlmArguments
    from trainers.command_line import parse_arguments

    recipe = tmp_path / "r.yaml"
    recipe.write_text("mlm: {learning_rate: 3e-4, max_steps: 10, save_strategy: no, model_config: {hidden_size: 8}}")
    args = parse_arguments(MlmArguments, "mlm", ["--config", str(recipe), "--max-steps=20", "--output_dir", "7"])
    assert (args.learning_rate, args.max_steps, args.save_strategy.value) == (3e-4, 20, "no")
    assert (args.model_config, args.output_dir) == ({"hidden_size": 8}, "7")


# packaging


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a clean copy of the tree, built offline."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE", "coderep.py"):
        shutil.copyfile(ROOT / name, tree / name)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)],
        check=True,
        capture_output=True,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_tree_and_nothing_else(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tree = {"coderep.py"}
    for package in PACKAGES:
        tree |= {
            path.relative_to(ROOT).as_posix()
            for path in (ROOT / package).rglob("*")
            if path.suffix in (".py", ".yaml", ".jinja", ".scm")
            or path.name == "reserved.txt"
            or (path.parent.name, path.suffix) == ("metrics", ".md")
        }
    assert inside == tree


def test_the_wheel_works_from_another_folder(wheel, tmp_path):
    target = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    code = (
        "import sys; sys.path.insert(0, {0!r});"
        "import coderep, hub_cards.render, trainers; from pathlib import Path;"
        "assert all(Path(m.__file__).is_relative_to({0!r}) for m in (coderep, hub_cards, trainers));"
        "from trainers.command_line import read_recipe;"
        "print(sorted(read_recipe(Path(trainers.__file__).parent / 'recipes' / 'demo.yaml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code.format(str(target))], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "'contrastive'" in done.stdout, done.stderr
