"""From source code to rows to batches. Knows nothing of the model.

Names are imported on first use, so that what needs only files or rows (cards, the command line) stays light.
"""

from __future__ import annotations

import importlib
from typing import Any

_EXPORTS = {
    "FoldMaskingCollator": "mixed_masking",
    "LANGUAGES": "languages",
    "MixedMaskingCollator": "mixed_masking",
    "PackedDocuments": "packing",
    "PairCollator": "pair_collator",
    "Pairs": "pair_collator",
    "PairRow": "rows",
    "SourceFile": "rows",
    "StreamedDocuments": "streaming",
    "Stage1Row": "rows",
    "functions": "definitions",
    "identifiers": "names",
    "train_tokenizer": "tokenization",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
