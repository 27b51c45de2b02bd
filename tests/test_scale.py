"""The same data set from this machine, from datatrove, from Ray and from Slurm, also when something dies on the way."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import coderep
from data_collators.builders import SourceOptions, build_pairs
from data_collators.builders.build import plan_pairs, plan_stage1
from data_collators.builders.scale import SlurmOptions, carry_out_at_scale
from data_collators.builders.sources import iter_chunks
from data_collators.builders.work import carry_out, make_share, merge, parts_path, prepare, read_work
from data_collators.rows import SourceFile

ROOT = Path(coderep.__file__).resolve().parent


@pytest.fixture(scope="module")
def options(corpus):
    """Every file is a source, and so a chunk, of its own."""
    return SourceOptions(source=tuple(str(path) for path in sorted(corpus.rglob("*.py"))), test_share=0.3)


@pytest.fixture(scope="module")
def plan(options):
    return plan_pairs(options)


@pytest.fixture(scope="module")
def expected(options, tmp_path_factory):
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("expected") / "out"
    build_pairs(options, folder)
    return contents(folder)


def contents(folder):
    """Shards as bytes, and the statistics but for the time it took."""
    stats = json.loads((folder / "stats.json").read_text())
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}, {**stats, "seconds": 0}


class DieOnce:
    """An extractor that kills its process at one file, unless a marker says that it has done so."""

    def __init__(self, extract, path, marker):
        self.extract, self.path, self.marker = extract, path, marker

    def __call__(self, file):
        if file.path == self.path and not os.path.exists(self.marker):
            open(self.marker, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.extract(file)


def dying(plan, marker):
    return replace(plan, maker=replace(plan.maker, extract=DieOnce(plan.maker.extract, "shutil.py", str(marker))))


# the list of work


def test_the_list_of_work_gives_back_every_chunk(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    for name in (b"a.py", b"caf\xe9.py", "два слова.py".encode()):
        (folder / os.fsdecode(name)).write_text("x = 1\n")
    (tmp_path / "rows.jsonl").write_text('{"text": "x = 1", "language": "python"}\n')
    plan = plan_pairs(SourceOptions((str(folder), str(tmp_path / "rows.jsonl"))))
    parts = prepare(plan, tmp_path / "out")
    found = [chunk for chunk, _ in read_work(parts)]
    assert found == list(iter_chunks(plan.sources)) and len(found) == 2
    assert [chunk for rank in range(3) for chunk, _ in read_work(parts, rank, 3)] == found


def test_tasks_in_any_order_and_twice_make_the_same(plan, expected, tmp_path):
    parts = prepare(plan, tmp_path / "out")
    for rank in (2, 0, 0):
        assert len(list(make_share(plan.maker, parts, rank, 3))) > 3
    with pytest.raises(OSError, match=r"\d of \d+ parts are missing in .* The same command, started again, makes"):
        merge(plan, parts, tmp_path / "out")
    list(make_share(plan.maker, parts, 1, 3))
    merge(plan, parts, tmp_path / "out")
    assert contents(tmp_path / "out") == expected


def test_two_tasks_at_one_part_do_each_other_no_harm(plan, expected, tmp_path):
    parts = prepare(plan, tmp_path / "out")

    class Meanwhile:
        """While this task is at a file, another one makes the part."""

        def __call__(self, file):
            list(make_share(plan.maker, parts))
            return plan.maker.extract(file)

    list(make_share(replace(plan.maker, extract=Meanwhile()), parts))
    merge(plan, parts, tmp_path / "out")
    assert contents(tmp_path / "out") == expected
    assert not list(parts.glob(".making-*"))


# datatrove


def test_datatrove_makes_the_same_pairs(plan, expected, tmp_path):
    pytest.importorskip("datatrove")
    stats = carry_out_at_scale(plan, tmp_path / "out", "datatrove", tasks=4)
    assert contents(tmp_path / "out") == expected
    assert {**stats, "seconds": 0} == expected[1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_datatrove_makes_the_same_stage1_rows(options, tokenizer, tmp_path):
    pytest.importorskip("datatrove")
    plan = plan_stage1(options, tokenizer, max_length=128)
    carry_out(plan, tmp_path / "one")
    carry_out_at_scale(plan, tmp_path / "two", "datatrove", tasks=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


KILLED = """
import os, signal
from dataclasses import replace
from data_collators.builders.build import plan_pairs
from data_collators.builders.scale import carry_out_at_scale
from data_collators.builders.sources import SourceOptions
"""


def test_a_killed_datatrove_run_is_finished_by_the_same_call(plan, expected, tmp_path):
    pytest.importorskip("datatrove")
    script, output = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(
        f"{KILLED}{inspect.getsource(DieOnce)}{inspect.getsource(dying)}"
        f"plan = dying(plan_pairs(SourceOptions({plan.sources.source}, test_share=0.3)), {str(tmp_path / 'died')!r})\n"
        f"carry_out_at_scale(plan, {str(output)!r}, 'datatrove', tasks=3)\n"
    )
    child = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert child.wait(60) == -signal.SIGKILL
    os.killpg(child.pid, signal.SIGKILL)  # datatrove's own helper process
    parts = parts_path(plan, output)
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("[0-9]*.json")}
    assert 0 < len(before) < len(plan.sources.source) and not output.exists()
    made = []
    counting = replace(plan.maker, extract=lambda file: made.append(file.path) or plan.maker.extract(file))
    carry_out_at_scale(replace(plan, maker=counting), output, "datatrove", tasks=5)
    assert len(made) == len(plan.sources.source) - len(before)
    assert contents(output) == expected


def test_pairs_from_documents():
    pytest.importorskip("datatrove")
    from datatrove.data import Document

    from data_collators.builders.datatrove_steps import ExtractPairs

    text = 'def add(a, b):\n    """Add two numbers."""\n    total = a + b\n    return total\n'
    metadata = {"language": "Python", "repo": "me/sums", "path": "sums.py", "license": "MIT"}
    documents = [
        Document(text=text, id="one", metadata=metadata),
        Document(text=text, id="two", metadata={"path": "sums.py"}),
        Document(text="++++", id="three", metadata={"language": "brainfuck"}),
    ]
    step = ExtractPairs()
    first, second = step.run(iter(documents))
    (row,) = build_rows(text)
    assert (first.text, first.id) == ("Add two numbers.", "one:1") and second.id == "two:1"
    assert first.metadata == {**row, "repo": "me/sums", "license": "MIT"}
    assert step.stats["pairs"].total == 2 and step.stats["another language"].total == 1


def build_rows(text):
    from dataclasses import asdict

    from data_collators.builders.pairs import PairExtractor

    rows = [asdict(row) for row in PairExtractor()(SourceFile("x", text, "python", "", "sums.py")).rows]
    return [{name: value for name, value in row.items() if name not in ("id", "text")} for row in rows]


# Slurm


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder of commands that stand for Slurm's: sbatch keeps scripts with their arguments, srun runs its command."""
    tools, jobs = tmp_path / "tools", tmp_path / "jobs"
    tools.mkdir()
    jobs.mkdir()
    commands = {
        "sbatch": f'n=$(ls {jobs} | wc -l); n=$((n / 2 + 1)); for f in "$@"; do :; done; cp "$f" {jobs}/$n.sh; '
        f'echo "$@" > {jobs}/$n.args; echo Submitted batch job $n',
        "scontrol": "echo localhost",
        "srun": 'shift 3; exec "$@"',
    }
    for name, command in commands.items():
        (tools / name).write_text(f"#!/bin/bash\n{command}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return jobs


def run_job(jobs, number, rank):
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(rank), "SLURM_NODELIST": "localhost"}
    script = jobs / f"{number}.sh"
    return subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, timeout=60)


