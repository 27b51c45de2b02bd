"""Cards, export and publishing. Reads JSON records and files only; importing it does not import torch.

Public names are imported on first use: the Hub's client alone would take half a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .convert import convert_checkpoint as convert_checkpoint
    from .data import render_dataset_card as render_dataset_card
    from .data import write_dataset_card as write_dataset_card
    from .export import export_checkpoint as export_checkpoint
    from .layout import export_run as export_run
    from .onnx_export import export_onnx as export_onnx
    from .publish import publish_checkpoint as publish_checkpoint
    from .publish import publish_run as publish_run
    from .render import render_card as render_card

_MODULES = {
    "convert": ("convert_checkpoint",),
    "data": ("render_dataset_card", "write_dataset_card"),
    "export": ("export_checkpoint",),
    "layout": ("export_run",),
    "onnx_export": ("export_onnx",),
    "publish": ("publish_checkpoint", "publish_run"),
    "render": ("render_card",),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
