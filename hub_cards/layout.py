"""A run's model laid out as the folder that goes to the Hub or into a checkout: weights, modules, ONNX files, card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_collators.files import check_output_folder, new_folder

from .data import CARD
from .export import check_exportable, export_checkpoint
from .lineage import RUN
from .metadata import check_card
from .onnx_export import check_onnx, export_onnx
from .publish_files import check_text
from .render import CardOptions, render_card
from .verify import check_export

_MODELS = ("model", "checkpoint")  # where training commands and the demo leave the model in a run's folder


@dataclass(frozen=True)
class ModelOptions:
    """How the model of a run is laid out.

    Args:
        onnx: With ONNX files, float32 and int8.
        max_shard_size: Weights are cut into files of at most this size, e.g. "2GB"; None leaves them as they are.
        card: What its card says that no record holds.
        results: Further results of evaluations for the card.
        dtype: In what the weights are stored: "bfloat16" or "float16" halve the files; None leaves them as they are.
    """

    onnx: bool = False
    max_shard_size: str | None = None
    card: CardOptions = field(default_factory=CardOptions)
    results: tuple[str, ...] = ()
    dtype: str | None = None


def model_of(run: Path) -> Path | None:
    """Folder of the model in a run's folder; None where there is none."""
    places = [run / name for name in _MODELS if (run / RUN).is_file()]
    return next((place for place in places if (place / "config.json").is_file()), None)


def read_card(path: str | Path | None) -> str | None:
    """The text of a card that somebody wrote; None without one.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise FileNotFoundError(f"card {str(path)!r} does not exist. Write one with `coderep card render`.")
    return Path(path).read_text(encoding="utf-8")


def lay_out(run: Path, model: Path, output: Path, options: ModelOptions, card: str | None = None) -> Path:
    """Write a model as the folder that goes to the Hub.

    Args:
        run: Folder with the records that its card is written from.
        model: Folder with config, weights and tokenizer.
        output: Folder to write; an earlier layout in it is replaced.
        options: How.
        card: Text of the card; default: one is written from the records.

    Raises:
        ValueError: The card holds a token, or the model cannot be exported in this way.
        FileExistsError: `output` holds something else.
    """
    config = check_exportable(model)
    if options.onnx:
        check_onnx(config)  # before the weights are written
    export_checkpoint(model, output, max_shard_size=options.max_shard_size, dtype=options.dtype)
    if options.onnx:
        export_onnx(output)
    text = card
    if text is None:
        text = render_card(run, results=options.results, options=replace(options.card, export=output))
    check_text(text, CARD)
    (output / CARD).write_text(text, encoding="utf-8")
    return output


def export_run(
    run: str | Path,
    output: str | Path,
    *,
    options: ModelOptions | None = None,
    card: str | Path | None = None,
    check: bool = True,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Lay a run's model out in a folder of this machine, as it would go to the Hub; nothing is uploaded.

    Args:
        run: Folder of a run (run.json and a model), or with `card` that of a model alone.
        output: Folder to write, whole or not at all.
        options: How; where its card names no repo, the code in the card loads `output`.
        card: File that goes as the card; default: one is written from the records.
        check: Load the result in a clean process and compare what it gives.
        overwrite: Replace an earlier export in `output`.
        say: Told of each step.

    Raises:
        FileNotFoundError: The folder is no run, or the card does not exist.
        FileExistsError: `output` exists and may not be replaced.
        ValueError: The model cannot be exported in this way.
        RuntimeError: The result does not load elsewhere, or gives something else.
    """
    run, options, own = Path(run), options or ModelOptions(), read_card(card)
    model = model_of(run)
    if model is None and own is not None and (run / "config.json").is_file():
        model = run
    if model is None:
        raise FileNotFoundError(
            f"{str(run)!r} is not a run: it has no {RUN} with a model beside it. Name what a training command wrote, "
            "or give a model's own card with --card."
        )
    if own is not None:
        check_card(own)
    elif options.card.repo is None:
        options = replace(options, card=replace(options.card, repo=_shown(output), local=True))
    place = check_output_folder(output, "config.json", overwrite)
    if place == model.resolve() or (place / "config.json").is_file() and not (place / CARD).is_file():
        raise FileExistsError(f"output {str(place)!r} holds a model that is no export. Name another folder.")
    with new_folder(output, "config.json", overwrite) as partial:
        say(f"laying out {model}")
        lay_out(run, model, partial, options, own)
        if check:
            say("loading the export in a process without coderep")
            check_export(partial, model)
    return Path(output)


def _shown(output: str | Path) -> str:
    """A folder as the code in its card names it: as given if that is a short way from here, else its name."""
    parts = Path(output).parts
    short = not Path(output).is_absolute() and ".." not in parts and 1 <= len(parts) <= 2
    return "/".join(parts) if short else Path(output).resolve().name
