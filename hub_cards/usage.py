"""Code that uses a published model, as its card shows it. The tests run these blocks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

_TEXTS = '["add two numbers", "def plus(a, b):\\n    return a + b"]'

_TRANSFORMERS = """\
from transformers import AutoModel

model = AutoModel.from_pretrained({repo}, trust_remote_code=True)
text, code = model.encode({texts}, normalize=True)
print(text @ code)  # cosine similarity"""

_SENTENCES = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer({repo}, trust_remote_code=True)
embeddings = model.encode({texts})
print(model.similarity(embeddings[0], embeddings[1]))"""

_ONNX = """\
import numpy as np
import onnxruntime
from huggingface_hub import snapshot_download
from transformers import AutoTokenizer

folder = snapshot_download({repo}, allow_patterns=["*.json", "onnx/*"])
tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
session = onnxruntime.InferenceSession(folder + {file}, providers=["CPUExecutionProvider"])
batch = tokenizer({texts}, padding=True, truncation=True, return_tensors="np")
inputs = {{name: batch[name].astype("int64") for name in ("input_ids", "attention_mask")}}
(embeddings,) = session.run(["pooler_output"], inputs)
embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
print(embeddings[0] @ embeddings[1])  # cosine similarity"""

_DATA = """\
from datasets import load_dataset

rows = load_dataset({repo}, {config}, split="{split}")
print(rows[0])"""


def onnx_files(export: str | Path | None) -> list[str]:
    """ONNX files of an exported checkpoint, relative, the smallest first; none without one."""
    found = list(Path(export).glob("onnx/*.onnx")) if export else []
    return [f"onnx/{path.name}" for path in sorted(found, key=lambda path: (path.stat().st_size, path.name))]


def model_usage(repo: str, onnx: Sequence[str] = ()) -> dict[str, str]:
    """Title -> Python code, for each way to use a model.

    Args:
        repo: Its name on the Hub.
        onnx: Its ONNX files; the first is shown.
    """
    values = {"repo": _quoted(repo), "texts": _TEXTS}
    blocks = {
        "transformers": _TRANSFORMERS.format(**values),
        "sentence-transformers": _SENTENCES.format(**values),
    }
    if onnx:
        blocks["ONNX, without torch"] = _ONNX.format(**values, file=_quoted(f"/{onnx[0]}"))
    return blocks


def data_usage(repo: str, config: str, split: str) -> str:
    """Python code that loads a configuration of a data set."""
    return _DATA.format(repo=_quoted(repo), config=_quoted(config), split=split)


def _quoted(name: str) -> str:
    return json.dumps(name)
