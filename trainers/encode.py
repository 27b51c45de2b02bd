"""Load any HF encoder and turn texts or code into embeddings."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from data_collators.files import check_output_file, new_file
from modeling_coderep import CodeRepModel, embed_padded

from .backbones import embed, position_limit, set_pooling
from .devices import place
from .embedding_cache import model_fingerprint
from .messages import quiet_models
from .sentence_folder import fit_tokenizer, read_sentence_folder, subfolder_options
from .text_encoder import TextEncoder


@dataclass(frozen=True)
class Encoder(TextEncoder):
    """A model with its tokenizer. `encode` gives embeddings of length 1.

    Args:
        model: The model, in evaluation mode.
        tokenizer: Its tokenizer.
        max_length: Longest text in tokens that it takes.
        dimensions: How many dimensions embeddings have unless told otherwise; None: all.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    dimensions: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Hash of everything that embeddings depend on: weights, configuration, tokenizer."""
        config = {**self.model.config.to_dict(), "_name_or_path": ""}
        config |= {} if self.dimensions is None else {"dimensions": self.dimensions}
        return model_fingerprint(self.model, self.tokenizer, json.dumps(config, sort_keys=True, default=str))

    @property
    def width(self) -> int:
        """Dimensions of the model's own embeddings."""
        return self.model.config.hidden_size

    def embedder(self) -> Callable[[list[list[int]]], Tensor]:
        """A function from the token ids of some texts to their embeddings."""
        if isinstance(self.model, CodeRepModel):
            return self.model.embedder(self.tokenizer)
        return embed_padded(partial(embed, self.model), self.tokenizer, self.model.device)


def load_encoder(
    path: str | Path, revision: str | None = None, *, device: str | None = None, dimensions: int | None = None
) -> Encoder:
    """The encoder in a folder or Hub repo, ready to encode. Code that a checkpoint brings along is not run.

    Args:
        path: Folder or Hub repo.
        revision: Commit, tag or branch of a repo; None takes the newest.
        device: Where the model runs, such as "cuda:1"; None: an accelerator if there is one.
        dimensions: Keep the first so many of each embedding, scaled to length 1 (Matryoshka); None: all.

    Raises:
        FileNotFoundError: The path is no checkpoint.
        ValueError: It is a sentence-transformers folder with parts or a pooling that we lack, there is no such device,
            or the model has fewer dimensions.
    """
    folder = read_sentence_folder(path, revision)
    options = {"revision": revision, "trust_remote_code": False, **subfolder_options(folder)}
    model = AutoModel.from_pretrained(str(path), **options).eval()
    tokenizer = AutoTokenizer.from_pretrained(str(path), **options)
    if folder:
        set_pooling(model, folder.pooling)
        fit_tokenizer(tokenizer, folder)
    if dimensions is not None and not 1 <= dimensions <= model.config.hidden_size:
        raise ValueError(f"dimensions must lie in [1, {model.config.hidden_size}], got {dimensions}.")
    positions = position_limit(model) or 512
    return Encoder(place(model, device), tokenizer, min(positions, tokenizer.model_max_length), dimensions)


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
    with path.open(encoding="utf-8") as lines:  # `splitlines` would cut at U+2028, which a string may hold
        for number, line in enumerate(lines, start=1):
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
    parser.add_argument("--dimensions", type=int, help="keep the first so many dimensions (default: all)")
    parser.add_argument("--device", help="where it runs, such as cuda:1 (default: an accelerator if there is one)")
    args = parser.parse_args(argv)
    quiet_models()
    check_output_file(args.output)
    texts = read_texts(args.file)
    encoder = load_encoder(args.model, device=args.device, dimensions=args.dimensions)
    embeddings_ND = encoder.encode(texts, max_length=args.max_length, progress=True)
    with new_file(args.output) as partial, open(partial, "wb") as handle:
        np.save(handle, embeddings_ND, allow_pickle=False)
    print(f"{len(texts)} embeddings of {embeddings_ND.shape[1]} dimensions: {args.output}")  # noqa: T201
    return 0
