"""Conversion: a CodeSage checkpoint in its published layout as one that loads with today's transformers, everywhere."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from data_collators.files import new_folder

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
    source: str | Path, output: str | Path, *, name: str | None = None, check: bool = True, overwrite: bool = False
) -> Converted:
    """Write a CodeSage (v1 or v2) checkpoint as a folder laid out like a Hub repo.

    It holds safetensors weights, the model code, the tokenizer, what sentence-transformers reads, and a card that names
    origin and licence.

    Args:
        source: Folder or Hub repo id.
        output: Folder to write.
        name: Name on the card; default: the folder's name.
        check: Load the result in a clean process without our packages and compare embeddings.
        overwrite: Replace a checkpoint that is in `output`.

    Raises:
        FileNotFoundError: `source` is no checkpoint.
        ValueError: It is another kind of model, or its weights are damaged or incomplete.
        FileExistsError: `output` exists and may not be replaced.
        RuntimeError: The result does not load elsewhere, or gives other embeddings there.
    """
    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

    from trainers.checkpoints import CONFIG, check_checkpoint, save_model

    path = check_checkpoint(source)
    if Path(path).resolve() == Path(output).resolve():
        raise ValueError(f"the output {str(output)!r} is the source. Name another folder.")
    kind = AutoConfig.from_pretrained(path).model_type
    if kind == "coderep":
        raise ValueError(f"{path!r} is a coderep checkpoint already; there is nothing to convert.")
    if kind != "codesage":
        raise ValueError(f"{path!r} holds a {kind!r} model; convert reads 'codesage'.")
    with new_folder(output, CONFIG, overwrite) as partial, tempfile.TemporaryDirectory() as folder:
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
        save_model(model, tokenizer, Path(folder, "model"))
        exported = export_checkpoint(Path(folder, "model"), Path(folder, "export"), card=card)
        difference = _difference(model, tokenizer, exported) if check else None
        shutil.copytree(exported, partial, dirs_exist_ok=True)
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


def _difference(model: Any, tokenizer: Any, exported: Path) -> float:
    """Largest difference between the embeddings of the source here and of the export in a clean process."""
    import numpy as np

    here = model.encoder.encode(_SAMPLE, tokenizer)
    difference = float(np.abs(here - encode_elsewhere(exported, _SAMPLE)).max())
    if not difference <= 1e-5 * max(1.0, float(np.abs(here).max())):
        raise RuntimeError(f"the embeddings changed by {difference:.1e} in the conversion; nothing was written.")
    return difference
