"""The loss of stage 2 that the arguments name, over the embeddings of a batch.

Shape suffixes: N = pairs, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from .arguments import ContrastiveArguments
from .losses import bimodal_contrastive_loss, unimodal_contrastive_loss
from .text_geometry import text_geometry_loss

TEXT, CODE, NEGATIVE = "text", "code", "negative"


def check_options(args: ContrastiveArguments, model: nn.Module, teacher: nn.Module | None = None) -> None:
    """Refuse options that do not fit the model, its teacher or the processes.

    Raises:
        ValueError: One does not.
    """
    width = model.config.hidden_size
    if args.label_smoothing_factor:
        raise ValueError("label_smoothing_factor has no place in stage 2. Leave it out.")
    if max(args.matryoshka_dims or [width]) > width:
        raise ValueError(f"matryoshka_dims={args.matryoshka_dims} go beyond the model's hidden_size={width}.")
    if args.n_gpu > 1 and args.mini_batch_tokens:
        raise ValueError(
            f"mini_batch_tokens needs a process for each of the {args.n_gpu} GPUs. Start with torchrun, or choose one "
            "with CUDA_VISIBLE_DEVICES."
        )
    if args.text_geometry_weight and teacher is None:
        raise ValueError(
            f"text_geometry_weight={args.text_geometry_weight} needs a teacher. Give ContrastiveTrainer another copy "
            "of the model to start from as `teacher`."
        )
    rates = [module.p for module in model.modules() if isinstance(module, nn.Dropout)]
    if args.loss == "unimodal" and not any([*rates, getattr(model.config, "attention_dropout", 0)]):
        raise ValueError("loss: unimodal compares two dropout views, but the model has no dropout. Set hidden_dropout.")


def batch_loss(args: ContrastiveArguments, embeddings: Sequence[Tensor], hashes: Mapping[str, Tensor]) -> Tensor:
    """The loss that the arguments name, of embeddings of the texts, the codes and, if there are any, the negatives.

    For the unimodal loss: of the texts, the codes, and both again with other dropout.
    """
    options = {"temperature": args.temperature, "dims": tuple(args.matryoshka_dims or ())}
    if args.loss == "unimodal":
        text_ND, code_ND, text_again_ND, code_again_ND = embeddings
        losses = [
            unimodal_contrastive_loss(text_ND, text_again_ND, hash_N=hashes[TEXT], **options),
            unimodal_contrastive_loss(code_ND, code_again_ND, hash_N=hashes[CODE], **options),
        ]
        return sum(losses) / 2
    return bimodal_contrastive_loss(
        *embeddings[:2],
        negative_KD=embeddings[2] if len(embeddings) > 2 else None,
        hard_negatives=args.hard_negatives,
        weight_norm=args.weight_norm,
        detach_weights=args.detach_weights,
        text_hash_N=hashes[TEXT],
        code_hash_N=hashes[CODE],
        negative_hash_K=hashes.get(NEGATIVE),
        **options,
    )


def geometry_loss(
    args: ContrastiveArguments, text_ND: Tensor, teacher_ND: Tensor, hashes: Mapping[str, Tensor]
) -> Tensor:
    """How far the texts have moved among each other since the teacher, for the arguments; without its weight."""
    return text_geometry_loss(
        text_ND,
        teacher_ND,
        temperature=args.text_geometry_temperature,
        text_hash_N=hashes[TEXT],
        dims=tuple(args.matryoshka_dims or ()),
    )
