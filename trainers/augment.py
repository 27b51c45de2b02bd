"""More kinds of pairs: searches for summaries, functions under other names, functions that are described alike.

A step between `coderep data pairs` and training. A model of summaries and functions alone answers searches worse than
before (the register is another), and is never told that two functions do the same.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_collators.builders.store import STATS
from data_collators.files import check_output_folder, claim_folder
from data_collators.rows import TEXT_KIND

from .augmenting.across import find_twins
from .augmenting.options import KINDS, AugmentOptions
from .augmenting.rows import row_maker
from .augmenting.selection import select
from .augmenting.write import STEP, write
from .evaluation.embedders import Embedder
from .evaluation.loaders import LOADERS, load_embedder
from .filtering.rows import identity, rows_to_pairs
from .filtering.source import TRAIN, PairSource
from .progress import quiet_bars
from .user_data import parse_columns

_CLAIM, _ROWS, _PIECE_ROWS, _FORMAT = "work.json", "rows", 4096, 1
_SHARE = 0.1


def augment_pairs(
    data: str | Path,
    output: str | Path,
    options: AugmentOptions,
    embedder: Embedder | None = None,
    *,
    columns: dict[str, str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a data set of pairs with more kinds of texts, which the column `text_kind` names.

    The same call gives the same rows, whatever the machine, but for those of the model. What costs time, its
    embeddings, waits beside the output when the call is stopped, and is taken up again.

    Args:
        data: Data set of pairs, or users' own rows of texts and codes (see `user_data.read_table`).
        output: Folder to write.
        options: What is made.
        embedder: The model that compares summaries; needed for `across_share`.
        columns: Where files of rows hold `text`, `code`, `language` and so on.
        overwrite: Whether to replace an earlier result.

    Returns:
        What stats.json holds, with counts under "augment".

    Raises:
        FileExistsError: The output may not be replaced, or other work waits beside it.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs, or augmented ones; or there is a model without a share, or the reverse.
    """
    output = check(data, output, columns, overwrite)
    if (embedder is None) == bool(options.across_share):
        raise ValueError("across_share and a model come together: give --across-model, or leave --across-share out.")
    folder = output.parent / f".{output.name}.parts"
    claim_folder(folder, _CLAIM, {"step": STEP, "format": _FORMAT, "data": identity(data), "columns": columns or {}})
    try:
        stats = _augment(data, output, folder, options, embedder, columns or {}, overwrite)
    except BaseException:
        if not any(folder.rglob("*.safetensors")):  # nothing that another run could use
            shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return stats


def check(data: str | Path, output: str | Path, columns: dict[str, str] | None, overwrite: bool) -> Path:
    """Refuse, before any work, data and outputs that cannot be worked on; returns the absolute name of the output.

    Raises:
        FileExistsError: The output may not be replaced.
        FileNotFoundError: The data do not exist.
        ValueError: The data hold no pairs.
    """
    identity(data)
    if Path(data, STATS).is_file() and columns:
        raise ValueError(f"{str(data)!r} is made by `coderep data ...` and has its own names. Leave --columns out.")
    return check_output_folder(output, STATS, overwrite)


def _augment(
    data: str | Path,
    output: Path,
    folder: Path,
    options: AugmentOptions,
    embedder: Embedder | None,
    columns: dict[str, str],
    overwrite: bool,
) -> dict[str, Any]:
    laps = [time.perf_counter()]
    if not Path(data, STATS).is_file():
        rows_to_pairs(data, folder / _ROWS, columns)
        data = folder / _ROWS
    source = PairSource(Path(data), (TRAIN,), _PIECE_ROWS)
    if TEXT_KIND in source.schema.names:
        raise ValueError(f"{str(data)!r} is augmented already (column {TEXT_KIND!r}). Name the pairs that it is from.")
    selection = select(source, options)
    laps.append(time.perf_counter())
    record: dict[str, Any] = {}
    twins = None
    if embedder is not None:
        twins = find_twins(replace(embedder, cache=folder), source, selection, options)
        record = {"model": Path(embedder.name).name, "model_fingerprint": embedder.fingerprint}
    laps.append(time.perf_counter())
    maker = row_maker(source, options, selection, twins)
    record["seconds"] = dict(zip(("selection", "across"), _differences(laps), strict=True))
    return write(source, maker, output, record, overwrite)


def _differences(times: list[float]) -> list[float]:
    return [round(after - before, 1) for before, after in zip(times, times[1:], strict=False)]


