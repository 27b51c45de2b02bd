"""Dataset builders: source code to stage-1 rows, pairs and a tokenizer.

Names are imported on first use, so that what only reads source files does not import `datasets`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import BuildOptions as BuildOptions
    from .build import build_pairs as build_pairs
    from .build import build_stage1 as build_stage1
    from .build import build_tokenizer as build_tokenizer
    from .pairs import PairOptions as PairOptions
    from .sources import SourceOptions as SourceOptions
    from .sources import iter_sources as iter_sources

_MODULES = {
    "build": ("BuildOptions", "build_pairs", "build_stage1", "build_tokenizer"),
    "pairs": ("PairOptions",),
    "sources": ("SourceOptions", "iter_sources"),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
