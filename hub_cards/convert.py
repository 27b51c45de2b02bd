"""Conversion: a CodeSage checkpoint in its published layout as one that loads with today's transformers, everywhere."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HfHubHTTPError

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
    from transformers import AutoConfig, AutoTokenizer

    from trainers.checkpoints import save_model
    from trainers.model_paths import CONFIG, check_checkpoint

    path = check_checkpoint(source)
    if Path(path).is_dir() and Path(path).resolve() == Path(output).resolve():
        raise ValueError(f"the output {str(output)!r} is the source. Name another folder.")
    kind = AutoConfig.from_pretrained(path, trust_remote_code=False).model_type
    if kind == "coderep":
        raise ValueError(f"{path!r} is a coderep checkpoint already; there is nothing to convert.")
    if kind != "codesage":
        raise ValueError(f"{path!r} holds a {kind!r} model; convert reads 'codesage'.")
    with new_folder(output, CONFIG, overwrite) as partial, tempfile.TemporaryDirectory(dir=partial.parent) as folder:
        model = _load(path)
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        name = name or Path(output).resolve().name
        origin, license = _origin(path)
        card = fill_template(
            "converted_card.md.jinja",
            metadata=_metadata(name, origin, license or CODESAGE_LICENSE).to_yaml(),
            name=name,
            source=origin,
            license=license or f"{CODESAGE_LICENSE}, that of CodeSage's releases; the copy converted brought no card",
            parameters=model.num_parameters(),
            max_length=tokenizer.model_max_length,
        )
        save_model(model, tokenizer, Path(folder, "model"))
        exported = export_checkpoint(Path(folder, "model"), Path(folder, "export"), card=card)
        difference = _difference(model, tokenizer, exported) if check else None
        for item in exported.iterdir():
            shutil.move(item, partial / item.name)
    return Converted(model.num_parameters(), len(_SAMPLE), difference)


def _load(path: str) -> Any:
    """The masked-LM model of a checkpoint, complete; a classifier, whose head would be lost, is refused."""
    from transformers import AutoModelForMaskedLM

    model, info = AutoModelForMaskedLM.from_pretrained(path, trust_remote_code=False, output_loading_info=True)
    if info["missing_keys"]:
        model = AutoModelForMaskedLM.from_pretrained(path, trust_remote_code=False)  # says which, and what to do
    if info["unexpected_keys"]:
        raise ValueError(
            f"{path!r} holds {min(info['unexpected_keys'])!r}, for which an encoder has no place. Load it with the "
            f"class of its task, e.g. AutoModelForSequenceClassification, and save that with save_pretrained."
        )
    return model.eval()


def _origin(path: str) -> tuple[str, str | None]:
    """Name and licence of the source: a repo id where the source tells it, else the folder's name; None if unknown."""
    folder = Path(path)
    card, name = folder / "README.md" if folder.is_dir() else path, path
    if folder.is_dir():
        # A snapshot in the Hub's cache: models--owner--name/snapshots/revision.
        cached = [part for part in folder.resolve().parts if part.startswith("models--")]
        name = cached[-1].removeprefix("models--").replace("--", "/", 1) if cached else folder.resolve().name
    try:
        return name, ModelCard.load(card).data.license
    except (OSError, ValueError, HfHubHTTPError):  # no card, or none that can be reached
        return name, None


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
