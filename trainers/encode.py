"""Load any HF encoder and turn texts or code into embeddings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from data_collators.files import check_output_file, new_file
from modeling_coderep import CodeRepModel, embed_padded, encode_texts

from .backbones import embed, set_pooling
from .embedding_cache import model_fingerprint
from .sentence_folder import fit_tokenizer, read_sentence_folder, subfolder_options


@dataclass(frozen=True)
class Encoder:
    """A model with its tokenizer. `encode` gives embeddings of length 1."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that embeddings depend on: weights, configuration, tokenizer."""
        config = {**self.model.config.to_dict(), "_name_or_path": ""}
        return model_fingerprint(self.model, self.tokenizer, json.dumps(config, sort_keys=True, default=str))

    def encode(
        self, texts: Sequence[str], *, max_length: int | None = None, batch_tokens: int = 8192, progress: bool = False
    ) -> np.ndarray:
        """Embeddings of shape (texts, width), float32, each of length 1.

        Raises:
            ValueError: `max_length` is below 1.
        """
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}.")
        if isinstance(self.model, CodeRepModel):
            embed_ids = self.model.embedder(self.tokenizer)
        else:
            embed_ids = embed_padded(partial(embed, self.model), self.tokenizer, self.model.device)
        return encode_texts(
            embed_ids,
            self.tokenizer,
            texts,
            max_length=min(max_length or self.max_length, self.max_length),
            batch_tokens=batch_tokens,
            normalize=True,
            show_progress=progress,
            width=self.model.config.hidden_size,
        ).numpy()


def load_encoder(path: str | Path, revision: str | None = None) -> Encoder:
    """The encoder in a folder or Hub repo, ready to encode. Code that a checkpoint brings along is not run.

    Args:
        path: Folder or Hub repo.
        revision: Commit, tag or branch of a repo; None takes the newest.

    Raises:
        FileNotFoundError: The path is no checkpoint.
        ValueError: It is a sentence-transformers folder with parts or a pooling that we lack.
    """
    folder = read_sentence_folder(path, revision)
    options = {"revision": revision, "trust_remote_code": False, **subfolder_options(folder)}
    model = AutoModel.from_pretrained(str(path), **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(path), **options)
    if folder:
        set_pooling(model, folder.pooling)
        fit_tokenizer(tokenizer, folder)
    positions = getattr(model.config, "max_position_embeddings", 512)
    return Encoder(model, tokenizer, min(positions, tokenizer.model_max_length))


def read_texts(path: str | Path) -> list[str]:
    """The field `text`, else `code`, of each line of a JSONL file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not a JSON object with such a field.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{str(path)!r} does not exist. Give a JSONL file with a field 'text' or 'code'.")
    texts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row: Any = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{str(path)!r}, line {number} is not JSON: {error}.") from error
        text = row.get("text", row.get("code")) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise ValueError(f"{str(path)!r}, line {number} has no string field 'text' or 'code'.")
        texts.append(text)
    return texts


def main(argv: list[str]) -> int:
    """`coderep encode`."""
    parser = argparse.ArgumentParser(prog="coderep encode", description="Embeddings of the lines of a JSONL file.")
    parser.add_argument("model", help="checkpoint folder or Hub repo id")
    parser.add_argument("file", help="JSONL file with a field 'text' or 'code' in each line")
    parser.add_argument("--output", required=True, help="NumPy file to write, float32, one row a line")
    parser.add_argument("--max-length", type=int, help="longest text in tokens (default: the model's limit)")
    args = parser.parse_args(argv)
    check_output_file(args.output)
    texts = read_texts(args.file)
    embeddings_ND = load_encoder(args.model).encode(texts, max_length=args.max_length, progress=True)
    with new_file(args.output) as partial, open(partial, "wb") as handle:
        np.save(handle, embeddings_ND, allow_pickle=False)
    print(f"{len(texts)} embeddings of {embeddings_ND.shape[1]} dimensions: {args.output}")  # noqa: T201
    return 0
