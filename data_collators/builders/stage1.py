"""Stage-1 rows: a file as token ids with identifier ids, in documents that fit the model."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from ..names import Identifier, find_identifiers
from ..parsing import ParseTimeout, Span, parse, syntax_literals
from ..rows import SourceFile, Stage1Row
from ..tokenization import IdentifierTokenizer
from .extract import Extracted, sampled
from .file_filters import without_license_header

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Share of files whose tokens are counted by what they are: code, literals, comments.
_MEASURED = 0.0625


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
        tokenizer: A fast tokenizer with an EOS or, as BERT's, a SEP token.
        max_length: Longest document in tokens, EOS included.
        min_length: Shorter documents (rests of files) are dropped and counted.
        keep_license: Whether the licence at the head of a file stays; it is the same in every file of a project.

    Raises:
        ValueError: `max_length` leaves no room, or the tokenizer has no EOS token or is not a fast one.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 1024,
        min_length: int = 16,
        keep_license: bool = False,
    ) -> None:
        if max_length <= min_length:
            raise ValueError(f"max_length must exceed min_length={min_length}, got {max_length}.")
        self._eos = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id  # BERT's
        if self._eos is None:
            raise ValueError("the tokenizer has no EOS token, which ends every document. Add one.")
        self.max_length, self.min_length, self.keep_license = max_length, min_length, keep_license
        self._tokenize = IdentifierTokenizer(tokenizer)

    def __call__(self, file: SourceFile) -> Extracted:
        """The documents of a file, and how many were dropped for which reason."""
        text = file.text if self.keep_license else without_license_header(file.text)
        code, found = text.encode(), Extracted()
        try:
            syntax = parse(code, file.language)
        except ParseTimeout:
            found.dropped["file_too_slow_to_parse"] += 1
            return found
        names = find_identifiers(syntax, file.language)
        input_T, identifier_T = self._tokenize(code, names)
        found.counts.update(tokens=len(input_T), identifier_tokens=int(np.count_nonzero(identifier_T)))
        if sampled(file.id, _MEASURED):
            found.counts.update(self._token_kinds(code, names, syntax_literals(syntax, file.language)))
        start = 0
        for end in chunk_ends(identifier_T, self.max_length - 1):
            if end - start + 1 < self.min_length:
                found.dropped["document_too_short"] += 1
            else:
                found.rows.append(self._row(file, input_T[start:end], identifier_T[start:end]))
            start = end
        return found

    def _token_kinds(self, code: bytes, names: list[Identifier], literals: list[Span]) -> Counter[str]:
        """Tokens of code and of literals and comments, identifiers among the first; the paper's figures of A.3."""
        marks = [Identifier(*span, "literal", 2) for span in literals]
        ends = [span.end for span in literals]
        index = 0
        for name in names:
            while index < len(literals) and ends[index] <= name.start:
                index += 1
            if index == len(literals) or name.start < literals[index].start:
                marks.append(Identifier(name.start, name.end, name.kind, 1))
        _, kind_T = self._tokenize(code, sorted(marks))
        return Counter(
            measured_tokens=len(kind_T),
            measured_literal_tokens=int(np.count_nonzero(kind_T == 2)),
            measured_identifier_tokens=int(np.count_nonzero(kind_T == 1)),
        )

    def _row(self, file: SourceFile, input_T: np.ndarray, identifier_T: np.ndarray) -> Stage1Row:
        # Count the identifiers of this document anew; 0 keeps its place because it is put in front.
        _, renumbered_T = np.unique(np.concatenate([[0], identifier_T]), return_inverse=True)
        return Stage1Row(
            input_ids=np.append(input_T, np.int32(self._eos)).astype(np.int32),
            identifier_ids=np.append(renumbered_T[1:], 0).astype(np.int32),
            language=file.language,
            repo=file.repo,
            path=file.path,
        )
