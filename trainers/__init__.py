"""Everything that runs a model: training, encoding, search, evaluation.

Names are imported on first use, so that encoding and search start without what only training needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .arguments import ContrastiveArguments as ContrastiveArguments
    from .arguments import MlmArguments as MlmArguments
    from .contrastive import train_contrastive as train_contrastive
    from .contrastive_trainer import ContrastiveTrainer as ContrastiveTrainer
    from .losses import bimodal_contrastive_loss as bimodal_contrastive_loss
    from .mlm import MlmTrainer as MlmTrainer
    from .mlm import train_mlm as train_mlm

_MODULES = {
    "arguments": ("ContrastiveArguments", "MlmArguments"),
    "contrastive": ("train_contrastive",),
    "contrastive_trainer": ("ContrastiveTrainer",),
    "losses": ("bimodal_contrastive_loss",),
    "mlm": ("MlmTrainer", "train_mlm"),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
