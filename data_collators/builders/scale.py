"""The same data set from this machine, from Ray and from Slurm.

An executor only decides which process makes which parts: task `rank` of `tasks` makes every chunk whose number is
`rank` modulo `tasks`. So the shards are the same bytes whatever the executor, and what one executor left undone another
may finish.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .build import Plan
from .parts import PartMaker
from .progress import Progress
from .work import carry_out, make_share, merge, parts_folder, prepare, read_head

EXECUTORS = ("processes", "datatrove", "ray", "slurm")
_TASKS_PER_WORKER, _SLURM_TASKS, _RETRIES = 16, 100, 3


@dataclass(frozen=True)
class SlurmOptions:
    """What Slurm is asked for. Each task has one CPU.

    Args:
        partition: Partition to submit to; `sinfo` lists them.
        time: Limit of a task, and of the merge.
        mem_gb: Memory of a task, in GB.
        merge_mem_gb: Memory of the merge, in GB.
        qos: Quality of service; "": the cluster's default.
        env_command: Shell command that a job begins with; "": put the folder of this Python first on the PATH.
        sbatch: Further options of sbatch, such as "account=me".

    Raises:
        ValueError: A further option is not KEY=VALUE.
    """

    partition: str = ""
    time: str = "24:00:00"
    mem_gb: int = 4
    merge_mem_gb: int = 16
    qos: str = ""
    env_command: str = ""
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in self.sbatch:
            if not option.partition("=")[0] or "=" not in option:
                raise ValueError(f"options of sbatch look like account=me, got {option!r}.")


def carry_out_at_scale(
    plan: Plan,
    output: str | Path,
    executor: str = "processes",
    *,
    tasks: int | None = None,
    workers: int | None = None,
    slurm: SlurmOptions | None = None,
) -> dict[str, Any] | None:
    """Build a planned data set into `output` on this machine, on Ray or on Slurm; the shards are the same.

    On several machines, sources and output must lie on a file system that all of them see.

    Args:
        plan: What to build; see `plan_pairs` and `plan_stage1`.
        output: Folder to write.
        executor: "processes" or "datatrove" on this machine; "ray": the cluster that the environment variable
            RAY_ADDRESS names, or one on this machine for the time being; "slurm": jobs, submitted from here.
        tasks: Into how many tasks the work is cut, not for "processes"; default: 16 a worker, 100 on Slurm.
        workers: Tasks at a time; default: the plan's `num_proc` on this machine, no limit on clusters.
        slurm: What Slurm is asked for.

    Returns:
        What stats.json holds; None on Slurm, where the data set appears when the jobs are done.

    Raises:
        ValueError: An option is wrong, no file can be used, or no row passes the filters.
        FileExistsError: `output` exists and may not be replaced.
        FileNotFoundError: Slurm is not here.
        ImportError: A library is missing.
        OSError: A task died; the same call goes on where this one stopped.
    """
    for name, value in (("tasks", tasks), ("workers", workers)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if executor == "processes":
        return carry_out(replace(plan, build=replace(plan.build, num_proc=workers or plan.build.num_proc)), output)
    if executor == "datatrove":
        return _with_datatrove(plan, output, tasks, workers or plan.build.num_proc)
    if executor == "ray":
        return _with_ray(plan, output, tasks, workers)
    if executor == "slurm":
        return _with_slurm(plan, Path(output).resolve(), tasks or _SLURM_TASKS, workers, slurm or SlurmOptions())
    raise ValueError(f"unknown executor {executor!r}. Executors: {', '.join(EXECUTORS)}.")


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)  # noqa: T201 - people watch this


def _number_of_tasks(parts: Path, tasks: int) -> int:
    """No more tasks than parts."""
    return min(tasks, read_head(parts)["parts"])


def _with_datatrove(plan: Plan, output: str | Path, tasks: int | None, workers: int) -> dict[str, Any]:
    from .datatrove_steps import LocalPipelineExecutor, MakeParts

    parts = prepare(plan, output)
    with parts_folder(plan, output):
        LocalPipelineExecutor(
            [MakeParts(plan, output)],
            tasks=_number_of_tasks(parts, tasks or _TASKS_PER_WORKER * workers),
            workers=workers,
            logging_dir=str(parts / "logs"),
            skip_completed=False,  # parts know better whether they are there
        ).run()
        return merge(plan, parts, output)


# Ray


def _with_ray(plan: Plan, output: str | Path, tasks: int | None, workers: int | None) -> dict[str, Any]:
    try:
        import ray
    except ImportError as error:
        raise ImportError("executor 'ray' needs Ray: pip install 'coderep[scale]'") from error
    parts = prepare(plan, output)
    with parts_folder(plan, output):
        ours = not ray.is_initialized()
        if ours:
            _start_ray(ray, workers or plan.build.num_proc)
        try:
            cpus = int(ray.cluster_resources().get("CPU", 1))
            tasks = _number_of_tasks(parts, tasks or _TASKS_PER_WORKER * min(cpus, workers or cpus))
            _say(f"Ray: {tasks} tasks on {cpus} CPUs of {len(ray.nodes())} node(s)")
            with Progress(plan.kind, read_head(parts)["bytes"]) as progress:
                _run_tasks(ray, plan.maker, parts, tasks, workers or tasks, progress)
        finally:
            if ours:
                ray.shutdown()
        return merge(plan, parts, output)


def _start_ray(ray: Any, cpus: int) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:  # "local": not a cluster that happens to run here; rows go through files, not through Ray's memory
        ray.init("local", num_cpus=cpus, include_dashboard=False, object_store_memory=100 * 2**20, **quiet)


def _run_tasks(ray: Any, maker: PartMaker, parts: Path, tasks: int, at_once: int, progress: Progress) -> None:
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_ray_task)
    shared, folder = ray.put(maker), os.getcwd()
    left, waiting, files = iter(range(tasks)), [], 0
    try:
        while True:
            while len(waiting) < at_once and (rank := next(left, None)) is not None:
                waiting.append(task.remote(shared, folder, parts, rank, tasks))
            if not waiting:
                return
            done, waiting = ray.wait(waiting)
            for made_files, made_bytes in ray.get(done):
                files += made_files
                progress.advance(made_bytes, files)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise OSError(
            f"a task died {_RETRIES + 1} times on Ray ({type(error).__name__}), perhaps for want of memory. The same "
            "command goes on where this one stopped."
        ) from error
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)


def _ray_task(maker: PartMaker, folder: str, parts: Path, rank: int, tasks: int) -> tuple[int, int]:
    """One task; returns how many files and bytes its parts hold."""
    os.chdir(folder)  # sources may have relative names
    made = [
        (summary["files"], chunk.size or summary["bytes"]) for chunk, summary in make_share(maker, parts, rank, tasks)
    ]
    return sum(files for files, _ in made), sum(size for _, size in made)


# Slurm


def _with_slurm(plan: Plan, output: Path, tasks: int, workers: int | None, options: SlurmOptions) -> None:
    from .datatrove_steps import MakeParts, MergeParts, SlurmPipelineExecutor

    logs = output.with_name(f"{output.name}.slurm")
    _check_slurm(logs, options)
    parts = prepare(plan, output)
    tasks = _number_of_tasks(parts, tasks)
    common = {
        "time": options.time,
        "partition": options.partition,
        "qos": options.qos or None,
        "env_command": options.env_command or f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH",
        "sbatch_args": {"chdir": os.getcwd(), **dict(option.split("=", 1) for option in options.sbatch)},
        "skip_completed": False,  # parts know better whether they are there
    }
    make = SlurmPipelineExecutor(
        [MakeParts(plan, output)],
        tasks=tasks,
        workers=workers or -1,
        mem_per_cpu_gb=options.mem_gb,
        job_name=f"coderep-{plan.kind}",
        logging_dir=str(logs / "parts"),
        **common,
    )
    together = SlurmPipelineExecutor(
        [MergeParts(plan, output)],
        tasks=1,
        mem_per_cpu_gb=options.merge_mem_gb,
        job_name=f"coderep-{plan.kind}-merge",
        logging_dir=str(logs / "merge"),
        depends=make,
        **common,
    )
    try:
        together.launch_job()
    except subprocess.CalledProcessError as error:
        raise OSError(
            f"sbatch refused the job (exit code {error.returncode}); its own message stands above."
        ) from error
    _say(f"submitted: job {make.job_id}, {tasks} tasks for {read_head(parts)['parts']} parts")
    _say(f"submitted: job {together.job_id}, which then puts them together into {output}")
    _say(f"logs: {logs}; if a task fails, the same command goes on from the parts that are there")


def _check_slurm(logs: Path, options: SlurmOptions) -> None:
    if not options.partition:
        raise ValueError("executor 'slurm' needs a partition (--slurm-partition); `sinfo` lists them.")
    if shutil.which("sbatch") is None:
        raise FileNotFoundError(
            "executor 'slurm' needs `sbatch`, which is not on the PATH. Run this on a login node of a cluster, or "
            "choose another --executor."
        )
    if len(str(logs).split()) > 1:
        raise ValueError(f"job scripts cannot name {str(logs)!r}, which holds blanks. Name another output.")
