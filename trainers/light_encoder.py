"""A text through a BERT encoder in NumPy: importing torch and transformers takes far longer than a query does.

Only for a query and a few functions; `search` trusts it with a checkpoint after it gave the embeddings of the whole
encoder there. Shape suffixes: T = tokens, D = embedding width, H = heads, K = width of a head.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .sentence_folder import SentenceFolder, read_sentence_folder

_SUFFIXES = (".json", ".safetensors", ".bin", ".txt", ".model")
_RECORDS = ("results.json", "run.json")  # about a model, no part of it
_TYPES = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_PIECE = 1 << 22


def folder_fingerprint(checkpoint: str | Path) -> str:
    """Hash of the files of a checkpoint folder that its embeddings depend on."""
    digest = hashlib.sha256()
    for path in sorted(Path(checkpoint).rglob("*")):
        if path.suffix in _SUFFIXES and path.name not in _RECORDS and path.is_file():
            digest.update(f"{path.relative_to(checkpoint).as_posix()} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
    return digest.hexdigest()[:24]


def open_light(checkpoint: str | Path) -> LightEncoder | None:
    """The light encoder of a checkpoint; None where it is no BERT in a folder, or has parts that are missing here."""
    path = Path(checkpoint)
    if not (path / "config.json").is_file():
        return None
    try:
        folder = read_sentence_folder(path)
        where = path / folder.subfolder if folder else path
        config = json.loads((where / "config.json").read_text(encoding="utf-8"))
        plain = config.get("model_type") == "bert" and config.get("hidden_act") == "gelu"
        if not plain or (folder and folder.lower_case) or not (where / "tokenizer.json").is_file():
            return None
        return LightEncoder(where, config, folder)
    except Exception:  # whatever is wrong, the whole encoder tells it better; tokenizers raises nothing more exact
        return None


class LightEncoder:
    """A BERT encoder on NumPy.

    Args:
        path: Folder of weights and tokenizer.
        config: Its configuration.
        folder: What the sentence-transformers folder says that it is from, if it is from one.
    """

    def __init__(self, path: Path, config: dict[str, Any], folder: SentenceFolder | None) -> None:
        from tokenizers import Tokenizer

        self._heads, self._layers = config["num_attention_heads"], config["num_hidden_layers"]
        self._epsilon = config.get("layer_norm_eps", 1e-12)
        self._pooling = folder.pooling if folder else config.get("pooling", "mean")
        self._dimensions = config.get("dimensions")
        self._tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # what looks like a special token in a text is text
        self._limit = min(config["max_position_embeddings"], (folder and folder.max_length) or 1 << 30)
        self._weights: dict[str, np.ndarray] = {}
        for file in sorted(path.glob("*.safetensors")):
            self._weights |= _tensors(file)
        self._ready: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str], *, max_length: int | None = None) -> np.ndarray:
        """Embeddings of shape (texts, width), float32, each of length 1, one text after the other."""
        self._tokenizer.enable_truncation(min(max_length or self._limit, self._limit))
        return np.stack([self._embed(self._tokenizer.encode(text).ids) for text in texts])

    def _embed(self, ids: list[int]) -> np.ndarray:
        rows = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"
        hidden_TD = _float(self._weights[rows[0]][ids]) + _float(self._weights[rows[1]][: len(ids)])
        hidden_TD = self._norm(hidden_TD + self._get("embeddings.token_type_embeddings.weight")[0], "embeddings")
        for number in range(self._layers):
            layer = f"encoder.layer.{number}"
            mixed_TD = self._linear(
                self._attend(hidden_TD, f"{layer}.attention.self"), f"{layer}.attention.output.dense"
            )
            hidden_TD = self._norm(hidden_TD + mixed_TD, f"{layer}.attention.output")
            inner = _gelu(self._linear(hidden_TD, f"{layer}.intermediate.dense"))
            hidden_TD = self._norm(hidden_TD + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output")
        pooled_D = {"mean": hidden_TD.mean(axis=0), "cls": hidden_TD[0], "last": hidden_TD[-1]}[self._pooling]
        pooled_D = pooled_D[: self._dimensions]
        return pooled_D / max(float(np.linalg.norm(pooled_D)), 1e-12)

    def _attend(self, hidden_TD: np.ndarray, name: str) -> np.ndarray:
        split = (len(hidden_TD), self._heads, -1)
        query_HTK, key_HTK, value_HTK = (
            self._linear(hidden_TD, f"{name}.{part}").reshape(split).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores_HTT = query_HTK @ key_HTK.swapaxes(1, 2) / np.sqrt(np.float32(query_HTK.shape[-1]))
        weight_HTT = np.exp(scores_HTT - scores_HTT.max(axis=-1, keepdims=True))
        weight_HTT /= weight_HTT.sum(axis=-1, keepdims=True)
        return (weight_HTT @ value_HTK).swapaxes(0, 1).reshape(hidden_TD.shape)

    def _linear(self, hidden: np.ndarray, name: str) -> np.ndarray:
        return hidden @ self._get(f"{name}.weight").T + self._get(f"{name}.bias")

    def _norm(self, hidden_TD: np.ndarray, name: str) -> np.ndarray:
        centred_TD = hidden_TD - hidden_TD.mean(axis=-1, keepdims=True)
        scaled_TD = centred_TD / np.sqrt((centred_TD**2).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        return scaled_TD * self._get(f"{name}.LayerNorm.weight") + self._get(f"{name}.LayerNorm.bias")

    def _get(self, name: str) -> np.ndarray:
        if name not in self._ready:
            self._ready[name] = _float(self._weights[name])
        return self._ready[name]


def _tensors(path: Path) -> dict[str, np.ndarray]:
    """Name -> tensor of a safetensors file, mapped; bfloat16, which NumPy lacks, as its bits."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    data = np.memmap(path, mode="r", offset=8 + length)
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in _TYPES:
            start, stop = entry["data_offsets"]
            found[name.removeprefix("bert.")] = data[start:stop].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def _float(values: np.ndarray) -> np.ndarray:
    """As float32; whole numbers are the bits of bfloat16, the upper half of a float32's."""
    if values.dtype.kind == "u":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(values, dtype=np.float32)


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution's share below x, by Abramowitz and Stegun's 7.1.26 (error below 1.5e-7)."""
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    terms = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
    polynomial = np.zeros_like(t)
    for factor in terms:
        polynomial = (polynomial + np.float32(factor)) * t
    erf = np.sign(x) * (1 - polynomial * np.exp(-z * z))
    return x * (1 + erf) / 2
