"""Cards, export and publishing. Reads JSON records and files only; importing it does not import torch."""

from __future__ import annotations

from .convert import convert_checkpoint as convert_checkpoint
from .export import export_checkpoint as export_checkpoint
from .onnx_export import export_onnx as export_onnx
from .publish import publish_checkpoint as publish_checkpoint
from .render import render_card as render_card
