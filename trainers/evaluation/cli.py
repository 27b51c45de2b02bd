"""`coderep eval ...` on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict

from data_collators.builders.store import load_split, load_stats
from data_collators.files import check_output_file, write_json

from ..encode import load_encoder
from ..progress import quiet_bars
from ..records import EvalResult
from .retrieval import bm25_scores, cosine_scores, evaluate_retrieval


def table(results: Sequence[EvalResult]) -> str:
    """Results as aligned lines, one a model, metrics as columns in percent."""
    metrics = list(dict.fromkeys(result.metric for result in results))
    models = list(dict.fromkeys(result.model for result in results))
    width = max(map(len, [*models, "model"]))
    values = {(result.model, result.metric): f"{100 * result.value:10.1f}" for result in results}
    lines = [f"{'model':<{width}}" + "".join(f"{metric:>10}" for metric in metrics)]
    lines += [f"{model:<{width}}" + "".join(values[model, metric] for metric in metrics) for model in models]
    return "\n".join(lines)


def retrieval(argv: list[str]) -> int:
    """`coderep eval retrieval`."""
    parser = argparse.ArgumentParser(
        prog="coderep eval retrieval", description="Text-to-code retrieval on the held-out pairs of a data set."
    )
    parser.add_argument("model", nargs="+", help="checkpoint folders, Hub repo ids, or bm25")
    parser.add_argument("--data", required=True, help="folder made by `coderep data pairs`")
    parser.add_argument("--split", default="test", help="split to evaluate (default: test)")
    parser.add_argument("--max-length", type=int, help="tokens read of each text (default: the model's limit)")
    parser.add_argument("--output", help="results.json to write")
    args = parser.parse_args(argv)
    if args.output:
        check_output_file(args.output)
    quiet_bars()
    rows = load_split(args.data, args.split)
    stats = load_stats(args.data)
    results = []
    for model in args.model:
        if model == "bm25":
            scorer = bm25_scores
        else:
            encoder = load_encoder(model)
            scorer = cosine_scores(lambda texts, e=encoder: e.encode(texts, max_length=args.max_length, progress=True))
        results += evaluate_retrieval(
            scorer,
            rows["text"][:],
            rows["code"][:],
            model=model,
            dataset=", ".join(stats["sources"]),
            revision=stats["fingerprint"],
        )
    print(table(results))  # noqa: T201
    if args.output:
        write_json(args.output, {"results": [asdict(result) for result in results]})
    return 0
