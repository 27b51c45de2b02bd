"""Texts to embeddings with onnxruntime, from the files that `hub_cards.export_onnx` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer

from modeling_coderep import embed_padded, encode_texts


class OnnxEncoder:
    """An encoder in a checkpoint folder, run by onnxruntime on the CPU.

    Args:
        checkpoint: Folder with `config.json`, the tokenizer and ONNX files.
        file: Which file: `onnx/model.onnx`, or `onnx/model_quantized.onnx` with int8 weights.
        threads: CPU threads; 0 leaves the number to onnxruntime.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The extra `onnx` is not installed.
    """

    def __init__(self, checkpoint: str | Path, file: str = "onnx/model.onnx", threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError("OnnxEncoder needs onnxruntime: pip install 'coderep[onnx]'") from error
        path = Path(checkpoint) / file
        if not path.is_file():
            raise FileNotFoundError(f"{str(path)!r} does not exist. Write it: coderep onnx {checkpoint}")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=False)
        config = json.loads((Path(checkpoint) / "config.json").read_text(encoding="utf-8"))
        self.width = config["hidden_size"]
        self.max_length = min(config["max_position_embeddings"], self.tokenizer.model_max_length)

    def encode(
        self, texts: Sequence[str], *, max_length: int | None = None, batch_tokens: int = 2048, progress: bool = False
    ) -> np.ndarray:
        """Embeddings of shape (texts, width), float32, each of length 1.

        Raises:
            ValueError: `max_length` is below 1.
        """
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be at least 1, got {max_length}.")
        return encode_texts(
            embed_padded(self._embed, self.tokenizer, "cpu"),
            self.tokenizer,
            texts,
            max_length=min(max_length or self.max_length, self.max_length),
            batch_tokens=batch_tokens,
            normalize=True,
            show_progress=progress,
            width=self.width,
        ).numpy()

    def _embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return torch.from_numpy(self.session.run(["pooler_output"], inputs)[0])
