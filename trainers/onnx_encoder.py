"""Texts to embeddings with onnxruntime, from the files that `hub_cards.export_onnx` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import torch
from transformers import AutoTokenizer

from modeling_coderep import embed_padded

from .text_encoder import TextEncoder

# Where the embeddings are: of a model of transformers' own, of one of ours.
_OUTPUTS = ("sentence_embedding", "pooler_output")


class OnnxEncoder(TextEncoder):
    """An encoder in a checkpoint folder, run by onnxruntime on the CPU.

    Args:
        checkpoint: Folder with `config.json`, the tokenizer and ONNX files.
        file: Which file: `onnx/model.onnx`, or `onnx/model_quantized.onnx` with int8 weights.
        threads: CPU threads; 0 leaves the number to onnxruntime.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: The extra `onnx` is not installed.
    """

    batch_tokens: ClassVar[int] = 2048

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
        shapes = {output.name: output.shape for output in self.session.get_outputs()}
        self._output = next(name for name in _OUTPUTS if name in shapes)
        self._width = int(shapes[self._output][-1])
        limits = (config.get("max_position_embeddings"), self.tokenizer.model_max_length)
        self.max_length = min(limit for limit in limits if limit is not None)

    @property
    def width(self) -> int:
        """Dimensions of the model's own embeddings."""
        return self._width

    def embedder(self) -> Callable[[list[list[int]]], torch.Tensor]:
        """A function from the token ids of some texts to their embeddings."""
        return embed_padded(self._embed, self.tokenizer, "cpu")

    def _embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        inputs = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return torch.from_numpy(self.session.run([self._output], inputs)[0])
