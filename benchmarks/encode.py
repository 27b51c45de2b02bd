"""Texts to embeddings: `encode` against `SentenceTransformer.encode` and against padding to 1,024 tokens.

    python -m benchmarks.encode

Every peer has the same checkpoint (random weights: speed does not depend on them), the same functions of the standard
library with their real lengths, the same type and threads; tokenization is included.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from hub_cards import export_checkpoint
from modeling_coderep import CodeRepConfig, CodeRepModel
from trainers.checkpoints import save_model

from .common import (
    arguments,
    code_tokenizer,
    fast_in_bfloat16,
    matmul_rate,
    measure,
    report,
    sample_functions,
    stdlib_modules,
)

SMALL_BATCH = 8  # kinder to CPU caches than sentence-transformers' default
PADDED = 1024  # tokens that the published evaluation script pads code to


def forward_flops(config: CodeRepConfig, lengths: list[int]) -> int:
    """Floating-point operations of the matrix products and attention for texts of these lengths, without padding."""
    per_token = (
        2 * config.num_hidden_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)
    )
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return sum(length * per_token + length**2 * attention for length in lengths)


def encode_padded(model: CodeRepModel, tokenizer: object, texts: list[str], batch_size: int) -> np.ndarray:
    """The way of the published evaluation script: every text padded to 1,024 tokens, batches in the order given."""
    embeddings = []
    for start in range(0, len(texts), batch_size):
        batch = tokenizer(
            texts[start : start + batch_size],
            padding="max_length",
            truncation=True,
            max_length=PADDED,
            return_tensors="pt",
        ).to(model.device)
        with torch.no_grad():
            embeddings.append(
                model(batch["input_ids"], attention_mask=batch["attention_mask"]).pooler_output.float().cpu()
            )
    return torch.cat(embeddings).numpy()


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--functions", type=int, default=192, help="functions to encode")
    parser.add_argument("--padded-functions", type=int, default=48, help="functions for the padded peer, which is slow")
    parser.add_argument("--attention", default="sdpa", help="attention implementation of every peer")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    dtype = getattr(torch, args.dtype)
    if dtype == torch.bfloat16 and not fast_in_bfloat16(args.device):
        raise SystemExit("this processor has no fast bfloat16: its matrix products are slower than in float32.")
    modules = stdlib_modules()
    tokenizer = code_tokenizer(modules, vocab_size=16_384, model_max_length=PADDED)
    texts = sample_functions(modules, args.functions)
    few = texts[: args.padded_functions]
    config = CodeRepConfig.from_preset(args.preset)
    with tempfile.TemporaryDirectory() as folder:
        save_model(CodeRepModel(config), tokenizer, Path(folder, "model"))
        export_checkpoint(Path(folder, "model"), Path(folder, "export"))
        how = {"dtype": dtype, "attn_implementation": args.attention}
        model = AutoModel.from_pretrained(Path(folder, "export"), **how).to(args.device).eval()
        tokenizer = AutoTokenizer.from_pretrained(Path(folder, "export"))
        peer = SentenceTransformer(str(Path(folder, "export")), device=args.device, model_kwargs=how)
        peer.max_seq_length = PADDED
        tolerance = 1e-4 if dtype == torch.float32 else 5e-2
        mine, theirs = model.encode(few, max_length=PADDED), peer.encode(few)
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(mine, encode_padded(model, tokenizer, few, 4), rtol=tolerance, atol=tolerance)
        medians = measure(
            {
                "coderep encode": lambda: model.encode(texts, max_length=PADDED),
                "sentence-transformers encode": lambda: peer.encode(texts),
                f"the same, batches of {SMALL_BATCH}": lambda: peer.encode(texts, batch_size=SMALL_BATCH),
            },
            args.rounds,
            args.device,
        )
        padded = measure(
            {
                "coderep encode": lambda: model.encode(few, max_length=PADDED),
                f"padded to {PADDED}": lambda: encode_padded(model, tokenizer, few, 4),
            },
            args.rounds,
            args.device,
        )
    lengths = [len(row) for row in tokenizer(texts, truncation=True, max_length=PADDED)["input_ids"]]
    rate = matmul_rate(dtype, args.device, hidden=config.hidden_size)
    ours, theirs, theirs_small = medians.values()
    ours_few, padded_few = padded.values()
    flops = forward_flops(config, lengths) / ours
    report(
        f"encode, {args.preset}, {args.dtype}, {args.device}",
        ["peer", "functions/s", "tokens/s", "coderep is faster by"],
        [
            ["coderep `encode`", f"{len(texts) / ours:.1f}", f"{sum(lengths) / ours:,.0f}", ""],
            [
                "`SentenceTransformer.encode`",
                f"{len(texts) / theirs:.1f}",
                f"{sum(lengths) / theirs:,.0f}",
                f"{theirs / ours:.2f}x",
            ],
            [
                f"the same, batches of {SMALL_BATCH} instead of 32",
                f"{len(texts) / theirs_small:.1f}",
                f"{sum(lengths) / theirs_small:,.0f}",
                f"{theirs_small / ours:.2f}x",
            ],
            [
                f"padded to {PADDED} ({len(few)} functions)",
                f"{len(few) / padded_few:.1f}",
                "",
                f"{padded_few / ours_few:.2f}x",
            ],
        ],
        [
            f"{len(texts)} functions, {min(lengths)} to {max(lengths)} tokens, {sum(lengths) / len(lengths):.0f} on "
            f"average; medians of {args.rounds} rounds.",
            f"Share of the machine's own matrix-product rate ({rate / 1e9:.0f} GFLOP/s): {100 * flops / rate:.0f} % "
            f"({flops / 1e9:.0f} GFLOP/s, tokenization included).",
        ],
        args.output,
    )


if __name__ == "__main__":
    main()
