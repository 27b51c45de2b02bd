"""`coderep card ...`, `coderep export`, `convert` and `onnx`: cards, publishing and other forms of a checkpoint."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from .convert import convert_checkpoint
from .export_weights import DTYPES
from .layout import ModelOptions, export_run
from .onnx_export import export_onnx
from .publish import describe, publish_run
from .publish_errors import redact
from .publish_plan import check_repo
from .publish_repo import MAIN
from .render_cli import add_card_options, card_options
from .render_cli import card_render as card_render


def card_publish(argv: list[str]) -> int:
    """`coderep card publish`."""
    args = _publish_parser().parse_args(argv)
    check_repo(args.repo)  # before anything repeats it in a message
    if args.push:
        _quiet_bars()
    options = _model_options(args)
    done = publish_run(
        args.run,
        args.repo,
        push=args.push,
        public=args.public,
        revision=args.revision,
        options=options,
        card=args.card,
        check=not args.no_check,
        overwrite=args.overwrite,
        say=_say,
    )
    print("\n".join(describe(done, args.revision, args.public)))  # noqa: T201
    return 0


def export(argv: list[str]) -> int:
    """`coderep export`."""
    parser = argparse.ArgumentParser(
        prog="coderep export", description="Write a run's model as a folder laid out like a Hub repo, with its card."
    )
    parser.add_argument("run", help="folder of a run; with --card also that of a model alone")
    parser.add_argument("output", help="folder to write")
    parser.add_argument(
        "--repo", metavar="OWNER/NAME", help="name on the Hub, for the code in the card (default: none)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in the output folder")
    _add_model_options(parser)
    args = parser.parse_args(argv)
    _quiet_bars()
    folder = export_run(
        args.run,
        args.output,
        options=_model_options(args),
        card=args.card,
        check=not args.no_check,
        overwrite=args.overwrite,
        say=_say,
    )
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        print(f"{path.stat().st_size:>14,}  {path}")  # noqa: T201
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


class _QuietParser(argparse.ArgumentParser):
    """Repeats no token in its messages."""

    def error(self, message: str) -> NoReturn:
        super().error(redact(message))


def _publish_parser() -> argparse.ArgumentParser:
    parser = _QuietParser(
        prog="coderep card publish",
        description="Upload a model or a data set to the Hub in one commit; without --push, say what would go.",
    )
    parser.add_argument("run", nargs="+", help="folder of a run, of an exported checkpoint, or of data sets")
    parser.add_argument("--repo", required=True, help="owner/name on the Hub")
    parser.add_argument("--push", action="store_true", help="really upload; without it this is a dry run")
    seen = parser.add_mutually_exclusive_group()
    seen.add_argument("--private", action="store_true", help="create the repo as private (the default)")
    seen.add_argument("--public", action="store_true", help="create the repo as public, or push to a public one")
    parser.add_argument("--revision", default=MAIN, help="branch to commit to; created if need be (default: main)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that were changed on the Hub meanwhile")
    _add_model_options(parser)
    return parser


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    """Flags for how a model is laid out, with those for its card."""
    add = parser.add_argument
    add("--onnx", action="store_true", help="with ONNX files, float32 and int8")
    add("--max-shard-size", metavar="SIZE", help="cut the weights into files of this size, e.g. 2GB")
    add("--dtype", choices=DTYPES, help="in what the weights are stored; they load as float32 (default: as they are)")
    add("--no-check", action="store_true", help="do not load the export in a clean process first")
    add("--card", metavar="FILE", help="the card, instead of one written from the records")
    add_card_options(parser)


def _model_options(args: argparse.Namespace) -> ModelOptions:
    return ModelOptions(
        onnx=args.onnx,
        max_shard_size=args.max_shard_size,
        card=card_options(args, args.repo),
        results=tuple(args.results),
        dtype=args.dtype,
    )


def _quiet_bars() -> None:
    from trainers.progress import quiet_bars

    quiet_bars()


def convert(argv: list[str]) -> int:
    """`coderep convert`."""
    parser = argparse.ArgumentParser(
        prog="coderep convert", description="Write a published CodeSage checkpoint so that it loads everywhere."
    )
    parser.add_argument("source", help="checkpoint folder or Hub repo id, e.g. codesage/codesage-small-v2")
    parser.add_argument("output", help="folder to write, laid out like a Hub repo")
    parser.add_argument("--name", help="name on the card, e.g. me/codesage-small-v2 (default: the folder's name)")
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is in the output folder")
    parser.add_argument("--no-check", action="store_true", help="do not load the result in a clean process")
    args = parser.parse_args(argv)
    _quiet_bars()
    converted = convert_checkpoint(
        args.source, args.output, name=args.name, check=not args.no_check, overwrite=args.overwrite
    )
    print(f"{converted.parameters:,} parameters: {args.output}")  # noqa: T201
    if converted.difference is not None:
        print(  # noqa: T201
            "Loaded without coderep, with trust_remote_code=True: the embeddings of "
            f"{converted.texts} texts differ by at most {converted.difference:.1e}."
        )
    return 0


def onnx(argv: list[str]) -> int:
    """`coderep onnx`."""
    parser = argparse.ArgumentParser(prog="coderep onnx", description="Write ONNX files beside a checkpoint.")
    parser.add_argument("checkpoint", help="checkpoint folder")
    parser.add_argument("--no-int8", action="store_true", help="write the float32 file only")
    args = parser.parse_args(argv)
    _quiet_bars()
    for path in export_onnx(args.checkpoint, int8=not args.no_int8):
        print(f"{path.stat().st_size:>12,}  {path}")  # noqa: T201
    return 0
