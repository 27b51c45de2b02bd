"""The byte-level BPE tokenizer and the alignment of its tokens with identifiers.

The pre-tokenizer splits wherever a name begins or ends, and a name takes one blank before it along (`x = name` gives
`x`, ` =`, ` name`). So cutting a text at its identifiers, as stage 1 must, gives the very tokens that the plain text
gives: training and use see the same input. Inside names it splits at underscores and case changes (`read_csvFile` gives
`read`, `_`, `csv`, `File`), so that names and prose share tokens. Digits stand alone, so numbers share tokens too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from .names import Identifier

if TYPE_CHECKING:  # worker processes need none of it
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

EOS, MASK, PAD = "<|endoftext|>", "<mask>", "<pad>"
# Words as people write them in names (`read`, `File`, `HTTP`) with a blank before them; underscores; one digit; runs of
# other signs; blanks up to the one that a word takes.
SPLIT_PATTERN = (
    r" ?(?:\p{Lu}?[\p{Ll}\p{Lt}\p{Lm}\p{Lo}\p{M}]+|\p{Lu}+(?!\p{Ll}))"
    r"| ?_+| ?\p{N}| ?[^\s\p{L}\p{M}\p{N}_]+|\s+(?= \S)|\s+"
)


def train_tokenizer(
    texts: Iterable[str],
    *,
    vocab_size: int = 32768,
    model_max_length: int = 2048,
    show_progress: bool = False,
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that appends EOS itself and keeps it under truncation.

    Ids 0, 1, 2 are EOS (also BOS, as in CodeSage), mask and padding. Any text comes back byte for byte from its ids.

    Raises:
        ValueError: `vocab_size` has no room for the 256 bytes and the special tokens, or there is no text.
    """
    from transformers import PreTrainedTokenizerFast

    specials = [EOS, MASK, PAD]
    smallest = 256 + len(specials)
    if vocab_size < smallest:
        raise ValueError(f"vocab_size must be at least {smallest} (256 bytes, {len(specials)} special tokens).")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        # The mask swallows the blank before it, since the names that it stands for do.
        special_tokens=[AddedToken(token, special=True, lstrip=token == MASK) for token in specials],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=64,
        show_progress=show_progress,
    )
    counted = _Counted(texts)
    tokenizer.train_from_iterator(counted, trainer)
    if not counted.count:
        raise ValueError("there is no text to train a tokenizer on: the sources have no file that passes the filters.")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=EOS,
        eos_token=EOS,
        unk_token=EOS,
        mask_token=MASK,
        pad_token=PAD,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


class _Counted:
    """An iterable that counts what passes."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.count = texts, 0

    def __iter__(self) -> Iterable[str]:
        for text in self.texts:
            self.count += 1
            yield text


class IdentifierTokenizer:
    """Tokenizes text in pieces cut at identifiers, so that each is its own run of sub-tokens.

    Works with any fast tokenizer; text that looks like a special token stays text.

    Raises:
        ValueError: The tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.is_fast:
            raise ValueError(f"{type(tokenizer).__name__} is a slow tokenizer. Use its fast version.")
        self._json = tokenizer.backend_tokenizer.to_str()
        self._prepare()

    def _prepare(self) -> None:
        self._backend: Any = Tokenizer.from_str(self._json)
        self._backend.encode_special_tokens = True
        self._backend.no_truncation()
        self._backend.no_padding()
        self._cache: dict[str, list[int]] = {}

    def __getstate__(self) -> dict[str, str]:
        """What goes to worker processes: the tokenizer alone."""
        return {"_json": self._json}

    def __setstate__(self, state: dict[str, str]) -> None:
        self._json = state["_json"]
        self._prepare()

    def __call__(self, code: bytes, names: list[Identifier]) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and identifier ids, int32, of the same length; no EOS.

        An identifier takes one blank before it along.

        Raises:
            UnicodeDecodeError: `code` is not UTF-8.
        """
        pieces, piece_ids, position = [], [], 0
        for start, end, _, name_id in names:
            if start > position and code[start - 1 : start] == b" ":
                start -= 1
            if start > position:
                pieces.append(code[position:start].decode("utf-8"))
                piece_ids.append(0)
            pieces.append(code[start:end].decode("utf-8"))
            piece_ids.append(name_id)
            position = end
        if position < len(code):
            pieces.append(code[position:].decode("utf-8"))
            piece_ids.append(0)
        tokens = self._encode(pieces)
        lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        flat = np.fromiter((token for piece in tokens for token in piece), dtype=np.int32, count=int(lengths.sum()))
        return flat, np.repeat(np.array(piece_ids, dtype=np.int32), lengths)

    def _encode(self, pieces: list[str]) -> list[list[int]]:
        """Ids of each piece; a piece seen before, as most names are, is not tokenized again."""
        if len(self._cache) > 500_000:
            self._cache.clear()
        new = list({piece for piece in pieces if piece not in self._cache})
        for piece, encoding in zip(new, self._backend.encode_batch_fast(new, add_special_tokens=False), strict=True):
            self._cache[piece] = encoding.ids
        return [self._cache[piece] for piece in pieces]