def test_slurm_makes_the_same(plan, expected, cluster, tmp_path, capsys):
    pytest.importorskip("datatrove")
    options = SlurmOptions(partition="cpu", time="1:00:00", mem_gb=3, merge_mem_gb=9, sbatch=("account=me",))
    assert carry_out_at_scale(plan, tmp_path / "out", "slurm", tasks=2, workers=7, slurm=options) is None
    said = capsys.readouterr().err
    assert "submitted: job 1, 2 tasks for" in said and "submitted: job 3, which then puts them together" in said
    make, together = ((cluster / f"{number}.sh").read_text() for number in (1, 3))
    for line in (
        "array=0-1%7",
        "partition=cpu",
        "time=1:00:00",
        "mem-per-cpu=3G",
        "account=me",
        f"chdir={os.getcwd()}",
    ):
        assert f"#SBATCH --{line}\n" in make
    assert "#SBATCH --mem-per-cpu=9G\n" in together and "--qos" not in make + together
    assert "--dependency=afterok:1" in (cluster / "3.args").read_text()

    early = run_job(cluster, 3, 0)
    assert "parts are missing" in early.stderr and early.returncode != 0
    for number, rank in ((1, 1), (1, 0), (3, 0)):
        assert run_job(cluster, number, rank).returncode == 0
    assert contents(tmp_path / "out") == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jobs", "out", "out.slurm", "tools"]


def test_slurm_on_the_command_line_writes_no_card_yet(corpus, cluster, tmp_path, capsys):
    pytest.importorskip("datatrove")
    command = ["data", "pairs", "--source", str(corpus), "--output", str(tmp_path / "out"), "--executor", "slurm"]
    assert coderep.main([*command, "--slurm-partition", "cpu", "--slurm-sbatch", "account=me"]) == 0
    assert not (tmp_path / "out").exists() and "submitted" in capsys.readouterr().err


