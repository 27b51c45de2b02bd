"""Conversion: a CodeSage checkpoint in its published layout as one that loads with today's transformers, everywhere."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from .export import export_checkpoint
from .render import fill_template
from .verify import encode_elsewhere

# The releases at huggingface.co/codesage state it on their cards; a local copy may lack the card.
CODESAGE_LICENSE = "apache-2.0"
_SAMPLE = [
    "",
    "read a file line by line",
    "def area(r):\n    return 3.14159 * r**2\n",
    "func Max(a, b int) int {\n\tif a > b {\n\t\treturn a\n\t}\n\treturn b\n}\n",
]


@dataclass(frozen=True)
class Converted:
    """What a conversion gave: parameters, and how far embeddings of sample texts moved (None if not checked)."""

    parameters: int
    texts: int
    difference: float | None


def convert_checkpoint(
    source: str | Path, output: str | Path, *, name: str | None = None, check: bool = True
) -> Converted:
    """Write a CodeSage (v1 or v2) checkpoint as a folder laid out like a Hub repo.

    It holds safetensors weights, the model code, the tokenizer, what sentence-transformers reads, and a card that names
    origin and licence.

    Args:
        source: Folder or Hub repo id.
        output: Folder to write; an earlier conversion there is replaced.
        name: Name on the card; default: the folder's name.
        check: Load the result in a clean process without our packages and compare embeddings.

    Raises:
        FileNotFoundError: `source` is no checkpoint.
        ValueError: It is another kind of model, or its weights are damaged or incomplete.
        FileExistsError: `output` holds something else.
        RuntimeError: The result does not load elsewhere, or gives other embeddings there.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    from trainers.checkpoints import check_checkpoint, save_model

    path = check_checkpoint(source)
    kind = AutoConfig.from_pretrained(path).model_type
    if kind == "coderep":
        raise ValueError(f"{path!r} is a coderep checkpoint already; there is nothing to convert.")
    if kind != "codesage":
        raise ValueError(f"{path!r} holds a {kind!r} model; convert reads 'codesage'.")
    model = AutoModelForMaskedLM.from_pretrained(path).eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    name = name or Path(output).resolve().name
    license, origin = _origin(path)
    card = fill_template(
        "converted_card.md.jinja",
        metadata=_metadata(name, origin, license).to_yaml(),
        name=name,
        source=origin,
        license=license,
        parameters=model.num_parameters(),
        max_length=tokenizer.model_max_length,
    )
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, tokenizer, Path(folder, "model"))
        export_checkpoint(Path(folder, "model"), output, card=card)
    difference = _difference(model, tokenizer, output) if check else None
    return Converted(model.num_parameters(), len(_SAMPLE), difference)


def _origin(path: str) -> tuple[str, str]:
    """Licence and name of the source; the name is a repo id where the source tells it, else the folder's name."""
    folder = Path(path)
    if folder.is_dir():
        card = ModelCard.load(folder / "README.md") if (folder / "README.md").is_file() else None
        # A snapshot in the Hub's cache: models--owner--name/snapshots/revision.
        cached = [part for part in folder.resolve().parts if part.startswith("models--")]
        origin = cached[-1].removeprefix("models--").replace("--", "/") if cached else folder.resolve().name
    else:
        card, origin = ModelCard.load(path), path
    return (card.data.license if card is not None and card.data.license else CODESAGE_LICENSE), origin


def _metadata(name: str, origin: str, license: str) -> ModelCardData:
    return ModelCardData(
        model_name=name,
        base_model=origin if "/" in origin else None,
        license=license,
        library_name="transformers",
        pipeline_tag="feature-extraction",
        tags=["code", "code-search", "sentence-similarity", "sentence-transformers", "coderep", "codesage"],
    )


def _difference(model: Any, tokenizer: Any, output: str | Path) -> float:
    import numpy as np

    here = model.encoder.encode(_SAMPLE, tokenizer)
    difference = float(np.abs(here - encode_elsewhere(output, _SAMPLE)).max())
    if not difference <= 1e-5 * max(1.0, float(np.abs(here).max())):
        raise RuntimeError(f"the embeddings of {str(output)!r} differ from the source's by {difference:.1e}.")
    return difference