def run(argv: list[str]) -> Path:
    """`coderep data augment`; the folder that it wrote."""
    args = _parser().parse_args(argv)
    given = {name: getattr(args, name) for name in AugmentOptions.__dataclass_fields__}
    share = given["across_share"]
    share = (0.0 if args.across_model is None else _SHARE) if share is None else share
    options = AugmentOptions(**{**given, "across_share": share})
    if options.across_share and args.across_model is None:
        raise ValueError("--across-share needs --across-model, the encoder that compares summaries.")
    if args.across_model is not None and not options.across_share:
        raise ValueError("--across-share 0 leaves --across-model nothing to do. Leave the model out.")
    columns = parse_columns(" ".join(args.columns))
    check(args.data, args.output, columns, args.overwrite)  # before the model is read, which can take a while
    stats = augment_pairs(args.data, args.output, options, _load(args), columns=columns, overwrite=args.overwrite)
    _report(stats[STEP])
    print(args.output)  # noqa: T201
    return Path(args.output)


def _load(args: argparse.Namespace) -> Embedder | None:
    if args.across_model is None:
        return None
    quiet_bars()
    return load_embedder(args.across_model, loader=args.loader, dtype=args.dtype, progress=True, device=args.device)


def _report(figures: dict[str, Any]) -> None:
    rows = {**figures["per_language"], "all": figures["rows"]}
    print(f"{'':<12}" + "".join(f"{kind:>10}" for kind in KINDS))  # noqa: T201
    for language, counts in rows.items():
        print(f"{language:<12}" + "".join(f"{counts[kind]:>10,}" for kind in KINDS))  # noqa: T201
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in figures["dropped"].items())
    print(f"dropped: {dropped or 'nothing'}")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="coderep data augment", description="Add more kinds of texts to pairs.")
    add = parser.add_argument
    add(
        "data",
        metavar="PAIRS",
        help="folder that `coderep data pairs` wrote; or a JSONL, CSV or Parquet file, a folder of such, or the id of "
        "a data set on the Hub, with a text and a code in each row",
    )
    add("--output", required=True, help="folder to write: a data set of pairs")
    add("--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="where rows hold text, code, language, ...")
    add("--overwrite", action="store_true", help="replace an earlier result in the same folder")
    add("--seed", type=int, default=AugmentOptions.seed, help="another seed draws others (default: %(default)s)")
    add = parser.add_argument_group("other texts").add_argument
    add("--query-share", type=float, default=0.0, metavar="SHARE", help="texts that are rewritten as searches")
    default = AugmentOptions.query_language_share
    help_language = "searches that may name their language, of which about 60 %% do (default: %(default)s)"
    add("--query-language-share", type=float, default=default, metavar="SHARE", help=help_language)
    add = parser.add_argument_group("more pairs").add_argument
    add("--renamed-share", type=float, default=0.0, metavar="SHARE", help="functions under other names, and themselves")
    add("--across-model", metavar="MODEL", help="encoder that finds functions which are described alike")
    add("--across-share", type=float, metavar="SHARE", help=f"such pairs at most (default: {_SHARE})")
    add(
        "--across-min",
        type=float,
        default=AugmentOptions.across_min,
        metavar="COSINE",
        help="least likeness of their summaries (default: %(default)s)",
    )
    for name, text in (("min-words", "shortest"), ("max-words", "longest")):
        default = getattr(AugmentOptions, f"across_{name.replace('-', '_')}")
        add(f"--across-{name}", type=int, default=default, metavar="N", help=f"{text} summary (default: {default})")
    default = AugmentOptions.across_pool
    add(
        "--across-pool",
        type=int,
        default=default,
        metavar="N",
        help=f"summaries that are compared (default: {default:,})",
    )
    add(
        "--max-text-length", type=int, default=AugmentOptions.max_text_length, help="tokens read (default: %(default)s)"
    )
    add("--loader", default="transformers", choices=LOADERS, help="library that loads it (default: %(default)s)")
    add("--dtype", default="float32", choices=("float32", "bfloat16", "float16"), help="weights (default: float32)")
    add("--device", help="where it runs, such as cuda:1 (default: an accelerator if there is one)")
    add = parser.add_argument_group("pairs that stay").add_argument
    add("--max-repeats", type=int, metavar="N", help="most pairs with the same text")
    add("--language-share-max", type=float, metavar="SHARE", help="largest share of a language")
    return parser
