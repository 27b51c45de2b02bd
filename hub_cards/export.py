"""Export: a saved model as a folder laid out like a Hub repo, which loads where coderep is not installed.

transformers writes only the saved class's entry of `auto_map`; the export writes all of them, the model code, and what
sentence-transformers reads. The weights are copied, not computed anew.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import Any

from data_collators.files import new_folder, write_json

MODEL_CODE = (
    "attention_coderep",
    "configuration_coderep",
    "encoding_coderep",
    "loading_coderep",
    "modeling_coderep",
    "pooling_coderep",
)
AUTO_MAP = {
    "AutoConfig": "configuration_coderep.CodeRepConfig",
    "AutoModel": "modeling_coderep.CodeRepModel",
    "AutoModelForMaskedLM": "modeling_coderep.CodeRepForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_coderep.CodeRepForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_coderep.CodeRepForTokenClassification",
}
_WEIGHTS = "*.safetensors*"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


def export_checkpoint(
    model_dir: str | Path,
    output: str | Path,
    *,
    card: str | None = None,
    overwrite: bool = True,
    max_shard_size: str | int | None = None,
) -> Path:
    """Lay out a saved coderep model as a Hub repo.

    Args:
        model_dir: Folder with config, safetensors weights and tokenizer.
        output: Folder to write.
        card: Text of README.md; None writes none.
        overwrite: Replace an earlier export in `output`.
        max_shard_size: Cut the weights into files of at most this size, e.g. "2GB"; None leaves them as they are.

    Raises:
        FileNotFoundError: `model_dir` lacks config, weights or tokenizer.
        ValueError: The model is not a coderep model, or the size is none.
        FileExistsError: `output` holds something else.
    """
    source = Path(model_dir)
    config = _config(source)
    weights = sorted(source.glob(_WEIGHTS))
    if not weights:
        raise FileNotFoundError(f"{str(source)!r} has no safetensors weights. Save the model with save_pretrained.")
    if not (source / "tokenizer.json").is_file():
        raise FileNotFoundError(f"{str(source)!r} has no tokenizer.json. Save the tokenizer beside the model.")
    with new_folder(output, "config.json", overwrite) as folder:
        tokenizer = [source / name for name in _TOKENIZER if (source / name).is_file()]
        for path in tokenizer if max_shard_size else [*weights, *tokenizer]:
            shutil.copyfile(path, folder / path.name)
        if max_shard_size:
            _cut_weights(weights, folder, max_shard_size)
        _copy_code(folder)
        write_json(folder / "config.json", {**config, "auto_map": AUTO_MAP})
        _portable_tokenizer(folder)
        _sentence_transformers(folder, config)
        if card is not None:
            (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(output)


def checkpoint_config(folder: Path) -> dict[str, Any]:
    """The content of a checkpoint's config.json.

    Raises:
        FileNotFoundError: There is none.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is not a checkpoint: it has no config.json. Name a saved model's folder."
        )
    return {"model_type": None, **json.loads(path.read_text(encoding="utf-8"))}


def _config(source: Path) -> dict[str, Any]:
    config = checkpoint_config(source)
    if config["model_type"] != "coderep":
        raise ValueError(f"{str(source)!r} holds a {config['model_type']!r} model; only 'coderep' can be exported.")
    config.pop("_name_or_path", None)
    return config


def _cut_weights(weights: list[Path], folder: Path, max_shard_size: str | int) -> None:
    """Write the tensors of some files into files of at most `max_shard_size`, as they are, with an index."""
    from huggingface_hub import save_torch_state_dict
    from safetensors.torch import load_file

    state = {}
    for path in weights:
        if path.suffix == ".safetensors":
            state |= load_file(path)
    # "pt" is what transformers asks for when it loads the files.
    save_torch_state_dict(state, folder, max_shard_size=max_shard_size, metadata={"format": "pt"})


def _copy_code(folder: Path) -> None:
    package = Path(importlib.util.find_spec("modeling_coderep").origin).parent
    for name in MODEL_CODE:
        shutil.copyfile(package / f"{name}.py", folder / f"{name}.py")


def _portable_tokenizer(folder: Path) -> None:
    """Name the tokenizer class as every transformers version knows it, and drop paths of this machine."""
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.pop("name_or_path", None)
    write_json(path, config)


def _sentence_transformers(folder: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    longest = min(config["max_position_embeddings"], tokenizer.get("model_max_length", math.inf))
    pooling = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
    modes = {f"pooling_mode_{mode}": mode == pooling[config["pooling"]] for mode in pooling.values()}
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest})
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": config["hidden_size"], **modes})
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules, indent=2) + "\n", encoding="utf-8")
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
