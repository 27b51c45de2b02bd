"""What sentence-transformers reads in an export: the modules around the model, its pooling, its longest input.

The names of modules and settings are those that every release since 2.0 reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_collators.files import write_json

from .model_facts import MEAN

if TYPE_CHECKING:
    from trainers.sentence_folder import SentenceFolder

_POOLING = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
_TRANSFORMER, _SETTINGS = "sentence_bert_config.json", "config_sentence_transformers.json"
_TYPES = "sentence_transformers.models."


def write_modules(folder: Path, config: dict[str, Any], width: int, longest: int | None) -> None:
    """Make an export a sentence-transformers model with the pooling of its config.

    Args:
        folder: The export, with its tokenizer.
        config: The model's.
        width: Of its embeddings.
        longest: Longest input in tokens by the model's positions; None if any.
    """
    limit = longest_input(folder, longest)
    write_json(folder / _TRANSFORMER, {"max_seq_length": limit} if limit else {})
    chosen = _POOLING[config.get("pooling") or MEAN]
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == chosen for mode in _POOLING.values()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": width, **modes})
    _write_types(folder, [{"path": "", "type": "Transformer"}, {"path": "1_Pooling", "type": "Pooling"}])
    write_json(folder / _SETTINGS, {"similarity_fn_name": "cosine"})


def copy_modules(found: SentenceFolder, folder: Path, longest: int | None) -> None:
    """Write the modules of a sentence-transformers folder into an export of it.

    Args:
        found: What that folder says.
        folder: The export, with its tokenizer.
        longest: As in `write_modules`.
    """
    found.write(folder)
    _write_types(folder, found.files["modules.json"])
    limit = longest_input(folder, longest)
    write_json(folder / _TRANSFORMER, {**_read(folder / _TRANSFORMER), **({"max_seq_length": limit} if limit else {})})
    write_json(folder / _SETTINGS, {"similarity_fn_name": "cosine", **_read(folder / _SETTINGS)})


def _read(path: Path) -> dict[str, Any]:
    """The entries of a JSON file that say something; none without the file."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: value for name, value in found.items() if value is not None}


def _write_types(folder: Path, modules: Sequence[dict[str, Any]]) -> None:
    """Write modules.json with the types under the names that all releases know."""
    known = [
        {"idx": place, "name": str(place), "path": module["path"], "type": _TYPES + module["type"].rpartition(".")[2]}
        for place, module in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def longest_input(folder: Path, longest: int | None) -> int | None:
    """Longest input in tokens, by the model's positions and by the tokenizer in a folder; None if any."""
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    limit = min(longest or math.inf, tokenizer.get("model_max_length") or math.inf)
    return int(limit) if limit < 10**9 else None
