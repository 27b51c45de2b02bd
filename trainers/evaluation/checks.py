"""A self-check of encoders: does a checkpoint pool and end its texts as its own files say?

Vectors that are silently wrong are the commonest trap of encoders: EOS lost on truncation or by a changed default,
another pooling than in training. Each finding is a warning for people; nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CARD, CONFIG, MODULES = "README.md", "config.json", "modules.json"
# The names of poolings in cards (prose or sentence-transformers' print of its modules), by ours.
_IN_CARDS = {
    "mean": r"mean[- _]pool|pooling_mode_mean_tokens'?: True|pooling_mode'?: 'mean'",
    "cls": r"cls[- _](token[- _])?pool|pooling_mode_cls_token'?: True|pooling_mode'?: 'cls'",
    "last": r"last[- _]token[- _]pool|pooling_mode_lasttoken'?: True|pooling_mode'?: 'lasttoken'",
    "max": r"max[- _]pool|pooling_mode_max_tokens'?: True|pooling_mode'?: 'max'",
}
_IN_MODULES = {"mean_tokens": "mean", "cls_token": "cls", "lasttoken": "last", "max_tokens": "max"}
_END_WITH_EOS = ("coderep", "codesage")  # trained on packed documents that each end with EOS


def check_encoder(folder: str | Path, tokenizer: Any, model_type: str = "") -> list[str]:
    """What in a checkpoint folder contradicts itself, as lines for people; empty if nothing does.

    Args:
        folder: The checkpoint; a Hub repo that is not on disk is checked by its tokenizer alone.
        tokenizer: The tokenizer as loaded.
        model_type: Of the model as loaded; "" is what the folder says.
    """
    folder = Path(folder)
    return [*_pooling_warnings(folder), *_eos_warnings(folder, tokenizer, model_type)]


def _pooling_warnings(folder: Path) -> Iterator[str]:
    config, modules = _read(folder / CONFIG), _module_pooling(folder)
    own = config.get("pooling")
    own = {"lasttoken": "last", "last_token": "last"}.get(own, own)
    if own and modules and own != modules:
        yield f"{CONFIG} says {own} pooling, the modules of sentence-transformers pool by {modules}"
    used = own or modules or ("mean" if config else None)
    card = (folder / CARD).read_text(encoding="utf-8", errors="replace") if (folder / CARD).is_file() else ""
    named = sorted(name for name, pattern in _IN_CARDS.items() if re.search(pattern, card, re.IGNORECASE))
    if used and named and used not in named:
        yield f"the card speaks of {' and '.join(named)} pooling, the model pools by {used}"


def _eos_warnings(folder: Path, tokenizer: Any, model_type: str) -> Iterator[str]:
    if not callable(tokenizer) or getattr(tokenizer, "eos_token_id", None) is None:
        return
    eos, text = tokenizer.eos_token, "def add(a, b):\n    return a + b"
    whole = tokenizer(text)["input_ids"]
    cut = tokenizer(text, truncation=True, max_length=4)["input_ids"]
    ends = whole[-1:] == [tokenizer.eos_token_id]
    config, settings = _read(folder / CONFIG), _read(folder / "tokenizer_config.json")
    asked = settings.get("add_eos_token") or (model_type or config.get("model_type")) in _END_WITH_EOS
    if asked and not ends:
        yield f"texts should end with {eos}, and the tokenizer does not append it: embeddings differ from training"
    if ends and cut[-1:] != whole[-1:]:
        yield f"the tokenizer appends {eos} and loses it when it cuts a text: long texts embed differently"


def _module_pooling(folder: Path) -> str | None:
    """The pooling of a sentence-transformers checkpoint, None if it names none or several."""
    for part in _read(folder / MODULES, []):
        if str(part.get("type", "")).endswith("Pooling"):
            config = _read(folder / part.get("path", "") / CONFIG)
            modes = [ours for key, ours in _IN_MODULES.items() if config.get(f"pooling_mode_{key}")]
            named = config.get("pooling_mode")
            if isinstance(named, str):
                modes = [_IN_MODULES.get(named, {"lasttoken": "last"}.get(named, named))]
            return modes[0] if len(modes) == 1 else None
    return None


def _read(path: Path, missing: Any = None) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {} if missing is None else missing
