"""A smaller vocabulary: the tokens that data have, and the most common others, of a model with a WordPiece tokenizer.

A multilingual or a general model spends much of its size on tokens that code never has. A text whose tokens all stay
has the same tokens and the same embedding, to the bit: WordPiece takes the longest match, and what would be shorter was
there before. Any other text is spelled in shorter pieces. Byte-pair encodings are another matter: their merges build on
each other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor

from data_collators.builders.store import load_split
from data_collators.files import claim_folder, new_folder, write_json

from .finished import CLAIM, MODEL, RUN
from .messages import say
from .model_paths import CONFIG, check_checkpoint
from .records import RunRecord

_TEXTS_AT_ONCE = 2000
_WEIGHTS = "model.safetensors"
_COPIED = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "special_tokens_map.json")


def count_tokens(tokenizer: Tokenizer, texts: Iterable[list[str]]) -> np.ndarray:
    """How often each token occurs, by its id, in lists of texts; without special tokens around them."""
    counts = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for some in texts:
        for encoding in tokenizer.encode_batch(some, add_special_tokens=False):
            np.add.at(counts, encoding.ids, 1)
    return counts


def kept_tokens(counts: np.ndarray, always: Iterable[int], size: int) -> np.ndarray:
    """Ids of the tokens that stay, ascending: those needed, then the most frequent ones, of equals the lower id.

    A vocabulary is mostly in the order of frequency in what it was made from, so what data never have stays by that.

    Raises:
        ValueError: `size` is not below the vocabulary, or leaves no room beside the tokens needed.
    """
    needed = np.unique(np.fromiter(always, np.int64))
    if not len(needed) < size < len(counts):
        raise ValueError(f"size must lie in ({len(needed)}, {len(counts)}), got {size}.")
    order = np.lexsort((np.arange(len(counts)), -counts))
    others = order[~np.isin(order, needed)][: size - len(needed)]
    return np.sort(np.concatenate([needed, others]))


def needed_tokens(tokenizer: Mapping[str, Any]) -> set[int]:
    """Ids of special tokens, and of single ASCII characters, by which any text of such can be spelled.

    Args:
        tokenizer: The content of tokenizer.json.

    Raises:
        ValueError: It is no WordPiece tokenizer.
    """
    model = tokenizer["model"]
    if model.get("type") != "WordPiece":
        raise ValueError(f"only WordPiece vocabularies can be cut, got {model.get('type')}. Take another model.")
    prefix = model["continuing_subword_prefix"]
    single = {number for token, number in model["vocab"].items() if _is_character(token.removeprefix(prefix))}
    return single | {entry["id"] for entry in tokenizer["added_tokens"]} | {model["vocab"][model["unk_token"]]}


def _is_character(token: str) -> bool:
    return len(token) == 1 and token.isascii()


def new_ids(kept: np.ndarray) -> dict[int, int]:
    """The new id of each token that stays: its place among them."""
    return {int(old): place for place, old in enumerate(kept)}


def cut_tokenizer(tokenizer: Mapping[str, Any], kept: np.ndarray) -> dict[str, Any]:
    """The content of tokenizer.json for the tokens that stay, numbered anew in their order."""
    new = new_ids(kept)
    vocab = {token: new[old] for token, old in tokenizer["model"]["vocab"].items() if old in new}
    cut = json.loads(json.dumps({**tokenizer, "model": {**tokenizer["model"], "vocab": vocab}}))
    for entry in cut["added_tokens"]:
        entry["id"] = new[entry["id"]]
    if cut.get("padding"):
        cut["padding"]["pad_id"] = new[cut["padding"]["pad_id"]]
    post = cut.get("post_processor") or {}
    for entry in (post.get("special_tokens") or {}).values():  # of a template
        entry["ids"] = [new[old] for old in entry["ids"]]
    for side in ("sep", "cls"):  # of BERT's own
        if side in post:
            post[side][1] = new[post[side][1]]
    return cut


def cut_weights(state: Mapping[str, Tensor], kept: np.ndarray, vocab_size: int) -> dict[str, Tensor]:
    """Weights with the rows of the tokens that stay, wherever a tensor has a row for each token."""
    rows = torch.from_numpy(kept)
    return {
        name: tensor[rows].contiguous() if tensor.dim() and tensor.shape[0] == vocab_size else tensor
        for name, tensor in state.items()
    }


def trim_vocabulary(model: str | Path, data: str | Path, output: str | Path, size: int) -> Path:
    """Cut the vocabulary of a model to the tokens of pairs; returns the folder of the result, laid out as a run's.

    Args:
        model: Folder of a model with a WordPiece tokenizer, a sentence-transformers one too.
        data: Pairs that `coderep data pairs` wrote, whose texts and codes of the split `train` are counted.
        output: Folder to write: `model` and the record `run.json`.
        size: Tokens that stay.

    Raises:
        FileNotFoundError: The model or the data do not exist.
        FileExistsError: The output folder holds something else.
        ValueError: The tokenizer is of another kind, or the size is out of range.
    """
    source, started = Path(check_checkpoint(model)), time.monotonic()
    for pattern in ("tokenizer.json", "*.safetensors"):
        if not any(source.glob(pattern)):
            raise FileNotFoundError(
                f"{str(model)!r} is no folder with {pattern}. Fetch a model of the Hub with `hf download MODEL "
                "--local-dir FOLDER`, and save tokenizers or weights of another kind anew with `save_pretrained`."
            )
    written = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    needed, tokenizer = needed_tokens(written), Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = load_split(data, "train").select_columns(["text", "code"])
    texts = (batch[side] for batch in rows.iter(_TEXTS_AT_ONCE) for side in ("text", "code"))
    counts = count_tokens(tokenizer, texts)
    kept = kept_tokens(counts, needed, size)
    config = json.loads((source / CONFIG).read_text(encoding="utf-8"))
    state = {name: tensor for path in sorted(source.glob("*.safetensors")) for name, tensor in load_file(path).items()}
    state = cut_weights(state, kept, config["vocab_size"])
    output, share = Path(output), float(counts[kept].sum() / max(1, counts.sum()))
    recipe = {"vocabulary": size, "tokens_of_the_data_that_stay": round(share, 6)}
    claim_folder(output, CLAIM, {"stage": "smaller vocabulary", "model": str(model), **recipe})
    with new_folder(output / MODEL, CONFIG, overwrite=True) as folder:
        save_file(state, folder / _WEIGHTS, metadata={"format": "pt"})
        _write_texts(source, folder, cut_tokenizer(written, kept), config, kept)
    parameters = sum(tensor.numel() for tensor in state.values() if tensor.is_floating_point())  # no positions
    RunRecord.without_data(recipe, started, parameters).save(output / RUN)
    say(f"{size:,} of {len(counts):,} tokens stay, {100 * share:.3f} % of those in the data; {parameters:,} parameters")
    return output / MODEL


def _write_texts(
    source: Path, folder: Path, tokenizer: dict[str, Any], config: dict[str, Any], kept: np.ndarray
) -> None:
    """Tokenizer, config and modules of the cut model."""
    new = new_ids(kept)
    ids = {name: new[old] for name, old in config.items() if name.endswith("_token_id") and old in new}
    write_json(folder / CONFIG, {**config, **ids, "vocab_size": len(kept)})
    write_json(folder / "tokenizer.json", tokenizer)
    path = source / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if added := settings.get("added_tokens_decoder"):
        settings["added_tokens_decoder"] = {str(new[int(old)]): entry for old, entry in added.items()}
    write_json(folder / "tokenizer_config.json", settings)
    for path in [*(source / name for name in _COPIED), *source.glob("*/config.json")]:
        if path.is_file():
            target = folder / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())


def main(argv: list[str]) -> int:
    """`coderep train trim`."""
    parser = argparse.ArgumentParser(
        prog="coderep train trim", description="Cut the vocabulary of a model with a WordPiece tokenizer."
    )
    parser.add_argument("model", help="checkpoint folder, such as that of MiniLM or another BERT")
    parser.add_argument("--data", required=True, metavar="PAIRS", help="pairs whose tokens stay")
    parser.add_argument("--size", type=int, required=True, help="tokens that stay")
    parser.add_argument("--output", required=True, help="folder to write")
    args = parser.parse_args(argv)
    print(trim_vocabulary(args.model, args.data, args.output, args.size))  # noqa: T201
    return 0
