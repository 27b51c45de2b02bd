"""Evaluation protocols: named and frozen, so that a number says how it came about. docs/EVALUATION.md explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from .preprocessing import codesage_code, codesage_query, codesage_tokens
from .sets import CODE_TO_CODE, RetrievalSet


@dataclass(frozen=True)
class Protocol:
    """How texts are prepared and ranks become numbers.

    Args:
        name: Its name in results.
        code_length: Longest code in tokens, those that the tokenizer adds included.
        text_length: Longest text in tokens.
        cleaned: Prepare texts and codes as CodeSage's published scripts do, else leave them as they are.
        mrr_cutoff: A first relevant document behind this rank counts as not found; None looks at the whole ranking.
        ties: How documents that score alike rank; see `relevant_ranks`.
    """

    name: str
    code_length: int
    text_length: int
    cleaned: bool = False
    mrr_cutoff: int | None = None
    ties: Literal["worst", "order"] = "worst"

    @property
    def label(self) -> str:
        """The name with all that differs from the frozen protocol of that name."""
        frozen = PROTOCOLS[self.name]
        lengths = (self.code_length, self.text_length)
        changes = []
        if lengths != (frozen.code_length, frozen.text_length):
            code, text = lengths
            changes.append(f"{code} tokens" if code == text else f"code {code}, text {text} tokens")
        if self.ties != frozen.ties:
            changes.append(f"ties by {self.ties}" if self.ties == "order" else "ties against the model")
        if self.cleaned != frozen.cleaned:
            changes.append("cleaned" if self.cleaned else "not cleaned")
        if self.mrr_cutoff != frozen.mrr_cutoff:
            changes.append(f"MRR cut at {self.mrr_cutoff}" if self.mrr_cutoff else "MRR not cut")
        return ", ".join([self.name, *changes])

    def queries(self, data: RetrievalSet) -> tuple[Sequence[str], int]:
        """The queries of a set as the model reads them, and their longest length in tokens."""
        if data.task == CODE_TO_CODE:
            return self._codes(data.queries, data.query_languages), self.code_length
        return [codesage_query(text) for text in data.queries] if self.cleaned else data.queries, self.text_length

    def documents(self, data: RetrievalSet) -> tuple[Sequence[str], int]:
        """The documents of a set as the model reads them, and their longest length in tokens."""
        if data.task == CODE_TO_CODE:
            return self._codes(data.documents, data.document_languages), self.code_length
        if not self.cleaned:
            return data.documents, self.code_length
        return data.joined_tokens or [codesage_tokens(code) for code in data.documents], self.code_length

    def _codes(self, codes: Sequence[str], languages: Sequence[str]) -> Sequence[str]:
        if not self.cleaned:
            return codes
        return [codesage_code(code, language) for code, language in zip(codes, languages, strict=True)]


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("raw", code_length=512, text_length=512),
        Protocol("codesage", code_length=1024, text_length=128, cleaned=True, mrr_cutoff=1000),
    )
}


def choose_protocol(name: str, **changes: Any) -> Protocol:
    """A protocol by its name, with changes that are not None; its label then names them.

    Raises:
        ValueError: There is no such protocol.
    """
    if name not in PROTOCOLS:
        close = get_close_matches(name, PROTOCOLS, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown protocol {name!r}. {hint}Protocols: {', '.join(PROTOCOLS)}.")
    return replace(PROTOCOLS[name], **{key: value for key, value in changes.items() if value is not None})
