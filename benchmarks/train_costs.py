"""What stage 1 costs at the paper's sizes: memory of each accelerator and time, worked out from shapes.

python -m benchmarks.train_costs [--tflops 989] [--mfu 0.4]

Units: bytes, FLOPs of a forward and a backward pass. D = hidden units, T = tokens of a row, V = vocabulary.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

from modeling_coderep import CodeRepConfig, CodeRepForMaskedLM

STEPS, ROWS, TOKENS, PREDICTED = 250_000, 2048, 1024, 0.15  # the paper's run; predicted tokens are 15 % about
LAYOUTS = {"small": (16, 32), "base": (32, 16), "large": (64, 8)}  # accelerators, rows of each: the recipes'


def weights_of(config: CodeRepConfig) -> tuple[int, int]:
    """Weights of the model, and of its layers and head without embeddings and their tied projection."""
    with torch.device("meta"):
        model = CodeRepForMaskedLM(config)
    layers = [*model.encoder.layers.parameters(), *model.head.parameters()]
    return sum(w.numel() for w in model.parameters()), sum(w.numel() for w in layers)


def state_bytes(weights: int, processes: int = 1, largest: int = 0) -> float:
    """Float32 weights, gradients and AdamW's two moments; with `processes`, in as many pieces (FSDP2).

    Besides, copies keep gradients once more in buckets (DDP) and, under autocast, the weights in bfloat16; shards
    gather two blocks of weights at a time, the largest of which has `largest` weights, with gradients.
    """
    if processes == 1:
        return weights * (4 + 4 + 8 + 4 + 2)
    return weights * (4 + 4 + 8) / processes + 2 * largest * (4 + 2 + 4)


def activation_bytes(config: CodeRepConfig, tokens: int) -> float:
    """What layers keep for the backward pass under bfloat16 autocast, with fused attention; and the logits.

    A layer, in bytes for a unit of a token: the inputs of both norms (4 each), what they give (2 each), query, key and
    value (6), attention's result (2), and two dropout masks (2); before and after the activation 2 for each unit of
    the feed-forward block. A predicted token has logits in bfloat16 and float32, and their gradient.
    """
    width, inner = config.hidden_size, config.intermediate_size
    layer = 22 * width + 4 * inner
    logits = PREDICTED * config.vocab_size * (2 + 4 + 4)
    return tokens * (config.num_hidden_layers * layer + logits)


def flops_of_a_token(config: CodeRepConfig, document: int = TOKENS) -> float:
    """6 for each weight of layers and head, 12 D for each attended token and layer, and the predicted logits."""
    _, inside = weights_of(config)
    attention = 12 * config.num_hidden_layers * config.hidden_size * document
    return 6 * inside + attention + 6 * PREDICTED * config.hidden_size * config.vocab_size


def main(argv: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tflops", type=float, default=989, help="an accelerator's peak in bfloat16, dense (H100 SXM)")
    parser.add_argument("--mfu", type=float, default=0.4, help="share of the peak that training reaches")
    args = parser.parse_args(argv)
    print(
        "| size | weights, M | rows on each | states, copies | states, sharded | activations | sum, copies | sharded |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for size, (accelerators, rows) in LAYOUTS.items():
        config = CodeRepConfig.from_preset(size)
        weights, _ = weights_of(config)
        embedding = config.hidden_size * config.vocab_size
        copies, shards = state_bytes(weights), state_bytes(weights, accelerators, embedding)
        kept = activation_bytes(config, rows * TOKENS)
        numbers = [copies, shards, kept, copies + kept, shards + kept]
        print(f"| {size} | {weights / 1e6:.0f} | {rows} | " + " | ".join(f"{n / 1e9:.1f}" for n in numbers) + " |")
    print("\n| size | GFLOP a token | run, FLOP | accelerators | accelerator-hours | days |")
    print("|---|---:|---:|---:|---:|---:|")
    for size, (accelerators, _) in LAYOUTS.items():
        flops = flops_of_a_token(CodeRepConfig.from_preset(size))
        run = flops * STEPS * ROWS * TOKENS
        hours = run / (args.tflops * 1e12 * args.mfu) / 3600
        days = hours / accelerators / 24
        print(f"| {size} | {flops / 1e9:.2f} | {run:.2e} | {accelerators} | {hours:,.0f} | {days:.1f} |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
