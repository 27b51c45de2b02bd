"""Does an export give what the model gives that it was made from? Asked before anything is uploaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .elsewhere import OUR_PACKAGES as OUR_PACKAGES
from .elsewhere import encode_elsewhere as encode_elsewhere
from .elsewhere import run_elsewhere
from .model_facts import ModelFacts, read_facts

SAMPLE = ("read a file line by line", "def area(r):\n    return 3.14159 * r**2\n", "", "x = [1, 2, 3]\n" * 200)


def check_export(export: str | Path, source: str | Path | None = None) -> float:
    """Compare what an export gives, loaded in a clean process, with the model that it was made from.

    Of an encoder these are the embeddings by transformers and, where it is installed, by sentence-transformers; of a
    classifier the logits. Weights that the export stores in another precision are rounded here too. ONNX files in it
    are compared too: float32 by value, int8 by whether it gives numbers at all.

    Args:
        export: Folder of the export.
        source: Folder of the model; default: the export itself, loaded by the classes installed here.

    Returns:
        The largest difference.

    Raises:
        RuntimeError: It does not load there, or gives something else.
    """
    import numpy as np

    export = Path(export)
    facts = read_facts(export)
    stored = facts.stored if source else ""
    if facts.classifies:
        here, classes = _logits(Path(source or export), facts, stored), ["AutoModelForSequenceClassification"]
    else:
        here, classes = _embeddings(Path(source or export), facts, stored), ["AutoModel"]
        if importlib.util.find_spec("sentence_transformers"):
            classes.append("SentenceTransformer")
    found = _elsewhere(export, classes)
    if not facts.own_code and not facts.classifies:  # their modules may scale embeddings
        here, found = _unit(here), [_unit(vectors) for vectors in found]
    bound = 1e-5 * max(1.0, float(np.abs(here).max()))
    differences = [float(np.abs(here - vectors).max()) for vectors in found]
    for name, difference in zip(classes, differences, strict=True):
        if not difference <= bound:
            what = "scores" if facts.classifies else "embeddings"
            raise RuntimeError(
                f"the export {str(export)!r} gives other {what} elsewhere ({name}), by up to {difference:.1e}."
            )
    for path in sorted(export.glob("onnx/*.onnx")):
        _check_onnx(export, path, here)
    return max(differences)


def _elsewhere(export: Path, classes: Sequence[str]) -> list[Any]:
    return run_elsewhere([(export, name) for name in classes], SAMPLE)


def _embeddings(source: Path, facts: ModelFacts, stored: str) -> Any:
    """Embeddings of the sample by the model in a folder, its weights rounded to `stored`."""
    if facts.own_code:
        from modeling_coderep import CodeRepModel

        return _rounded(CodeRepModel.from_pretrained(source).eval(), stored).encode(list(SAMPLE))
    from trainers.encode import load_encoder

    encoder = load_encoder(source)
    _rounded(encoder.model.float(), stored)
    return encoder.encode(list(SAMPLE), max_length=facts.max_length)


def _logits(source: Path, facts: ModelFacts, stored: str) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(source, trust_remote_code=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    options = {"max_length": facts.max_length, "padding_side": "right"}
    batch = tokenizer(list(SAMPLE), padding=True, truncation=True, return_tensors="pt", **options)
    batch = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if getattr(model.config, "classifier_inputs", 1) == 2:
        batch = {name: value.unsqueeze(1).expand(-1, 2, -1) for name, value in batch.items()}
    with torch.no_grad():
        return _rounded(model.float(), stored)(**batch).logits.numpy()


def _rounded(model: Any, stored: str) -> Any:
    """The model with its weights as a file in another precision holds them."""
    import torch

    if stored in ("bfloat16", "float16"):
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.to(getattr(torch, stored)))
    return model


def _unit(vectors: Any) -> Any:
    import numpy as np

    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)


def _check_onnx(export: Path, path: Path, here: Any) -> None:
    import numpy as np

    from trainers.onnx_encoder import OnnxEncoder

    found = OnnxEncoder(export, f"onnx/{path.name}").encode(SAMPLE)
    difference = float(np.abs(found - _unit(here)).max())
    # Vectors of length 1 differ by at most 2: of int8, this asks for numbers.
    if not difference <= (1e-3 if path.name == "model.onnx" else 2.0):
        raise RuntimeError(f"{str(path)!r} gives other embeddings than the model: they differ by {difference:.1e}.")