def test_slurm_refuses_what_cannot_work(plan, tmp_path, monkeypatch, cluster):
    pytest.importorskip("datatrove")
    ready = SlurmOptions(partition="cpu")
    with pytest.raises(ValueError, match=r"'slurm' needs a partition \(--slurm-partition\)"):
        carry_out_at_scale(plan, tmp_path / "out", "slurm")
    with pytest.raises(ValueError, match="'.*a b.slurm', which holds blanks. Name another output"):
        carry_out_at_scale(plan, tmp_path / "a b", "slurm", slurm=ready)
    with pytest.raises(ValueError, match="options of sbatch look like account=me, got 'exclusive'"):
        SlurmOptions(sbatch=("exclusive",))
    (cluster.parent / "tools" / "sbatch").write_text("#!/bin/bash\nexit 3\n")
    with pytest.raises(OSError, match=r"sbatch refused the job \(exit code 3\)"):
        carry_out_at_scale(plan, tmp_path / "out", "slurm", slurm=ready)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="needs `sbatch`, which is not on the PATH"):
        carry_out_at_scale(plan, tmp_path / "out", "slurm", slurm=ready)


# Ray


@pytest.fixture(scope="module")
def ray():
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        "local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=100 * 2**20,
    )
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_makes_the_same_also_when_a_worker_is_killed(ray, plan, expected, tmp_path, capsys):
    carry_out_at_scale(plan, tmp_path / "one", "ray", tasks=4)
    assert contents(tmp_path / "one") == expected
    assert "Ray: 4 tasks on 2 CPUs of 1 node(s)" in capsys.readouterr().err
    carry_out_at_scale(dying(plan, tmp_path / "died"), tmp_path / "two", "ray", tasks=3, workers=1)
    assert contents(tmp_path / "two") == expected and (tmp_path / "died").exists()
    assert ray.is_initialized()


class Broken:
    def __call__(self, file):
        raise OSError(28, "No space left on device")


class Deadly:
    def __call__(self, file):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_ray_says_what_failed_and_another_executor_goes_on(ray, plan, expected, tmp_path):
    with pytest.raises(OSError, match="No space left on device") as caught:
        carry_out_at_scale(replace(plan, maker=replace(plan.maker, extract=Broken())), tmp_path / "out", "ray")
    assert caught.value.errno == 28
    with pytest.raises(OSError, match=r"a task died 4 times on Ray \(WorkerCrashedError\)"):
        deadly = replace(plan, maker=replace(plan.maker, extract=Deadly()))
        carry_out_at_scale(deadly, tmp_path / "out", "ray", tasks=1)
    carry_out_at_scale(plan, tmp_path / "out")
    assert contents(tmp_path / "out") == expected


@pytest.mark.slow
def test_one_command_runs_on_ray(corpus, tmp_path):
    """With a cluster of its own, which is gone afterwards, and with sources that have relative names."""
    pytest.importorskip("ray")
    (tmp_path / "code").symlink_to(corpus)
    command = [sys.executable, "-m", "coderep", "data", "pairs", "--source", "code"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for output, *rest in (("one",), ("two", "--executor", "ray", "--num-proc", "2")):
        done = subprocess.run(
            [*command, "--output", output, *rest], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert "Ray: 1 tasks on 2 CPUs" in done.stderr and (tmp_path / "two" / "README.md").is_file()
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


# mistakes


def test_mistakes_with_executors(plan, tmp_path):
    with pytest.raises(ValueError, match="unknown executor 'spark'. Executors: processes, datatrove, ray, slurm"):
        carry_out_at_scale(plan, tmp_path / "out", "spark")
    with pytest.raises(ValueError, match="tasks must be at least 1, got 0"):
        carry_out_at_scale(plan, tmp_path / "out", tasks=0)
    with pytest.raises(FileNotFoundError, match=r"holds no list of work \(work.json\). Call prepare"):
        list(make_share(plan.maker, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("executor", ["datatrove", "ray", "slurm"])
def test_missing_libraries_get_one_line(executor, plan, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("datatrove", "ray")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "data_collators.builders.datatrove_steps", raising=False)
    monkeypatch.setitem(sys.modules, "datatrove", None)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"need.*: pip install 'coderep\[scale\]'$"):
        carry_out_at_scale(plan, tmp_path / "out", executor)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_there_is_nothing_to_do(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no usable python file in"):
        prepare(plan_pairs(SourceOptions((str(tmp_path / "empty"),), ("python",))), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


# what it costs


def test_costs_are_those_on_paper(capsys):
    from benchmarks import scale_costs

    scale_costs.main(["--pairs", "2", "ruby=1", "--stage1", "1", "--price", "0.1", "--bytes-per-token", "4"])
    rows = {line.split(" | ")[0]: line for line in capsys.readouterr().out.splitlines()}
    # 2.7e9 tokens x 4 bytes = 10.8 GB: 3 core-hours at 1 MB/s; 1,049,356 pairs x 720 bytes; 2.7e9 x 1.5 bytes.
    assert rows["| ruby"] == "| ruby | 10.8 | 3.0 | 3.0 | 0.8 | 4.0 | 0.6 |"
    # 144.6e9 tokens: 578.4 GB, 160.7 core-hours at 1 MB/s; pairs: 3 for ruby and half of the other 157.7.
    assert rows["| all"].startswith("| all | 578.4 | 81.8 | 160.7 |")
    with pytest.raises(SystemExit):
        scale_costs.main(["--pairs", "cobol=1", "--stage1", "1"])
    assert "unknown language 'cobol'. Languages: python, java" in capsys.readouterr().err
