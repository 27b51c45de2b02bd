"""`coderep demo`: the whole road on real code that every machine has, this interpreter's standard library.

From source files to stage-1 rows, pairs, a tokenizer, stage 1, stage 2, evaluation on unseen modules, a checkpoint laid
out as a Hub repo with its card, a reload without our packages, and two searches. Each step leaves its result under the
output folder, whole or not at all; run again, finished steps are reused, and training goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import shlex
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_collators.files import claim_folder, write_json

from .export import export_checkpoint
from .render import read_record, render_card

RECIPE, RESULTS, RUN, PLOT, LOG = "recipe.json", "results.json", "run.json", "retrieval.png", "demo.log"
NAME, DATASET = "coderep-demo", "Python standard library"
BM25, UNTRAINED, STAGE1, STAGE2 = "BM25", "untrained encoder", "after stage 1", "after stage 2"
# Section of the recipe -> its keys and their types; the training sections take what their commands take.
SECTIONS: dict[str, dict[str, tuple[type, ...]]] = {
    "data": {"test_share": (float, int)},
    "tokenizer": {"vocab_size": (int,), "model_max_length": (int,)},
    "mlm": {},
    "contrastive": {},
    "evaluation": {"max_length": (int,)},
    "search": {"max_length": (int,), "top_k": (int,), "queries": (list,)},
}


def run_demo(
    output: str | Path = "demo", *, recipe: str | Path | None = None, source: str | Path | None = None
) -> dict[str, Any]:
    """Run the demo, or what is left of it; returns what results.json holds.

    Args:
        output: Folder for everything the demo makes.
        recipe: YAML recipe; default: the package's `recipes/demo.yaml`.
        source: Folder of Python code; default: the standard library of this interpreter.

    Raises:
        FileExistsError: `output` holds something else, or a demo with another recipe or source.
        FileNotFoundError: `source` does not exist.
        ValueError: The recipe has unknown keys, or the source has too little code.
        RuntimeError: The exported checkpoint does not load, or not to the same embeddings.
    """
    import trainers
    from trainers.command_line import read_recipe

    _check_extras()
    steps = read_recipe(recipe or Path(trainers.__file__).parent / "recipes" / "demo.yaml")
    _check(steps)
    source = str(source or sysconfig.get_path("stdlib"))
    if not Path(source).is_dir():
        raise FileNotFoundError(f"source {source!r} is not a folder. Name a folder of Python code with --source.")
    output = Path(output)
    claim_folder(output, RECIPE, {"recipe": steps, "source": source})
    with _log_to(output / LOG):
        return _Demo(output, steps, source).run()


def _check(recipe: dict[str, Any]) -> None:
    """Refuse a recipe that would fail later.

    Raises:
        ValueError: A section or key is unknown or missing, or a value has the wrong type.
    """
    from trainers import ContrastiveArguments, MlmArguments
    from trainers.command_line import build_arguments, check_keys

    check_keys(recipe, list(SECTIONS), "the demo's recipe")
    for section, known in SECTIONS.items():
        values = recipe.get(section)
        if not isinstance(values, dict):
            raise ValueError(f"section {section!r} of the demo's recipe must hold keys and values, got {values!r}.")
        if known:
            where = f"section {section!r} of the demo's recipe"
            check_keys(values, list(known), where)
            for key, kinds in known.items():
                if not isinstance(values.get(key), kinds) or isinstance(values[key], bool):
                    raise ValueError(f"{key} in {where} must be {kinds[0].__name__}, got {values.get(key)!r}.")
    for section, arguments in (("mlm", MlmArguments), ("contrastive", ContrastiveArguments)):
        build_arguments(arguments, recipe[section], f"section {section!r} of the demo's recipe")
    if "max_length" not in recipe["mlm"]:
        raise ValueError("section 'mlm' of the demo's recipe lacks max_length.")


def _check_extras() -> None:
    """Ask for what the last steps need before the first one begins.

    Raises:
        ImportError: bm25s or matplotlib is not installed.
    """
    missing = [name for name in ("bm25s", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(f"the demo needs {' and '.join(missing)}: pip install 'coderep[eval]'")


class _LogFile(logging.FileHandler):
    """A log file whose failure to write is an error, not a note."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, D102 - logging's name
        raise


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Everything said goes to a log file too."""
    from trainers.messages import LOGGER, say

    say(f"coderep demo: everything goes to {path.parent}")
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        handler.close()


class _Demo:
    """The steps of the demo over one output folder."""

    def __init__(self, output: Path, recipe: dict[str, Any], source: str) -> None:
        from data_collators.builders import SourceOptions
        from trainers.messages import say
        from trainers.progress import quiet_bars

        quiet_bars()
        self.output, self.recipe, self._say = output, recipe, say
        self.sources = SourceOptions(source=(source,), languages=("python",), test_share=recipe["data"]["test_share"])
        self.tokenizer = output / "tokenizer"
        self.stage1, self.pairs = output / "data" / "stage1", output / "data" / "pairs"
        self.mlm, self.contrastive = output / "mlm", output / "contrastive"
        self.checkpoint = output / "checkpoint"

    def run(self) -> dict[str, Any]:
        """Every step that is not finished, in order."""
        steps: list[tuple[str, Path, Callable[[], None]]] = [
            ("train the tokenizer", self.tokenizer, self._tokenizer),
            ("build stage-1 rows", self.stage1, self._stage1),
            ("build text-code pairs", self.pairs, self._pairs),
            ("stage 1: masked language modelling and deobfuscation", self.mlm / RUN, self._mlm),
            ("stage 2: bimodal contrastive learning", self.contrastive / RUN, self._contrastive),
            ("evaluate on unseen modules", self.output / RESULTS, self._evaluate),
            ("write the run record", self.output / RUN, self._record),
            ("plot", self.output / PLOT, self._plot),
            ("export the checkpoint and its card", self.checkpoint, self._export),
        ]
        for number, (title, result, step) in enumerate(steps, start=1):
            head = f"[{number}/{len(steps) + 2}] {title}"
            if result.exists():
                self._say(f"{head}: done before")
                continue
            self._say(head)
            started = time.monotonic()
            step()
            self._say(f"      {time.monotonic() - started:.0f} s")
        self._say(f"[{len(steps) + 1}/{len(steps) + 2}] reload the checkpoint in a process without coderep")
        self._reload()
        self._show()
        self._say(f"[{len(steps) + 2}/{len(steps) + 2}] search {Path(self.sources.source[0]).name}")
        self._search()
        return read_record(self.output / RESULTS)

    def _tokenizer(self) -> None:
        from data_collators.builders import build_tokenizer

        build_tokenizer(self.sources, self.tokenizer, **self.recipe["tokenizer"])

    def _stage1(self) -> None:
        from transformers import AutoTokenizer

        from data_collators.builders import build_stage1

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer)
        stats = build_stage1(self.sources, tokenizer, self.stage1, max_length=self.recipe["mlm"]["max_length"])
        self._say_split(stats, "documents")

    def _pairs(self) -> None:
        from data_collators.builders import build_pairs

        stats = build_pairs(self.sources, self.pairs)
        self._say_split(stats, "pairs")
        if not stats["splits"]["test"].get("rows"):
            raise ValueError("no pair in the modules held out for evaluation. Give more code or raise data.test_share.")
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in stats["dropped"].items())
        self._say(f"      left out: {dropped}")

    def _say_split(self, stats: dict[str, Any], what: str) -> None:
        train, test = (stats["splits"][split].get("rows", 0) for split in ("train", "test"))
        self._say(f"      {stats['files']['kept']:,} files: {train:,} {what} to train on, {test:,} in unseen modules")

    def _mlm(self) -> None:
        from trainers import MlmArguments, train_mlm
        from trainers.command_line import build_arguments

        folders = {"data": str(self.stage1), "tokenizer": str(self.tokenizer), "output_dir": str(self.mlm)}
        train_mlm(build_arguments(MlmArguments, {**self.recipe["mlm"], **folders}, "the demo's recipe"))

    def _contrastive(self) -> None:
        from trainers import ContrastiveArguments, train_contrastive
        from trainers.command_line import build_arguments

        folders = {"data": str(self.pairs), "model": str(self.mlm / "model"), "output_dir": str(self.contrastive)}
        train_contrastive(
            build_arguments(ContrastiveArguments, {**self.recipe["contrastive"], **folders}, "the demo's recipe")
        )

    def _evaluate(self) -> None:
        from trainers.evaluation import Bm25Scorer, CosineScorer, choose_protocol, evaluate_retrieval
        from trainers.evaluation.domain import IN_DOMAIN, ZERO_SHOT
        from trainers.evaluation.embedders import EncoderEmbedder
        from trainers.evaluation.sets import read_pairs

        data, length = read_pairs(self.pairs, name=DATASET), self.recipe["evaluation"]["max_length"]
        protocol = choose_protocol("raw", code_length=length, text_length=length)
        scorers: dict[str, Any] = {BM25: Bm25Scorer()}
        for name, encoder in self._encoders():
            scorers[name] = CosineScorer(EncoderEmbedder(name=name, limit=encoder.max_length, encoder=encoder))
        results = []
        for name, scorer in scorers.items():
            domain = ZERO_SHOT if name in (BM25, UNTRAINED) else IN_DOMAIN
            found = evaluate_retrieval(scorer, data, protocol, model=name, domain=domain).results
            self._say(f"      {name}: MRR {100 * found[0].value:.1f} % in {found[0].seconds:.0f} s")
            results += [{**asdict(result), "shipped": name == STAGE2} for result in found]
        write_json(self.output / RESULTS, {"results": results})

    def _encoders(self) -> Iterator[tuple[str, Any]]:
        from transformers import AutoModel, set_seed

        from trainers.encode import Encoder, load_encoder

        trained = load_encoder(self.mlm / "model")
        set_seed(self.recipe["mlm"].get("seed", 42))
        untrained = AutoModel.from_config(trained.model.config).eval()
        yield UNTRAINED, Encoder(untrained, trained.tokenizer, trained.max_length)
        yield STAGE1, trained
        yield STAGE2, load_encoder(self.contrastive / "model")

    def _record(self) -> None:
        stages = []
        for name, folder in (("stage 1", self.mlm), ("stage 2", self.contrastive)):
            stages.append({"name": name, **read_record(folder / RUN)})
        write_json(self.output / RUN, {"name": NAME, "stages": stages})

    def _plot(self) -> None:
        from trainers.plots import plot_retrieval

        plot_retrieval(self._results(), self.output / PLOT, shipped=STAGE2, baselines=[BM25, UNTRAINED])

    def _results(self) -> list[Any]:
        """The rows of results.json as `EvalResult`."""
        from trainers.records import EvalResult

        rows = read_record(self.output / RESULTS)["results"]
        return [EvalResult(**{key: row[key] for key in row if key != "shipped"}) for row in rows]

    def _export(self) -> None:
        export_checkpoint(self.contrastive / "model", self.checkpoint, card=render_card(self.output))

    def _reload(self) -> None:
        import numpy as np

        from modeling_coderep import CodeRepModel

        from .verify import encode_elsewhere

        texts = ["read a file line by line", "def area(r):\n    return 3.14159 * r**2\n", ""]
        here = CodeRepModel.from_pretrained(self.checkpoint).eval().encode(texts)
        elsewhere = encode_elsewhere(self.checkpoint, texts)
        if not np.array_equal(here, elsewhere):
            difference = float(np.abs(here - elsewhere).max())
            raise RuntimeError(f"the reloaded checkpoint gives other embeddings: largest difference {difference}.")
        self._say("      the embeddings are equal, bit for bit")

    def _show(self) -> None:
        from trainers.evaluation.summary import retrieval_table

        rows = self._results()
        mrr = {row.model: row.value for row in rows if row.metric == "mrr"}
        self._say(f"\nText-to-code retrieval, {rows[0].n:,} functions of modules not seen in training (percent)")
        self._say(retrieval_table(rows))
        gap = 100 * (mrr[BM25] - mrr[STAGE2])
        verdict = (
            f"BM25 is better than stage 2 by {gap:.1f} points"
            if gap > 0
            else f"stage 2 beats BM25 by {-gap:.1f} points"
        )
        self._say(f"{verdict} of MRR on this data.\n")

    def _search(self) -> None:
        from trainers.search import CodeIndex

        settings = self.recipe["search"]
        root = Path(self.sources.source[0])
        started = time.monotonic()
        index = CodeIndex.build(
            self.checkpoint,
            root,
            max_length=settings["max_length"],
            progress=sys.stderr.isatty(),
            cache_dir=self.output / "index",
        )
        self._say(f"      {len(index):,} functions indexed in {time.monotonic() - started:.0f} s")
        for query in settings["queries"]:
            options = f"--max-length {settings['max_length']} --top-k {settings['top_k']}"
            words = shlex.join(["coderep", "search", str(self.checkpoint), str(root), query])
            self._say(f"\n$ {words} {options}")
            for hit in index.search(query, settings["top_k"]):
                self._say(str(hit))


def main(argv: list[str]) -> int:
    """`coderep demo`."""
    parser = argparse.ArgumentParser(prog="coderep demo", description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="demo", help="folder for everything it makes (default: demo)")
    parser.add_argument("--recipe", help="YAML recipe (default: the package's recipes/demo.yaml)")
    parser.add_argument("--source", help="folder of Python code (default: this interpreter's standard library)")
    args = parser.parse_args(argv)
    started = time.monotonic()
    run_demo(args.output, recipe=args.recipe, source=args.source)

    from trainers.messages import say

    out = Path(args.output)
    say(f"\nDone in {time.monotonic() - started:.0f} s. Look at {out / PLOT} and {out / 'checkpoint' / 'README.md'}.")
    return 0
