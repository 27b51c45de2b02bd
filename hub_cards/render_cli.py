"""`coderep card render`: the card of a run, of a data set, or of several data sets that share a repo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from data_collators.files import check_output_file, new_file

from .data import Folders, render_dataset_card, write_pictures
from .dataset_info import STATS, read_folders
from .footprint import Power
from .lineage import RUN
from .metadata import LICENSE, UNKNOWN
from .render import CardOptions, render_card


def is_data(folder: str | Path) -> bool:
    """Whether a folder holds a data set; a run that has both records is a run."""
    return (Path(folder) / STATS).is_file() and not (Path(folder) / RUN).is_file()


def add_card_options(parser: argparse.ArgumentParser) -> None:
    """Flags for what a model card says that no record holds."""
    group = parser.add_argument_group("model cards")
    group.add_argument("--results", nargs="+", default=[], metavar="FILE", help="further results of evaluations")
    group.add_argument("--model", nargs="+", default=[], metavar="NAME", help="what the results call this model")
    group.add_argument(
        "--license",
        help="licence of the weights as the Hub calls it (default: that of the model that training started from, "
        f"{UNKNOWN} where its card is not at hand; {LICENSE} where it started from nothing)",
    )
    group.add_argument("--base-model", metavar="ID", help="repo that training started from, if the record has none")
    group.add_argument("--datasets", nargs="+", default=[], metavar="ID", help="repos with the training data")
    group.add_argument("--leakage", metavar="FILE", help="what `coderep eval leakage --output` wrote of the data")
    group.add_argument("--watts", type=float, help="mean power of all machines while training, for an estimate")
    group.add_argument("--grams-per-kwh", type=float, metavar="GRAMS", help="CO2 of a kWh there, for an estimate")
    group.add_argument("--location", help="where the machines stand, e.g. Paris, France")


def card_options(args: argparse.Namespace, repo: str | None, export: Path | None = None) -> CardOptions:
    """What the flags of `add_card_options` say.

    Raises:
        ValueError: A flag goes with another that is missing, or a value is out of range.
    """
    if args.watts is None and (args.grams_per_kwh is not None or args.location):
        raise ValueError("--grams-per-kwh and --location say something only with --watts. Add it, or leave them out.")
    return CardOptions(
        repo=repo,
        license=args.license,
        base_model=args.base_model,
        datasets=tuple(args.datasets),
        power=None if args.watts is None else Power(args.watts, args.grams_per_kwh, args.location),
        called=tuple(args.model),
        export=export,
        leakage=args.leakage,
    )


def card_render(argv: list[str]) -> int:
    """`coderep card render`."""
    parser = argparse.ArgumentParser(
        prog="coderep card render", description="Write the model card of a run, or the card of data sets."
    )
    parser.add_argument("folder", nargs="+", help="folder with run.json, or folders with stats.json")
    parser.add_argument("--output", help="file to write, plots beside it (default: standard output, without plots)")
    parser.add_argument("--repo", metavar="OWNER/NAME", help="name on the Hub, for the code that uses it")
    parser.add_argument("--name", help="name at the top of the card (default: the repo's or the folder's)")
    add_card_options(parser)
    args = parser.parse_args(argv)
    if args.output:
        check_output_file(args.output)
    text = _data_card(args) if all(map(is_data, args.folder)) else _model_card(args)
    if not args.output:
        sys.stdout.write(text)
        return 0
    with new_file(args.output) as partial:
        partial.write_text(text, encoding="utf-8")
    return 0


def _model_card(args: argparse.Namespace) -> str:
    if len(args.folder) > 1:
        raise ValueError(
            f"a model card is of one run, got {len(args.folder)} folders. Several are for data sets alone."
        )
    options = card_options(args, args.repo)
    return render_card(args.folder[0], args.name, results=args.results, options=options)


def _data_card(args: argparse.Namespace) -> str:
    if args.results:
        raise ValueError("--results belong to a model's run; this is a data set. Leave them out.")
    folders: Folders = args.folder[0] if len(args.folder) == 1 else args.folder
    pictures = write_pictures(read_folders(folders), Path(args.output).parent) if args.output else []
    return render_dataset_card(folders, args.name, repo=args.repo, license=args.license, pictures=pictures)
