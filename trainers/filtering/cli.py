"""What the commands of this package share: flags of the model, of the pool and of the work."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..evaluation.checks import check_encoder
from ..evaluation.embedders import Embedder, SentenceTransformerEmbedder
from ..evaluation.loaders import LOADERS, load_embedder
from ..messages import say
from ..progress import quiet_bars
from ..user_data import parse_columns
from .options import PoolOptions


def parser_of(verb: str, description: str, output: str) -> argparse.ArgumentParser:
    """A parser with the shared flags."""
    parser = argparse.ArgumentParser(prog=f"coderep data {verb}", description=description)
    add = parser.add_argument
    add("model", help="checkpoint folder or Hub repo id of the encoder that compares")
    add(
        "--data",
        required=True,
        metavar="PAIRS",
        help="folder that `coderep data pairs` wrote; or a JSONL, CSV or Parquet file, a folder of such, or the id of "
        "a data set on the Hub, with a text and a code in each row",
    )
    add("--output", required=True, metavar=output, help="folder to write: a data set of pairs")
    add("--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="where rows hold text, code, language, ...")
    add("--overwrite", action="store_true", help="replace an earlier result in the same folder")
    group = parser.add_argument_group("what texts are compared with")
    add = group.add_argument
    add(
        "--pool",
        type=int,
        default=PoolOptions.pool,
        help="codes drawn from the training pairs (default: %(default)s). Their embeddings stay in memory: 100,000 of "
        "768 dimensions take 307 MB",
    )
    add("--pool-dtype", default="float32", metavar="DTYPE", help="float16 halves that memory (default: %(default)s)")
    add(
        "--same-language",
        action="store_true",
        help="compare with codes of the pair's language alone; each language gets an equal share of the pool",
    )
    add("--seed", type=int, default=PoolOptions.seed, help="another seed draws others (default: %(default)s)")
    add(
        "--splits",
        nargs="+",
        default=list(PoolOptions.splits),
        metavar="SPLIT",
        help="splits to work on; others pass through as they are (default: train)",
    )
    _add_model(parser)
    group = parser.add_argument_group("several machines, which must see the folder of the output")
    group.add_argument(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="do the I-th of N parts of the work; when all are done, the command without this puts them together",
    )
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    add = group.add_argument
    add("--max-text-length", type=int, default=PoolOptions.max_text_length, help="tokens read (default: %(default)s)")
    add("--max-code-length", type=int, default=PoolOptions.max_code_length, help="tokens read (default: %(default)s)")
    add("--loader", default="auto", choices=LOADERS, help="library that loads the model (default: auto)")
    add("--revision", help="commit, tag or branch of a model on the Hub")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="weights (default: float32)")
    add("--dimensions", type=int, help="keep the first so many dimensions of embeddings")
    add("--device", help="where the model runs, such as cuda:1 (default: an accelerator if there is one)")


def pool_options(args: argparse.Namespace) -> PoolOptions:
    """The options that the shared flags give.

    Raises:
        ValueError: One is out of range.
    """
    place, sign, machines = args.shard.partition("/")
    if not (sign and place.isdigit() and machines.isdigit()):
        raise ValueError(f"--shard takes I/N, such as 1/4 for the first of four machines; got {args.shard!r}.")
    return PoolOptions(
        pool=args.pool,
        seed=args.seed,
        same_language=args.same_language,
        max_text_length=args.max_text_length,
        max_code_length=args.max_code_length,
        pool_dtype=args.pool_dtype,
        splits=tuple(args.splits),
        columns=tuple(parse_columns(" ".join(args.columns)).items()),
        shard=(int(place), int(machines)),
        overwrite=args.overwrite,
    )


def load(args: argparse.Namespace) -> Embedder:
    """The model that the flags name, on its device.

    Raises:
        FileNotFoundError: It is no checkpoint.
    """
    quiet_bars()
    embedder = load_embedder(
        args.model,
        loader=args.loader,
        revision=args.revision,
        dtype=args.dtype,
        dimensions=args.dimensions,
        device=args.device,
    )
    library = isinstance(embedder, SentenceTransformerEmbedder)
    kind = "" if library else embedder.encoder.model.config.model_type
    for warning in check_encoder(args.model, embedder.tokenizer, kind):
        say(f"{args.model}: {warning}")
    return embedder


def report(figures: dict[str, Any], lines: dict[str, str]) -> None:
    """Print a line for each language, and where the time went."""
    for language, line in lines.items():
        print(f"{language:<12} {line}")  # noqa: T201
    seconds = figures["seconds"]
    whole = sum(seconds.values())
    share = 100 * seconds["elsewhere"] / whole if whole else 0.0
    print(f"{whole:,.0f} s, {share:.1f} % of it outside the encoder", file=sys.stdout)  # noqa: T201
