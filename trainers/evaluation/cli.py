"""`coderep eval retrieval` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_collators.files import check_output_file, new_file, write_json

from ..messages import say
from ..progress import quiet_bars
from ..records import machine, versions
from ..sentence_folder import check_model
from .checks import check_encoder
from .domain import domain_of
from .embedders import SentenceTransformerEmbedder
from .loaders import LOADERS, load_embedder
from .official import load_official, official_names
from .protocols import PROTOCOLS, choose_protocol
from .retrieval import RetrievalOutcome, evaluate_retrieval
from .scorers import BM25, Bm25Scorer, CosineScorer, Scorer
from .sets import RetrievalSet, find_sets, read_set
from .summary import retrieval_table


def main(argv: list[str]) -> int:
    """`coderep eval retrieval`."""
    args = _parser().parse_args(argv)
    if args.output:
        check_output_file(args.output)
    quiet_bars()
    protocol = choose_protocol(args.protocol, code_length=args.max_length, text_length=args.max_length, ties=args.ties)
    names = _names(args)
    sets = [data for name in args.data for data in load_sets(name, args.split, args.root)]
    _check_patterns([*args.in_domain, *args.zero_shot], sets)
    outcomes: list[tuple[str, RetrievalSet, RetrievalOutcome]] = []
    for model, name in zip(args.model, names, strict=True):
        scorer = _scorer(model, args)
        for data in sets:
            domain = domain_of(model, data.name, args.in_domain, args.zero_shot)
            outcome = evaluate_retrieval(scorer, data, protocol, model=name, domain=domain)
            outcomes.append((name, data, outcome))
            first = outcome.results[0]
            say(f"{name}, {data.name}: MRR {100 * first.value:.2f} %, {first.seconds:.0f} s")
            if args.output:  # after each set: what is done is kept if the next one fails
                save_outcomes(args.output, outcomes)
    print(retrieval_table([result for _, _, outcome in outcomes for result in outcome.results]))  # noqa: T201
    return 0


def _names(args: argparse.Namespace) -> list[str]:
    """What the models are called in the results; refuses, before any work, a model that is none."""
    names = args.name or args.model
    if len(names) != len(args.model):
        raise ValueError(f"--name needs a name for each of the {len(args.model)} models, got {len(names)}.")
    if len(set(names)) < len(names):
        raise ValueError(f"models need different names, got {', '.join(names)}. Name them with --name.")
    for model in args.model:
        if model != BM25:
            check_model(model)
    return names


def _check_patterns(patterns: Sequence[str], sets: Sequence[RetrievalSet]) -> None:
    for pattern in patterns:
        if not any(fnmatch(data.name, pattern) for data in sets):
            say(f"no set is called {pattern!r}, so nothing is marked by it")


def load_sets(name: str, split: str | None = None, root: str | None = None) -> list[RetrievalSet]:
    """The sets that a word on the command line names: a published set, a folder of a set, or a folder of such.

    Raises:
        FileNotFoundError: There is none.
        ValueError: One is torn or empty.
    """
    if name in official_names() and not Path(name).exists():
        found = [load_official(name, root=root, split=split)]
    else:
        found = [read_set(folder, split=split) for folder in find_sets(name)]
    for data in found:
        for problem, count in data.problems.items():
            say(f"{data.name}: {problem}: {count:,}")
    return found


def save_outcomes(path: str | Path, outcomes: Sequence[tuple[str, RetrievalSet, RetrievalOutcome]]) -> None:
    """Write results.json, and beside it `results.queries.parquet`: the values of each query, for comparisons."""
    path = Path(path)
    results = [asdict(result) for _, _, outcome in outcomes for result in outcome.results]
    tables = [_query_table(model, data, outcome) for model, data, outcome in outcomes]
    with new_file(path.with_suffix(".queries.parquet")) as partial:
        pq.write_table(pa.concat_tables(tables), partial, compression="zstd")
    write_json(path, {"results": results, "machine": machine(), "versions": versions()})


def _query_table(model: str, data: RetrievalSet, outcome: RetrievalOutcome) -> pa.Table:
    rows, first = len(data.query_ids), outcome.results[0]
    fixed = {"model": model, "dataset": data.name, "revision": data.revision, "protocol": first.protocol}
    columns = {name: pa.array([value] * rows).dictionary_encode() for name, value in fixed.items()}
    columns["query"] = pa.array(list(data.query_ids))
    columns["language"] = pa.array(list(data.query_languages))
    return pa.table({**columns, **{metric: pa.array(values) for metric, values in outcome.values.items()}})


def _scorer(model: str, args: argparse.Namespace) -> Scorer:
    if model == BM25:
        return Bm25Scorer()
    embedder = load_embedder(
        model,
        loader=args.loader,
        revision=args.revision,
        dtype=args.dtype,
        cache=args.cache,
        dimensions=args.dimensions,
        progress=True,
        device=args.device,
    )
    library = isinstance(embedder, SentenceTransformerEmbedder)
    for warning in check_encoder(
        model, embedder.tokenizer, "" if library else embedder.encoder.model.config.model_type
    ):
        say(f"{model}: {warning}")
    return CosineScorer(embedder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="coderep eval retrieval", description="Text-to-code and code-to-code retrieval by a named protocol."
    )
    add = parser.add_argument
    add("model", nargs="+", help="checkpoint folders, Hub repo ids, or bm25")
    add(
        "--data",
        nargs="+",
        required=True,
        metavar="SET",
        help="folders in BEIR's layout or made by `coderep data pairs`, folders of such, or published sets: "
        + ", ".join(official_names()),
    )
    add("--name", nargs="+", help="names of the models in the results (default: as they were given)")
    add("--root", help="folder with the official files of the published sets (default: from the Hub)")
    add("--split", help="split to evaluate (default: test)")
    add("--protocol", default="raw", help=f"{' or '.join(PROTOCOLS)}, see docs/EVALUATION.md (default: raw)")
    add("--max-length", type=int, help="tokens read of each text (default: as the protocol says)")
    add("--ties", choices=("worst", "order"), help="how documents that score alike rank (default: worst)")
    add("--dimensions", type=int, help="keep the first so many dimensions of embeddings")
    add("--loader", default="auto", choices=LOADERS, help="library that loads the model (default: auto)")
    add("--revision", help="commit, tag or branch of a model on the Hub")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="weights (default: float32)")
    add("--device", help="where the model runs, such as cuda:1 (default: an accelerator if there is one)")
    add("--cache", help="folder of kept embeddings (default: $CODEREP_CACHE, else ~/.cache/coderep)")
    add("--in-domain", nargs="+", default=(), metavar="SET", help="sets of whose kind the model was trained, * allowed")
    add("--zero-shot", nargs="+", default=(), metavar="SET", help="sets of which the model has seen nothing, * allowed")
    add("--output", help="results.json to write; the values of each query go beside it")
    return parser
