"""HF's Trainer for stage 2: a contrastive loss over the whole batch of all processes, in the memory of a mini-batch.

Shape suffixes: N = pairs of this process's batch, M = its items (texts, codes, negatives), I = some of these,
D = embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from accelerate.utils import is_compiled_module
from torch import Tensor, nn
from transformers import Trainer

from .arguments import ContrastiveArguments
from .batch_counts import BatchCounts
from .batch_loss import CODE, NEGATIVE, TEXT, batch_loss, check_options, geometry_loss
from .embedding import FlatTexts, embed_texts, mini_batches, packs, texts_of
from .finite import StopAtBadGradient, check_loss
from .gathering import gather_rows
from .gradcache import cached_backward
from .hub_push import PushesExport
from .pair_evaluation import UNTRAINED_TOKENS, EvaluatesPairs
from .teacher import Teacher

_TEACHER = "teacher_embeddings"


class ContrastiveTrainer(PushesExport, EvaluatesPairs, Trainer):
    """HF's Trainer for stage 2.

    All processes see the loss over the pairs of all of them. With `mini_batch_tokens` and `gradient_caching` its
    gradient is cached (see `trainers.gradcache`). Training stops when loss or gradient is not a number. The logs tell
    the share of texts whose own code is the nearest in the batch (`own_code_nearest`), the mean cosine of text and code
    (`pair_cosine`), both as they are in training, dropout included, and the `tokens` since the last log; with a teacher
    also how far the texts have moved among each other (`text_geometry`, see `trainers.text_geometry`; without its
    weight in the loss). `evaluate` gives the MRR of each language's pairs of `eval_dataset` among themselves.

    `tokens_seen` counts the tokens that this process has trained on.

    Args:
        model: The encoder.
        args: What the recipe says.
        pooling: A key of `POOLERS`; None: what the model's config names, else the mean over real tokens.
        eval_collator: Makes a batch of `eval_dataset`.
        teacher: An encoder with the same tokenizer and pooling, needed where the arguments have a
            `text_geometry_weight`: another copy of the model to start from. It is frozen, and not saved.
        **kwargs: `Trainer`'s. The collators' batches are `PairCollator`'s.

    Raises:
        ValueError: The arguments do not fit the model or the processes.
    """

    args: ContrastiveArguments
    tokens_seen = 0
    loss_is_scaled_for_ga = False  # the loss is a mean over the batch

    def __init__(
        self,
        model: nn.Module | None = None,
        args: ContrastiveArguments | None = None,
        *,
        pooling: str | None = None,
        eval_collator: Callable[[Any], dict[str, Tensor]] | None = None,
        teacher: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, args, **kwargs)
        check_options(self.args, self.model, teacher)
        self.args.remove_unused_columns = False  # the collator takes columns that no model knows
        self.pooling = pooling or getattr(self.model.config, "pooling", "mean")
        self._pad_id = getattr(self.model.config, "pad_token_id", None) or 0
        self.packed = packs(self.model) and not self.args.torch_compile and self.args.n_gpu <= 1
        self._eval_collator = eval_collator
        self._counts = BatchCounts(self.accelerator)
        wanted = teacher is not None and self.args.text_geometry_weight > 0
        self._teacher = Teacher(teacher, self.pooling, self.accelerator) if wanted else None
        self.add_callback(StopAtBadGradient())

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Add the gradient of a batch of `PairCollator` to the weights'; returns its share in the loss of the step.

        Raises:
            FloatingPointError: The loss is NaN or infinite.
        """
        model.train()
        if callable(getattr(self.optimizer, "train", None)):
            self.optimizer.train()
        inputs = self._taught(self._prepare_inputs(inputs))
        sides = self._sides(inputs)
        texts = texts_of(inputs, sides)
        batches = mini_batches([inputs[f"{side}_lengths"] for side in sides], self.args.mini_batch_tokens, self.packed)
        # DDP and FSDP average the gradients of processes, see `_everyones`.
        scale = self.accelerator.num_processes / self.current_gradient_accumulation_steps
        loss = cached_backward(
            partial(self._embed, model, texts),
            batches,
            partial(self._differentiate, inputs, sides),
            lambda share: self.accelerator.backward(share * scale),
            device=self.args.device,
            kept=1 if self.args.mini_batch_tokens and self.args.gradient_caching else None,
            idle=self._idle(len(batches)),
            hold=partial(self._hold, model),
            same_code=self.args.torch_compile or is_compiled_module(model),
        )
        self.tokens_seen += len(texts.ids_F)
        self._counts.add_tokens(len(texts.ids_F))
        return loss / self.current_gradient_accumulation_steps

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of `PairCollator`, with its graph. Training goes another way, see `training_step`."""
        inputs = self._taught(inputs)
        sides = self._sides(inputs)
        texts = [texts_of(inputs, [side]) for side in sides]
        own = [self._embed(model, part, torch.arange(len(part), device=part.ids_F.device)) for part in texts]
        hashes = {side: gather_rows(self.accelerator, inputs[f"{side}_hash"])[0] for side in sides}
        loss, _ = self._loss(inputs, [self._everyones(own_ND) for own_ND in own], hashes)
        return (loss, dict(zip(sides, own, strict=False))) if return_outputs else loss

    def _taught(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with the teacher's embeddings of its texts, where there is a teacher."""
        if self._teacher is None:
            return inputs
        budget = self.args.mini_batch_tokens or UNTRAINED_TOKENS
        return {**inputs, _TEACHER: self._teacher.embed(texts_of(inputs, [TEXT]), budget)}

    def _loss(
        self, inputs: dict[str, Tensor], embeddings: Sequence[Tensor], hashes: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """The loss of the items of all processes, and the part of the text geometry in it, before its weight."""
        loss = batch_loss(self.args, embeddings, hashes)
        if _TEACHER not in inputs:
            return loss, loss.new_zeros(())
        teacher_ND = gather_rows(self.accelerator, inputs[_TEACHER])[0]
        geometry = geometry_loss(self.args, embeddings[0], teacher_ND, hashes)
        return loss + self.args.text_geometry_weight * geometry, geometry.detach()

    def _sides(self, inputs: dict[str, Tensor]) -> list[str]:
        """What is encoded, side after side: the unimodal loss looks at texts and codes twice."""
        if self.args.loss == "unimodal":
            return [TEXT, CODE, TEXT, CODE]
        if f"{NEGATIVE}_lengths" not in inputs:
            if self.accelerator.num_processes == 1:
                return [TEXT, CODE]
            # Another process may have some.
            inputs |= {f"{NEGATIVE}_{name}": inputs["text_lengths"][:0] for name in ("input_ids", "lengths", "hash")}
        return [TEXT, CODE, NEGATIVE]

    def _embed(self, model: nn.Module, texts: FlatTexts, texts_I: Tensor) -> Tensor:
        return embed_texts(model, texts, texts_I, self.pooling, self._pad_id, self.packed)

    def _idle(self, batches: int) -> int:
        """How many mini-batches fewer this process has than the one with most, where weights are sharded."""
        if not self.is_fsdp_enabled or self.accelerator.num_processes == 1:
            return 0
        counts = self.accelerator.gather(torch.tensor([batches], device=self.args.device))
        return int(counts.max()) - batches

    def _hold(self, model: nn.Module) -> AbstractContextManager:
        """Gradients stay in this process. In all but the last of accumulated batches the Trainer sees to it."""
        return self.accelerator.no_sync(model) if self.accelerator.sync_gradients else nullcontext()

    def _everyones(self, own_ID: Tensor) -> Tensor:
        """Embeddings of all processes, ours with their graph.

        All processes compute the same loss L of the same embeddings. Its gradient by the weights w is the sum over
        all embeddings e of dL/de de/dw, of which each process adds the terms of its own e. DDP and FSDP add up over
        the P processes and divide by P, which `training_step` makes up for. An all-gather with gradients would sum
        dL/de over the P equal losses, and so arrive at the same: P times as much, divided by P.
        """
        all_ID, start = gather_rows(self.accelerator, own_ID.detach())
        return torch.cat([all_ID[:start], own_ID, all_ID[start + len(own_ID) :]])

    def _differentiate(self, inputs: dict[str, Tensor], sides: list[str], items_MD: Tensor) -> tuple[Tensor, Tensor]:
        """The loss over the items of all processes, and its gradient by ours."""
        hashes = {side: gather_rows(self.accelerator, inputs[f"{side}_hash"])[0] for side in sides}
        with torch.enable_grad():
            items_MD.requires_grad_()
            parts = items_MD.split([len(inputs[f"{side}_lengths"]) for side in sides])
            embeddings = [self._everyones(part_ID) for part_ID in parts]
            loss, geometry = self._loss(inputs, embeddings, hashes)
            check_loss(loss, self.state.global_step)
            (gradient_MD,) = torch.autograd.grad(loss, items_MD)
        self._counts.add(parts[0].detach(), embeddings[1].detach(), hashes[TEXT], hashes[CODE])
        self._counts.add_geometry(geometry, len(parts[0]))
        return loss.detach(), gradient_MD

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what has been counted since the last log."""
        if "loss" in logs:
            counted = self._counts.take()
            logs |= {name: value for name, value in counted.items() if self._teacher or name != "text_geometry"}
        super().log(logs, start_time)
