"""Training stops at a loss or gradient that is not a number, before it reaches the weights."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_ADVICE = "Lower the learning rate, raise warmup_steps or check the data; the last checkpoint is intact."


def check_loss(loss: Tensor, step: int) -> None:
    """Refuse a loss that is no number.

    Raises:
        FloatingPointError: It is NaN or infinite.
    """
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss.item()} at step {step}. {_ADVICE}")


class StopAtBadGradient(TrainerCallback):
    """Stops before a gradient that is not a number reaches the weights and the optimizer's moments."""

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object
    ) -> None:
        """Called with gradients clipped.

        Raises:
            FloatingPointError: A gradient is NaN or infinite.
        """
        if args.fp16:
            return  # the loss scaler expects such gradients, skips the step and lowers its scale
        gradients = [weight.grad for weight in kwargs["model"].parameters() if weight.grad is not None]
        # Of sharded gradients each process looks at its own part; clipping has spread what is bad to all.
        gradients = [gradient.to_local() if hasattr(gradient, "to_local") else gradient for gradient in gradients]
        if gradients and not torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all():
            raise FloatingPointError(f"a gradient is not a number at step {state.global_step}. {_ADVICE}")
