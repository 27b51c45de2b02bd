"""Gradient caching (GradCache, Gao et al. 2021, arXiv 2101.06983): a loss over a whole batch, a mini-batch at a time.

A contrastive loss compares all items of a batch, but how it depends on the weights splits up by items: once the
gradient of the loss by each embedding is known, each mini-batch can be encoded and sent back on its own.

1. Every mini-batch is encoded without a graph; the state of random numbers before it is remembered.
2. The loss of all embeddings, and its gradient by each of them.
3. Every mini-batch again, from the same state of random numbers (so with the same dropout), this time with a graph, and
   the gradient of 2 sent through it.

The last mini-batches of 1 can keep their graphs, which spares encoding them again. One that does costs no memory, since
3 has the graph of one mini-batch in memory as well. If all do, it is a plain step.

Shape suffixes: M = items of the batch, I = items of a mini-batch, D = embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """State of the random numbers of the CPU and, if it is another, of the device in use."""
    states = [torch.get_rng_state()]
    return states if device.type == "cpu" else [*states, torch.get_device_module(device).get_rng_state()]


def restore_random_state(states: Sequence[Tensor], device: torch.device) -> None:
    """Go back to what `random_state` gave."""
    torch.set_rng_state(states[0])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[1])


def embed_all(embed: Callable[[Tensor], Tensor], batches: Sequence[Tensor], idle: int = 0) -> Tensor:
    """Embeddings_MD of all items without a graph; see `cached_backward` for the arguments."""
    with torch.no_grad():
        for _ in range(idle):
            embed(batches[-1][-1:])
        return _in_order([embed(batch_I) for batch_I in batches], batches)


def cached_backward(
    embed: Callable[[Tensor], Tensor],
    batches: Sequence[Tensor],
    differentiate: Callable[[Tensor], tuple[Tensor, Tensor]],
    backward: Callable[[Tensor], None],
    *,
    device: torch.device,
    kept: int | None = 1,
    idle: int = 0,
    hold: Callable[[], AbstractContextManager] = nullcontext,
    same_code: bool = False,
) -> Tensor:
    """Loss of all items, without a graph; its gradient by the weights is added to theirs.

    Args:
        embed: Encodes items: from their numbers_I to embeddings_ID.
        batches: Numbers from 0 to M - 1 of the items of each mini-batch; each item is in exactly one.
        differentiate: From embeddings_MD, which have no graph, to the loss and its gradient_MD by them.
        backward: Called with numbers whose gradients by the weights add up to the loss's, one for each graph.
        device: Where the model is.
        kept: How many of the last mini-batches keep their graphs; None: all.
        idle: How many times to encode an item for nothing: where the model is sharded, a process with fewer
            mini-batches than another must run the model as often.
        hold: Makes the context in which gradients stay in this process, for all but the last call of `backward`.
        same_code: Make graphs in 1 as well, and drop them at once: a compiled model is compiled once, not a second time
            for running without, and nothing depends on both drawing the same random numbers.
    """
    order = [batches[-1][-1:]] * idle + list(batches)
    first_kept = 0 if kept is None else max(len(order) - kept, 0)
    states, outputs = [], []
    with nullcontext() if first_kept == 0 else hold():
        for number, batch_I in enumerate(order):
            states.append(random_state(device))
            with torch.set_grad_enabled(number >= first_kept or same_code):
                output_ID = embed(batch_I)
            outputs.append(output_ID if number >= first_kept else output_ID.detach())
            del output_ID
    after = random_state(device)
    embeddings_MD = _in_order([output.detach() for output in outputs[idle:]], batches)
    del outputs[:first_kept]  # the loss is the moment of most memory in a large batch
    loss, gradient_MD = differentiate(embeddings_MD)
    del embeddings_MD

    def share(number: int, output_ID: Tensor) -> Tensor:
        """A number whose gradient by the weights is what this mini-batch adds to the loss's."""
        product = (output_ID.to(gradient_MD.dtype) * gradient_MD[order[number]]).sum()
        return product * 0 if number < idle else product

    # Kept graphs go first, and all at once: they take memory, and DDP counts each weight's gradient once a call.
    kept_share = sum(share(number, outputs.pop()) for number in reversed(range(first_kept, len(order))))
    if first_kept < len(order):
        with nullcontext() if first_kept == 0 else hold():
            backward(kept_share)
    del kept_share
    for number in range(first_kept):
        with nullcontext() if number == first_kept - 1 else hold():
            restore_random_state(states[number], device)
            with torch.enable_grad():
                backward(share(number, embed(order[number])))
    restore_random_state(after, device)
    return loss


def _in_order(parts: Sequence[Tensor], batches: Sequence[Tensor]) -> Tensor:
    joined_MD = torch.cat(list(parts))
    embeddings_MD = torch.empty_like(joined_MD)
    embeddings_MD[torch.cat(list(batches))] = joined_MD
    return embeddings_MD
