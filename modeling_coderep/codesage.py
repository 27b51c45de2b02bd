"""The published CodeSage checkpoints (v1 and v2) as coderep models: configuration, weights, tokenizer.

"codesage" is a layout that is read, never written: what is loaded is a `CodeRepModel`, and is saved as one. Facts about
the layout: the model files at huggingface.co/codesage (architecture, names of weights, specials), arXiv 2402.01935.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import Transpose, WeightConverter, WeightRenaming

from .configuration_coderep import CodeRepConfig

MODEL_TYPE = "codesage"
_FIELDS = {
    "attention_dropout_prob": "attention_dropout",
    "embedding_dropout_prob": "embedding_dropout",
    "residual_dropout_prob": "hidden_dropout",
    "layer_norm_epsilon": "layer_norm_eps",
    "hidden_size": "hidden_size",
    "num_attention_heads": "num_attention_heads",
    "num_hidden_layers": "num_hidden_layers",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_position_embeddings",
    "vocab_size": "vocab_size",
    "initializer_range": "initializer_range",
}
# What transformers itself keeps in every config.json and a fine-tuned CodeSage may carry.
_KEPT = ("id2label", "label2id", "num_labels", "problem_type", "classifier_dropout")
_HUB_OPTIONS = ("revision", "token", "cache_dir", "local_files_only", "subfolder", "force_download")
_END = "<|endoftext|>"
_TOKENS = {"bos_token": _END, "eos_token": _END, "unk_token": _END, "mask_token": "<mask>", "pad_token": "<pad>"}
# The same function as gelu_new in one kernel.
_ACTIVATIONS = {"gelu_new": "gelu_pytorch_tanh"}


class CodeSageConfig(CodeRepConfig):
    """Reads a CodeSage `config.json`; `from_dict` gives a `CodeRepConfig`."""

    model_type = MODEL_TYPE

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The configuration of the same encoder as a `CodeRepConfig`.

        The special-token ids of v2's files (100257, 100317) are outside their vocabulary of 49,154; all releases use 0
        for the beginning and the end, and the last two ids for mask and padding. The type that v2's files name
        (bfloat16) was never in force with the releases' own code: the weights' own type is.

        Raises:
            ValueError: A size is missing, or the file says something that no CodeSage release does.
        """
        missing = [name for name in _FIELDS if name not in config_dict]
        if missing:
            raise ValueError(f"config.json of a CodeSage model lacks {missing[0]!r}. Is the download complete?")
        if config_dict.get("position_embedding_type", "absolute") != "absolute":
            raise ValueError(
                f"position_embedding_type={config_dict['position_embedding_type']!r} is unknown for CodeSage; "
                f"its releases have 'absolute'."
            )
        fields = {ours: config_dict[theirs] for theirs, ours in _FIELDS.items()}
        fields |= {name: config_dict[name] for name in _KEPT if config_dict.get(name) is not None}
        activation = config_dict.get("activation_function", "gelu_new")
        vocab_size = config_dict["vocab_size"]
        fields |= {
            "hidden_act": _ACTIVATIONS.get(activation, activation),
            "mlm_head": "linear",
            "bos_token_id": 0,
            "eos_token_id": 0,
            "mask_token_id": vocab_size - 2,
            "pad_token_id": vocab_size - 1,
        }
        loaded = CodeRepConfig.from_dict(fields, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        # Of this object only, until a model is loaded: how the weights are laid out, and who reads the tokenizer.
        config.model_type, config.tokenizer_class = MODEL_TYPE, CodeSageTokenizer.__name__
        return loaded


# In the order in which they are applied. `Conv1D` keeps its weight transposed.
WEIGHTS = [
    WeightRenaming(r"^transformer\.", "encoder."),
    WeightRenaming("wte.weight", "embeddings.tokens.weight"),
    WeightRenaming("wpe.weight", "embeddings.positions.weight"),
    WeightRenaming(r"ln_f\.", "final_norm."),
    WeightRenaming(r"h\.", "layers."),
    WeightRenaming(r"ln_1\.", "attention_norm."),
    WeightRenaming(r"ln_2\.", "mlp_norm."),
    WeightRenaming("attn.c_attn.bias", "attention.qkv.bias"),
    WeightRenaming("attn.c_proj.bias", "attention.out.bias"),
    WeightRenaming("mlp.c_fc.bias", "mlp.up.bias"),
    WeightRenaming("mlp.c_proj.bias", "mlp.down.bias"),
    WeightConverter("attn.c_attn.weight", "attention.qkv.weight", operations=[Transpose(0, 1)]),
    WeightConverter("attn.c_proj.weight", "attention.out.weight", operations=[Transpose(0, 1)]),
    WeightConverter("mlp.c_fc.weight", "mlp.up.weight", operations=[Transpose(0, 1)]),
    WeightConverter("mlp.c_proj.weight", "mlp.down.weight", operations=[Transpose(0, 1)]),
]


class CodeSageTokenizer(PreTrainedTokenizerFast):
    """Reads the releases' byte-level BPE; `from_pretrained` gives a plain fast tokenizer, which is saved as one.

    EOS ends every text and stays when a text is cut. The first downloads of CodeSage had a tokenizer without EOS, later
    ones with; the models were trained with it. `add_eos_token=False` gives the former.
    """

    vocab_files_names: ClassVar[dict[str, str]] = {
        "vocab_file": "vocab.json",
        "merges_file": "merges.txt",
        "tokenizer_file": "tokenizer.json",
    }

    @classmethod
    def convert_to_native_format(cls, **kwargs: Any) -> dict[str, Any]:
        """Arguments of the constructor; called by transformers with the files that it found."""
        if kwargs.get("tokenizer_file") is None and kwargs.get("vocab_file") and kwargs.get("merges_file"):
            return {**kwargs, "tokenizer_object": _byte_level_bpe(kwargs["vocab_file"], kwargs["merges_file"])}
        return super().convert_to_native_format(**kwargs)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any) -> Any:
        """The tokenizer of a CodeSage checkpoint.

        Without a `model_max_length` of its own it takes the model's `max_position_embeddings`.

        Args:
            pretrained_model_name_or_path: Folder or Hub repo.
            *args: As in every tokenizer's `from_pretrained`.
            **kwargs: Likewise.

        Raises:
            FileNotFoundError: The checkpoint has no tokenizer.
        """
        add_eos_token = kwargs.pop("add_eos_token", True)
        try:
            loaded = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        except ValueError as error:
            if "Couldn't instantiate the backend tokenizer" not in str(error):
                raise
            raise FileNotFoundError(
                f"{str(pretrained_model_name_or_path)!r} has no tokenizer: neither tokenizer.json nor vocab.json with "
                f"merges.txt. Is the download complete?"
            ) from error
        limit = loaded.model_max_length
        if "model_max_length" not in kwargs:
            options = {name: kwargs[name] for name in _HUB_OPTIONS if name in kwargs}
            config, _ = CodeRepConfig.get_config_dict(pretrained_model_name_or_path, **options)
            limit = min(limit, config.get("max_position_embeddings", limit))
        tokens = {name: getattr(loaded, name) or default for name, default in _TOKENS.items()}
        return PreTrainedTokenizerFast(
            tokenizer_object=loaded.backend_tokenizer,
            model_max_length=limit,
            add_eos_token=add_eos_token,
            name_or_path=str(pretrained_model_name_or_path),
            padding_side=loaded.padding_side,
            truncation_side=loaded.truncation_side,
            **tokens,
        )


def _byte_level_bpe(vocab_file: str, merges_file: str) -> Tokenizer:
    """StarCoder's tokenizer, whose vocabulary CodeSage has, with CodeSage's mask and padding after it."""
    tokenizer = Tokenizer(models.BPE.from_file(vocab_file, merges_file))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([_TOKENS["mask_token"], _TOKENS["pad_token"]])
    return tokenizer


def register() -> None:
    """Make `AutoConfig`, `AutoModel...` and `AutoTokenizer` read CodeSage checkpoints, without remote code."""
    AutoConfig.register(MODEL_TYPE, CodeSageConfig, exist_ok=True)
    AutoTokenizer.register(CodeSageConfig, fast_tokenizer_class=CodeSageTokenizer, exist_ok=True)
    register_checkpoint_conversion_mapping(MODEL_TYPE, WEIGHTS, overwrite=True)
