"""Arguments of the training commands: HF's TrainingArguments plus what the recipe adds.

A recipe is a YAML file with these names as keys; flags override it (see `command_line`).
"""

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments


@dataclass
class StageArguments(TrainingArguments):
    """What both stages share."""

    data: str | None = field(default=None, metadata={"help": "Data set folder made by `coderep data ...`."})
    tokenizer: str | None = field(default=None, metadata={"help": "Tokenizer folder; default: the model's own."})
    model: str | None = field(default=None, metadata={"help": "Checkpoint to start from; default: a new model."})
    # Without it, transformers refuses bf16 on CPUs, and processes started by torchrun there would not meet.
    use_cpu: bool = field(default_factory=lambda: not torch.accelerator.is_available())
    ddp_find_unused_parameters: bool | None = False  # there are none, and looking for them takes time in every step
    # CPUs train as fast with one process; workers would re-import torch each.
    dataloader_num_workers: int = 0
    dataloader_pin_memory: bool = field(default_factory=torch.cuda.is_available)
    remove_unused_columns: bool = False
    report_to: str | list[str] | None = "none"
    save_total_limit: int | None = 2
    logging_steps: float = 20


@dataclass
class MlmArguments(StageArguments):
    """Stage 1. The meaning of the masking options is `MixedMaskingCollator`'s."""

    model_config: dict | None = field(
        default=None, metadata={"help": "Fields of CodeRepConfig for a new model; preset: NAME starts from a size."}
    )
    max_length: int = field(default=1024, metadata={"help": "Tokens per packed row."})
    objective: str = field(default="parallel", metadata={"help": "parallel, random, dobf or sequential."})
    dobf_probability: float = 0.5
    mlm_rate: float = 0.15
    mlm_rate_max: float | None = field(default=None, metadata={"help": "Makes the rate dynamic, up to this."})
    identifier_share: float = 0.5
    mask_share: float = 1.0
    random_share: float = 0.0
    language_weights: dict | None = field(
        default=None, metadata={"help": "Language -> how often its documents come in an epoch, on average."}
    )
    streaming: bool = field(default=False, metadata={"help": "Read the data while training; needs max_steps."})
    eval_passes: int = field(default=7, metadata={"help": "Passes of the pseudo-perplexity (with --eval_strategy)."})
    eval_documents: int = field(default=64, metadata={"help": "Held-out documents of each language it is over."})


@dataclass
class TaskArguments(StageArguments):
    """What training on pairs and on labels shares: data of users' own, and adapters."""

    columns: str | dict | None = field(
        default=None, metadata={"help": "Names of your data's columns, as in: text=query code=func."}
    )
    lora_rank: int | None = field(default=None, metadata={"help": "Train low-rank adapters instead of all weights."})
    lora_alpha: float | None = field(default=None, metadata={"help": "Scale of the adapters; default: twice the rank."})
    lora_dropout: float = 0.0
    lora_targets: str | list = field(
        default="auto", metadata={"help": "Linear layers with adapters: auto is all of attention and feed-forward."}
    )


@dataclass
class ContrastiveArguments(TaskArguments):
    """Stage 2. The meaning of the options is `PairCollator`'s and that of the losses in `trainers.losses`."""

    loss: str = field(default="bimodal", metadata={"help": "bimodal, or unimodal: two dropout views of each side."})
    mini_batch_tokens: int | None = field(
        default=None, metadata={"help": "Tokens encoded at once, of texts alike in length; without, a whole batch."}
    )
    gradient_caching: bool = field(
        default=True, metadata={"help": "Encode mini-batches twice, in the memory of one; false: once, in that of all."}
    )
    max_text_length: int = field(default=128, metadata={"help": "Longest text in tokens; the rest is cut."})
    max_code_length: int = field(default=1024, metadata={"help": "Longest code in tokens; the rest is cut."})
    hard_positive_rate: float = field(default=1.0, metadata={"help": "Share of pairs that show a code in part."})
    hard_positive_drop: list | None = field(
        default=None, metadata={"help": "What such a code lacks, of signature, return, docstring (default: all)."}
    )
    docstring_text_rate: float = field(
        default=0.0, metadata={"help": "Share of summaries in whose place the whole doc comment stands."}
    )
    docstring_code_rate: float = field(
        default=0.0, metadata={"help": "Share of codes shown whole that stand below their doc comment."}
    )
    hard_negatives: bool = field(default=True, metadata={"help": "Weight negatives by how near they are."})
    weight_norm: str = field(default="mean", metadata={"help": "These weights have mean 1, or (sum) sum 1."})
    detach_weights: bool = field(default=False, metadata={"help": "No gradients through these weights."})
    max_negatives: int = field(default=4, metadata={"help": "Most mined negatives of a pair, where the data has any."})
    temperature: float = field(default=0.05, metadata={"help": "Divides cosines."})
    matryoshka_dims: list | None = field(
        default=None, metadata={"help": "Widths whose losses are added up, such as [128, 256, 768]."}
    )
    text_geometry_weight: float = field(
        default=0.0, metadata={"help": "Weight of keeping texts where --model has them among each other; 0: free."}
    )
    text_geometry_temperature: float = field(default=0.05, metadata={"help": "Divides the cosines of that term."})
    eval_pairs: int = field(default=512, metadata={"help": "Held-out pairs of each language (with --eval_strategy)."})

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: An option is out of range or contradicts another.
        """
        if self.loss not in ("bimodal", "unimodal"):
            raise ValueError(f"loss must be bimodal or unimodal, got {self.loss!r}.")
        for name in ("temperature", "text_geometry_temperature"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.text_geometry_weight < 0:
            raise ValueError(f"text_geometry_weight must be at least 0 (off), got {self.text_geometry_weight}.")
        if self.text_geometry_weight and self.loss != "bimodal":
            raise ValueError(f"text_geometry_weight={self.text_geometry_weight} is for loss: bimodal. Leave it out.")
        if self.eval_pairs < 2:
            raise ValueError(f"eval_pairs must be at least 2, got {self.eval_pairs}: one pair has no other to beat.")
        longest = max(("max_code_length", "max_text_length"), key=lambda name: getattr(self, name))
        if self.mini_batch_tokens is not None and self.mini_batch_tokens < getattr(self, longest):
            raise ValueError(
                f"mini_batch_tokens={self.mini_batch_tokens} is less than one text may have, "
                f"{longest}={getattr(self, longest)}. Raise the one or lower the other."
            )
        dims = self.matryoshka_dims or []
        if any(not isinstance(width, int) or width < 1 for width in dims) or len(set(dims)) < len(dims):
            raise ValueError(f"matryoshka_dims must be different whole numbers from 1, got {dims}.")
        if self.load_best_model_at_end and self.metric_for_best_model is None:
            self.metric_for_best_model = "mrr"  # transformers would look for a loss
        super().__post_init__()


@dataclass
class ClassifyArguments(TaskArguments):
    """Classification. What is not given is as in CodeSage's paper, by kind of task and size of the model."""

    freeze_encoder: bool = field(default=False, metadata={"help": "Train the head alone: a linear probe."})
    max_length: int = field(default=512, metadata={"help": "Tokens read of each code."})
    test_share: float = field(
        default=0.1, metadata={"help": "Share held out to be scored on, where the data have no split of their own."}
    )
    learning_rate: float | None = field(default=None, metadata={"help": "The first one; default: the paper's."})
    num_train_epochs: float | None = field(default=None, metadata={"help": "Default: the paper's."})
    per_device_train_batch_size: int = 32
