"""HF's Trainer for stage 1: one loss for any masked LM, told for each objective and language; it stops at NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from data_collators import FoldMaskingCollator
from data_collators.mixed_masking import OBJECTIVES

from .finite import StopAtBadGradient, check_loss
from .held_out import evaluation_rows
from .hub_push import PushesExport
from .perplexity import GROUPS, is_ours, perplexities, summed_losses, token_losses


class MlmTrainer(PushesExport, Trainer):
    """HF's Trainer for stage 1, with the loss of each objective and language in the logs.

    The loss is summed over predicted tokens and divided by their number in the whole (accumulated, gathered) batch, for
    any masked LM, so that processes and accumulation steps change nothing. Training stops when loss or gradient
    is not a number. `evaluate` gives the pseudo-perplexity of each language on `eval_dataset`. Data sets whose items
    are whole batches (`padded_tokens`) are loaded item by item.

    `tokens_seen` counts the tokens that this process has trained on, without padding.

    Args:
        model: A masked LM.
        args: Hugging Face's arguments, or `MlmArguments`.
        languages: Names that the collator's `language_ids` count.
        eval_collator: Masks `eval_dataset` part by part.
        **kwargs: `Trainer`'s.

    Raises:
        ValueError: `label_smoothing_factor` is set.
    """

    tokens_seen = 0

    def __init__(
        self,
        model: nn.Module | None = None,
        args: TrainingArguments | None = None,
        *,
        languages: Sequence[str] = (),
        eval_collator: FoldMaskingCollator | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, args, **kwargs)
        if self.args.label_smoothing_factor:
            raise ValueError("label_smoothing_factor has no place in stage 1. Leave it out.")
        self.args.remove_unused_columns = False  # the collator takes columns that no model knows
        # `compute_loss` divides by the predicted tokens of the whole batch, whatever the model does.
        self.model_accepts_loss_kwargs = True
        self.languages, self._eval_collator = list(languages), eval_collator
        exact = torch.float32 if self.args.device.type == "mps" else torch.float64
        groups = len(OBJECTIVES) + len(self.languages)
        self._sums_G2 = torch.zeros(groups, 2, dtype=exact, device=self.args.device)
        self.add_callback(StopAtBadGradient())

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The masked-LM loss of a batch of `MixedMaskingCollator`.

        Raises:
            FloatingPointError: The loss is NaN or infinite.
        """
        groups = {name: inputs[name] for name in GROUPS if name in inputs}
        inputs = {name: value for name, value in inputs.items() if name not in GROUPS}
        predicted_BT = inputs["labels"] != -100
        if is_ours(self.accelerator.unwrap_model(model)):
            loss, outputs = super().compute_loss(model, {**inputs, "all_logits": False}, return_outputs=True, **kwargs)
            with torch.no_grad():
                losses_P = token_losses(outputs.logits.detach(), inputs["labels"][predicted_BT]) if groups else None
        else:
            outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
            losses_P = token_losses(outputs.logits[predicted_BT], inputs["labels"][predicted_BT])
            loss = self._over_whole_batch(losses_P, **kwargs)
        check_loss(loss, self.state.global_step)
        if groups and model.training:
            self.tokens_seen += int((groups["language_ids"] >= 0).sum())
            self._add_up(losses_P.detach(), {name: ids_BT[predicted_BT] for name, ids_BT in groups.items()})
        return (loss, outputs) if return_outputs else loss

    def _over_whole_batch(self, losses_P: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
        if num_items_in_batch is None:
            return losses_P.sum() / max(losses_P.numel(), 1)
        # Processes average their gradients, so each counts its share as often as there are processes.
        processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
        return losses_P.sum() * processes / torch.as_tensor(num_items_in_batch, device=losses_P.device).clamp(min=1)

    def _add_up(self, losses_P: Tensor, groups: dict[str, Tensor]) -> None:
        pairs_P2 = torch.stack([losses_P, torch.ones_like(losses_P)], dim=1).to(self._sums_G2)
        self._sums_G2.index_add_(0, groups["objective_ids"], pairs_P2)
        if self.languages:
            self._sums_G2.index_add_(0, groups["language_ids"] + len(OBJECTIVES), pairs_P2)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the losses since the last log: `loss_random`, `loss_dobf`, `loss_<language>`, and tokens of each."""
        if "loss" in logs:
            sums = self.accelerator.reduce(self._sums_G2.clone(), "sum").tolist()
            self._sums_G2.zero_()
            for name, (loss, tokens) in zip([*OBJECTIVES, *self.languages], sums, strict=True):
                if tokens and name:
                    logs |= {f"loss_{name}": loss / tokens, f"predicted_{name}": tokens}
        super().log(logs, start_time)

    def get_train_dataloader(self) -> DataLoader:
        """As `Trainer`'s, item by item where an item is a whole batch."""
        size = self._train_batch_size
        if getattr(self.train_dataset, "whole_batches", False):
            self._train_batch_size = 1
        loader = super().get_train_dataloader()
        self._train_batch_size = size
        return loader

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Pseudo-perplexity of each language on packed held-out rows; see `perplexity`.

        Raises:
            ValueError: There is no evaluation data.
        """
        rows = evaluation_rows(eval_dataset, self.eval_dataset, self._eval_collator)
        size = 1 if rows.whole_batches else self.args.per_device_eval_batch_size
        training = self.model.training
        self.model.eval()
        share = self.accelerator.process_index, self.accelerator.num_processes
        sums_L2 = summed_losses(self.model, rows, self._eval_collator, size, share)
        self.model.train(training)
        sums_L2 = self.accelerator.reduce(sums_L2.to(self._sums_G2), "sum").cpu()
        metrics = perplexities(sums_L2, rows.languages, metric_key_prefix)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
