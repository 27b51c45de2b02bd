"""Stage-1 rows: a file as token ids with identifier ids, in documents that fit the model."""

from __future__ import annotations

from collections import Counter

import numpy as np
from transformers import PreTrainedTokenizerBase

from ..names import identifiers
from ..rows import SourceFile, Stage1Row
from ..tokenization import IdentifierTokenizer


def chunk_ends(identifier_T: np.ndarray, size: int) -> list[int]:
    """Where a document is cut so that no piece exceeds `size` tokens and no identifier is cut in two.

    An identifier longer than `size` tokens is cut all the same.
    """
    ends, start, total = [], 0, len(identifier_T)
    while total - start > size:
        end = start + size
        while end > start and identifier_T[end] and identifier_T[end] == identifier_T[end - 1]:
            end -= 1
        start = end if end > start else start + size
        ends.append(start)
    return [*ends, total]


class Stage1Extractor:
    """Tokenizes files, cut at identifiers, into documents of at most `max_length` tokens that end with EOS.

    Args:
        tokenizer: A fast tokenizer with an EOS token.
        max_length: Longest document in tokens, EOS included.
        min_length: Shorter documents (rests of files) are dropped and counted.

    Raises:
        ValueError: `max_length` leaves no room, or the tokenizer has no EOS token.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_length: int = 1024, min_length: int = 16) -> None:
        if max_length <= min_length:
            raise ValueError(f"max_length must exceed min_length={min_length}, got {max_length}.")
        if tokenizer.eos_token_id is None:
            raise ValueError("the tokenizer has no EOS token, which ends every document. Add one.")
        self.max_length, self.min_length = max_length, min_length
        self._eos = tokenizer.eos_token_id
        self._tokenize = IdentifierTokenizer(tokenizer)

    def __call__(self, file: SourceFile) -> tuple[list[Stage1Row], Counter[str]]:
        """The documents of a file, and how many were dropped for which reason."""
        code, rows, dropped = file.text.encode(), [], Counter()
        input_T, identifier_T = self._tokenize(code, identifiers(code, file.language))
        start = 0
        for end in chunk_ends(identifier_T, self.max_length - 1):
            if end - start + 1 < self.min_length:
                dropped["document_too_short"] += 1
            else:
                rows.append(self._row(file, input_T[start:end], identifier_T[start:end]))
            start = end
        return rows, dropped

    def _row(self, file: SourceFile, input_T: np.ndarray, identifier_T: np.ndarray) -> Stage1Row:
        # Count the identifiers of this document anew; 0 keeps its place because it is put in front.
        _, renumbered_T = np.unique(np.concatenate([[0], identifier_T]), return_inverse=True)
        return Stage1Row(
            input_ids=[*input_T.tolist(), self._eos],
            identifier_ids=[*renumbered_T[1:].tolist(), 0],
            language=file.language,
            repo=file.repo,
            path=file.path,
        )
