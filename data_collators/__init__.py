"""From source code to rows to batches. Knows nothing of the model."""

from __future__ import annotations

from .languages import LANGUAGES as LANGUAGES
from .mixed_masking import MixedMaskingCollator as MixedMaskingCollator
from .packing import PackedDocuments as PackedDocuments
from .pair_collator import PairCollator as PairCollator
from .pair_collator import Pairs as Pairs
from .parsing import functions as functions
from .parsing import identifiers as identifiers
from .rows import PairRow as PairRow
from .rows import SourceFile as SourceFile
from .rows import Stage1Row as Stage1Row
from .tokenization import train_tokenizer as train_tokenizer
