"""Cards, export and publishing. Reads JSON records and files only; importing it does not import torch."""

from __future__ import annotations

from .export import export as export
from .publish import publish as publish
from .render import render as render
