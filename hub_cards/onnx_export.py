"""ONNX: an encoder as files that run without torch, in float32 and with int8 weights.

Through transformers' own exporters; optimum-onnx (0.1.0) has no release for transformers 5.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from data_collators.files import new_file

from .export import check_exportable
from .model_facts import CODEREP, is_classifier
from .usage import OTHERS_OUTPUT

FOLDER = "onnx"
FLOAT32 = f"{FOLDER}/model.onnx"
INT8 = f"{FOLDER}/model_quantized.onnx"
_ONE_FILE = 1_500_000_000  # bytes; a file in this format ends at 2 GB


def export_onnx(checkpoint: str | Path, *, int8: bool = True) -> list[Path]:
    """Write ONNX files beside the weights of an encoder, where other tools look for them.

    Inputs are `input_ids` and `attention_mask`, both (batch, tokens); outputs `last_hidden_state` (batch, tokens,
    hidden) and the embeddings (batch, hidden), not scaled: `pooler_output` of a model of ours, `sentence_embedding` of
    any other, whose own pooled output is another thing. Batch and tokens are free.

    Args:
        checkpoint: Folder of a checkpoint of ours or of transformers' own; `onnx/model.onnx` and
            `onnx/model_quantized.onnx` are written into it.
        int8: Write the second file too: int8 weights, activations quantised as they come.

    Raises:
        FileNotFoundError: `checkpoint` is no checkpoint folder.
        ValueError: It holds a model that has no such form.
        ImportError: The extra `onnx` is not installed.
    """
    folder = Path(checkpoint)
    config = check_exportable(folder)
    check_onnx(config)
    _require_extra()
    model = _load(folder, config["model_type"])
    (folder / FOLDER).mkdir(exist_ok=True)
    for stale in (folder / FOLDER).glob("model*.onnx*"):  # of weights that are no longer there
        stale.unlink()
    written = [folder / FLOAT32]
    _save(_graph(model, config["model_type"]), folder / FLOAT32)
    if int8:
        _quantize(folder / FLOAT32, folder / INT8)
        written.append(folder / INT8)
    return written


def check_onnx(config: dict[str, Any]) -> None:
    """Refuse a model that has no embeddings to give.

    Raises:
        ValueError: It is a classifier.
    """
    if is_classifier(config):
        raise ValueError("the ONNX files give embeddings, and this is a classifier. Leave out --onnx.")


def _load(folder: Path, kind: str) -> Any:
    """The encoder in float32; with one of transformers' own, embeddings are an output besides."""
    if kind == CODEREP:
        from modeling_coderep import CodeRepModel

        return CodeRepModel.from_pretrained(folder, dtype="float32").eval()
    from transformers import AutoModel

    from modeling_coderep.pooling_coderep import POOLERS
    from trainers.backbones import pooling_of

    model = AutoModel.from_pretrained(folder, dtype="float32", trust_remote_code=False).eval()
    whole, pool = model.forward, POOLERS[pooling_of(model)]

    def forward(input_ids: Any, attention_mask: Any) -> dict[str, Any]:
        states = whole(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"last_hidden_state": states, OTHERS_OUTPUT: pool(states, attention_mask)}

    model.forward = forward
    return model


def _require_extra() -> None:
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"ONNX needs {error.name}: pip install 'coderep[onnx]'") from error


def _graph(model: Any, kind: str) -> Any:
    """The encoder as an `onnx_ir.Model` with free axes `batch` and `tokens`.

    Raises:
        ValueError: transformers' exporter cannot write this kind of model.
    """
    import torch
    from transformers.exporters import OnnxConfig, OnnxExporter

    from trainers.backbones import position_limit

    # More than one row and one token, or the exporter takes these numbers for constants.
    sample = {name: torch.ones(2, 4, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=position_limit(model))}
    with _quiet():
        try:
            exported = OnnxExporter().export(model, sample, OnnxConfig(dynamic_shapes={name: axes for name in sample}))
        except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
            if kind == CODEREP:
                raise
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(f"a {kind!r} model cannot be written as ONNX ({reason}). Leave out --onnx.") from error
    program = getattr(exported, "program", exported)
    graph = getattr(program, "model", program)
    _tidy(graph)
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell every step, every operator of absent libraries and every version they were not tried with."""
    from transformers.utils import logging as transformers_logging

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter._registration")]
    levels = [logger.level for logger in loggers]
    verbosity = transformers_logging.get_verbosity()
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # Said inside torch's exporter of its own calls.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        try:
            transformers_logging.set_verbosity_error()
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            transformers_logging.set_verbosity(verbosity)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _tidy(model: Any) -> None:
    """Drop the exporter's stack traces, which name files of this machine, and give the axes readable names."""
    import onnx_ir

    rows, tokens = model.graph.inputs[0].shape
    names = {str(rows.value): "batch", str(tokens.value): "tokens"}
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        values.extend(node.outputs)
    for value in values:
        value.metadata_props.clear()
        if value.shape is None or value.shape.frozen:
            continue
        for axis, size in enumerate(value.shape):
            if isinstance(size, onnx_ir.SymbolicDim) and size.value is not None:
                text = str(size.value)
                for old, new in names.items():
                    text = text.replace(old, new)
                value.shape[axis] = text


def _save(graph: Any, path: Path) -> None:
    import onnx_ir

    size = sum(value.const_value.nbytes for value in graph.graph.initializers.values())
    if size > _ONE_FILE:  # the weights in a file of their own, which the graph names
        onnx_ir.save(graph, path, external_data=f"{path.name}_data")
        return
    with new_file(path) as partial:
        onnx_ir.save(graph, partial)


def _quantize(source: Path, target: Path) -> None:
    """int8 weights of matrix products and embeddings.

    `reduce_range` keeps sums of 8-bit products from overflowing on processors without VNNI, at the price of one bit,
    so that every processor gives the same; scales for each output channel win that bit back.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().addFilter(_no_preprocessing_hint)
    try:
        with new_file(target) as partial:
            quantize_dynamic(source, partial, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().removeFilter(_no_preprocessing_hint)


def _no_preprocessing_hint(record: Any) -> bool:
    """onnxruntime advises, on the root logger, a step that makes no difference to an optimised graph."""
    return "pre-processing" not in str(record.msg)
