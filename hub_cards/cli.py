"""`coderep card ...`, `coderep convert`, `coderep onnx`: cards, publishing and other forms of a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

from data_collators.files import check_output_file, new_file

from .convert import convert_checkpoint
from .data import STATS, render_dataset_card
from .onnx_export import export_onnx
from .publish import publish_checkpoint
from .render import render_card


def card_render(argv: list[str]) -> int:
    """`coderep card render`."""
    parser = argparse.ArgumentParser(
        prog="coderep card render", description="Write the model card of a run, or the card of a data set."
    )
    parser.add_argument("run", help="folder with run.json, or with stats.json")
    parser.add_argument("--output", help="file to write (default: standard output)")
    args = parser.parse_args(argv)
    is_data = (Path(args.run) / STATS).is_file() and not (Path(args.run) / "run.json").is_file()
    text = render_dataset_card(args.run) if is_data else render_card(args.run)
    if args.output:
        check_output_file(args.output)
        with new_file(args.output) as partial:
            partial.write_text(text, encoding="utf-8")
    else:
        print(text)  # noqa: T201
    return 0


def card_publish(argv: list[str]) -> int:
    """`coderep card publish`."""
    parser = argparse.ArgumentParser(prog="coderep card publish", description="Upload a checkpoint to the Hub.")
    parser.add_argument("run", help="run folder with checkpoint/, or an exported checkpoint")
    parser.add_argument("--repo", required=True, help="owner/name on the Hub")
    parser.add_argument("--push", action="store_true", help="really upload; without it this is a dry run")
    parser.add_argument("--private", action="store_true", help="create the repo as private")
    args = parser.parse_args(argv)
    folder = Path(args.run, "checkpoint") if Path(args.run, "checkpoint").is_dir() else Path(args.run)
    files = publish_checkpoint(folder, args.repo, push=args.push, private=args.private)
    for path in files:
        print(f"{(folder / path).stat().st_size:>12,}  {path.as_posix()}")  # noqa: T201
    total = sum((folder / path).stat().st_size for path in files)
    verb = "uploaded to" if args.push else "would go to"
    print(f"{total:>12,}  {len(files)} files {verb} {args.repo}")  # noqa: T201
    if not args.push:
        print("Dry run: nothing left this machine. Add --push to upload.")  # noqa: T201
    return 0


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
