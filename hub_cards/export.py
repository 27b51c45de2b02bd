"""Export: a saved model as a folder laid out like a Hub repo, which loads where coderep is not installed.

Of a model of ours, transformers writes only the saved class's entry of `auto_map`; the export writes all of them and
the model code. Any other model is one of transformers' own and needs no code. Either way sentence-transformers finds
its modules. The weights are moved, not computed anew.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_collators.files import new_folder, write_json

from .export_weights import find_weights, write_weights
from .model_facts import CODEREP, MEAN, is_classifier
from .sentence_modules import copy_modules, longest_input, write_modules

if TYPE_CHECKING:
    from trainers.sentence_folder import SentenceFolder

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
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TOKENIZER += ("vocab.json", "merges.txt", "vocab.txt")


def export_checkpoint(
    model_dir: str | Path,
    output: str | Path,
    *,
    card: str | None = None,
    overwrite: bool = True,
    max_shard_size: str | int | None = None,
    dtype: str | None = None,
) -> Path:
    """Lay out a saved model as a Hub repo: one of ours, or any encoder or classifier of transformers' own.

    Args:
        model_dir: Folder with config, safetensors weights and tokenizer; that of a sentence-transformers model too.
        output: Folder to write.
        card: Text of README.md; None writes none.
        overwrite: Replace an earlier export in `output`.
        max_shard_size: Cut the weights into files of at most this size, e.g. "2GB"; None leaves them as they are.
        dtype: Store the weights in "bfloat16" or "float16"; they load as float32 all the same, unless asked otherwise.

    Raises:
        FileNotFoundError: `model_dir` lacks config, weights or tokenizer.
        ValueError: The model cannot be exported, or the size or the precision is none.
        FileExistsError: `output` holds something else.
    """
    source = Path(model_dir)
    config = check_exportable(source)
    weights = find_weights(source)
    with new_folder(output, "config.json", overwrite) as folder:
        for name in _TOKENIZER:
            if (source / name).is_file():
                shutil.copyfile(source / name, folder / name)
        write_weights(weights, folder, max_shard_size=max_shard_size, dtype=dtype)
        config, modules = _portable_config(config, dtype), None
        if config["model_type"] == CODEREP:
            _copy_code(folder)
            config["auto_map"], width, longest = AUTO_MAP, config["hidden_size"], config["max_position_embeddings"]
        else:
            width, longest, modules = _shape(source)
            if modules and modules.pooling != (config.get("pooling") or MEAN):
                config["pooling"] = modules.pooling  # for whoever loads it without sentence-transformers
        write_json(folder / "config.json", config)
        _portable_tokenizer(folder, longest)
        if modules and not is_classifier(config):
            copy_modules(modules, folder, longest)
        elif not is_classifier(config):
            write_modules(folder, config, width, longest)
        if card is not None:
            (folder / "README.md").write_text(card, encoding="utf-8")
    return Path(output)


def check_exportable(source: Path) -> dict[str, Any]:
    """The config of a saved model, without the paths in it; weights are not asked for.

    Raises:
        FileNotFoundError: Config or tokenizer is missing.
        ValueError: The model is of a kind that would not load elsewhere.
    """
    config = checkpoint_config(source)
    kind, name = config["model_type"], repr(str(source))
    if kind != CODEREP:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

        if kind == "codesage":
            raise ValueError(f"{name} holds a CodeSage model in its own layout. Convert it first: coderep convert.")
        if config.get("auto_map") or kind not in CONFIG_MAPPING_NAMES:
            raise ValueError(
                f"{name} holds a {kind!r} model, whose code is not part of transformers; only 'coderep' and "
                "transformers' own can be exported. Train a model of another kind."
            )
        if config.get("is_encoder_decoder"):
            raise ValueError(f"{name} holds a {kind!r} model, which has a decoder besides. Take an encoder alone.")
    if not (source / "tokenizer.json").is_file():
        raise FileNotFoundError(f"{name} has no tokenizer.json. Save the tokenizer beside the model, a fast one.")
    return {key: value for key, value in config.items() if key != "_name_or_path"}


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


def _portable_config(config: dict[str, Any], dtype: str | None) -> dict[str, Any]:
    """A config that makes weights stored in `dtype` load in the precision that they had before."""
    if dtype is None:
        return dict(config)
    before = config.get("dtype") or config.get("torch_dtype") or "float32"
    return {**{key: value for key, value in config.items() if key != "torch_dtype"}, "dtype": before}


def _shape(source: Path) -> tuple[int, int | None, SentenceFolder | None]:
    """What is to be known of one of transformers' own models besides its config.

    Returns:
        Width of the embeddings; longest input in tokens, None if any; what its sentence-transformers folder says, None
        if it is no such folder.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    from trainers.backbones import position_limit
    from trainers.sentence_folder import read_sentence_folder

    config, modules = AutoConfig.from_pretrained(source, trust_remote_code=False), read_sentence_folder(source)
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False)
    limits = [position_limit(model), modules.max_length if modules else None]
    return config.hidden_size, min((limit for limit in limits if limit is not None), default=None), modules


def _copy_code(folder: Path) -> None:
    package = Path(importlib.util.find_spec("modeling_coderep").origin).parent
    for name in MODEL_CODE:
        shutil.copyfile(package / f"{name}.py", folder / f"{name}.py")


def _portable_tokenizer(folder: Path, longest: int | None) -> None:
    """Name the tokenizer class as every transformers version knows it, drop paths of this machine, and cut texts where
    the model ends.
    """
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.pop("name_or_path", None)
    write_json(path, config)
    if limit := longest_input(folder, longest):
        write_json(path, {**config, "model_max_length": limit})
