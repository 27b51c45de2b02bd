"""What a sentence-transformers folder says besides its weights: pooling, longest input, prompts, lower case.

Only JSON is read, so that sentence-transformers need not be installed to train such a model and to save it as one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .model_paths import check_checkpoint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODULES, SETTINGS = "modules.json", "config_sentence_transformers.json"
# Names that releases gave to the settings of the transformer.
_TRANSFORMER = "sentence_bert_config.json"
_OLDER = ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# Their names of poolings, as a mode and as the flag of older releases -> ours. Divided by the root of the length
# instead of the length, a mean keeps its direction, and cosines see nothing else.
_POOLING = {
    "mean": "mean",
    "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean",
    "cls": "cls",
    "cls_token": "cls",
    "lasttoken": "last",
}
_FLAG = "pooling_mode_"
_QUERY, _DOCUMENT = ("query",), ("document", "passage", "corpus")


@dataclass(frozen=True)
class SentenceFolder:
    """A sentence-transformers model without its weights.

    Args:
        subfolder: Where the weights are; "" is the folder itself.
        pooling: Name of the pooling, a key of `POOLERS`.
        max_length: Longest input in tokens; None leaves it to model and tokenizer.
        lower_case: Whether texts are lowercased before they become tokens.
        prompts: Side of a pair ("text" or "code") -> what its texts begin with.
        files: Path in the folder -> JSON, to write beside trained weights in the folder itself.
    """

    subfolder: str
    pooling: str
    max_length: int | None = None
    lower_case: bool = False
    prompts: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: str | Path) -> None:
        """Make a folder of trained weights a sentence-transformers folder again."""
        for name, content in self.files.items():
            path = Path(folder, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def saved_json(source: str | Path, name: str, revision: str | None = None) -> Any:
    """A JSON file of a checkpoint folder or Hub repo; {} if it has none."""
    if Path(source).is_dir():
        path = Path(source, name)
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    from transformers.utils import cached_file

    path = cached_file(
        str(source),
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def check_model(path: str | Path) -> str:
    """The path of a checkpoint folder, or the id of a repo on the Hub, as a string.

    Raises:
        FileNotFoundError: The path exists but is no checkpoint, or cannot be a repo id either.
    """
    return str(path) if Path(path, MODULES).is_file() else check_checkpoint(path)  # static models have no config


def read_sentence_folder(source: str | Path, revision: str | None = None) -> SentenceFolder | None:
    """What a sentence-transformers folder or Hub repo says; None where a checkpoint is none.

    coderep's own checkpoints carry all of it in their config, and are none here.

    Raises:
        FileNotFoundError: The source is no checkpoint.
        ValueError: It has parts that cannot be trained here, or a pooling that we lack.
    """
    source = check_model(source)
    modules = saved_json(source, MODULES, revision)
    if not modules or saved_json(source, "config.json", revision).get("model_type") == "coderep":
        return None
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ValueError(
            f"{str(source)!r} consists of {', '.join(kinds)}. Only Transformer, Pooling and Normalize can be trained "
            "here: name the folder of its transformer, or train it with sentence-transformers."
        )
    subfolder, pooling_path = modules[0].get("path", ""), f"{modules[1]['path']}/config.json"
    prefix = f"{subfolder}/" if subfolder else ""
    names = [f"{prefix}{name}" for name in (_TRANSFORMER, *(f"sentence_{kind}_config.json" for kind in _OLDER))]
    transformer = next((found for name in names if (found := saved_json(source, name, revision))), {})
    pooling, settings = saved_json(source, pooling_path, revision), saved_json(source, SETTINGS, revision)
    prompts = chosen_prompts(settings)
    if prompts and not pooling.get("include_prompt", True):
        raise ValueError(
            f"{str(source)!r} leaves its prompts out of the pooling, which cannot be trained here. "
            f"Set include_prompt in its {pooling_path} to true, or remove its prompts."
        )
    files = {MODULES: [{**modules[0], "path": ""}, *modules[1:]], pooling_path: pooling, _TRANSFORMER: transformer}
    return SentenceFolder(
        subfolder=subfolder,
        pooling=_pooling(pooling, source),
        max_length=transformer.get("max_seq_length"),
        lower_case=bool(transformer.get("do_lower_case")),
        prompts=prompts,
        files={name: content for name, content in (files | {SETTINGS: settings}).items() if content},
    )


def subfolder_options(folder: SentenceFolder | None) -> dict[str, str]:
    """What `from_pretrained` needs besides the path."""
    return {"subfolder": folder.subfolder} if folder and folder.subfolder else {}


def _pooling(config: dict[str, Any], source: str | Path) -> str:
    """Our name of the pooling.

    Raises:
        ValueError: There are several at once, or one that we lack.
    """
    modes = config.get("pooling_mode", [name.removeprefix(_FLAG) for name, on in config.items() if on is True])
    modes = [modes] if isinstance(modes, str) else [mode for mode in modes if mode != "include_prompt"]
    if len(modes) != 1 or modes[0] not in _POOLING:
        raise ValueError(
            f"{str(source)!r} pools by {' and '.join(modes) or 'nothing'}; here it must be mean, cls or lasttoken. "
            "Train it with sentence-transformers, or name its transformer alone to pool by the mean."
        )
    return _POOLING[modes[0]]


def chosen_prompts(settings: dict[str, Any]) -> dict[str, str]:
    """What texts and codes begin with by a model's settings, as `encode_query` and `encode_document` choose it."""
    known, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    chosen = {}
    for side, names in (("text", _QUERY), ("code", _DOCUMENT)):
        name = next((name for name in names if name in known), default)
        if known.get(name):
            chosen[side] = known[name]
    return chosen


def fit_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: SentenceFolder) -> PreTrainedTokenizerBase:
    """The tokenizer with the longest input and the lower case of its sentence-transformers folder, as saved too."""
    from tokenizers.normalizers import Lowercase, Sequence

    if folder.max_length is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, folder.max_length)
    if folder.lower_case:
        backend = tokenizer.backend_tokenizer
        backend.normalizer = Sequence([Lowercase(), *([backend.normalizer] if backend.normalizer else [])])
    return tokenizer
