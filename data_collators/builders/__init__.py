"""Dataset builders: source code to stage-1 rows, pairs and a tokenizer."""

from __future__ import annotations

from .build import BuildOptions as BuildOptions
from .build import build_pairs as build_pairs
from .build import build_stage1 as build_stage1
from .build import build_tokenizer as build_tokenizer
from .pairs import PairOptions as PairOptions
from .sources import SourceOptions as SourceOptions
from .sources import iter_sources as iter_sources
