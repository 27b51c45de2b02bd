"""ONNX in float32 and int8 against torch: speed, size, and what int8 costs in retrieval.

    make demo
    python -m benchmarks.onnx demo/checkpoint --data demo/data/pairs

Quality is the MRR on the held-out pairs of the data folder (`coderep eval retrieval`, protocol raw) and the mean cosine
between the embeddings of torch and ONNX. Weights must be trained ones: quantising random weights says nothing.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

from data_collators.builders.store import load_split
from hub_cards import export_onnx
from hub_cards.onnx_export import FLOAT32, INT8
from trainers.encode import load_encoder
from trainers.evaluation.ranking import Relevance, mean, reciprocal_ranks, relevant_ranks
from trainers.onnx_encoder import OnnxEncoder

from .common import arguments, measure, report


def main() -> None:
    """Run the benchmark and print its table."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("checkpoint", help="checkpoint folder with trained weights")
    parser.add_argument("--data", required=True, help="folder made by `coderep data pairs`")
    parser.add_argument("--max-length", type=int, default=256, help="tokens read of each text")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = load_split(args.data, "test")
    texts, codes = rows["text"][:], rows["code"][:]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(args.checkpoint, Path(temporary, "checkpoint")))
        export_onnx(folder)
        encoders = {
            "torch": load_encoder(folder),
            "ONNX": OnnxEncoder(folder, FLOAT32, args.threads),
            "ONNX int8": OnnxEncoder(folder, INT8, args.threads),
        }
        files = {"torch": folder / "model.safetensors", "ONNX": folder / FLOAT32, "ONNX int8": folder / INT8}
        sizes = {name: path.stat().st_size / 1e6 for name, path in files.items()}
        vectors = {name: encoder.encode(codes, max_length=args.max_length) for name, encoder in encoders.items()}
        seconds = measure(
            {
                name: lambda encoder=encoder: encoder.encode(codes, max_length=args.max_length)
                for name, encoder in encoders.items()
            },
            args.rounds,
        )
        table = []
        own = Relevance.from_dicts([{place: 1.0} for place in range(len(codes))])
        for name, encoder in encoders.items():
            queries_ND = encoder.encode(texts, max_length=args.max_length)
            mrr, _ = mean(reciprocal_ranks(relevant_ranks(queries_ND @ vectors[name].T, own), own))
            cosine = float(np.mean(np.sum(vectors["torch"] * vectors[name], axis=1)))
            table.append(
                [
                    name,
                    f"{sizes[name]:.1f}",
                    f"{len(codes) / seconds[name]:.0f}",
                    f"{seconds['torch'] / seconds[name]:.2f}x",
                    f"{100 * mrr:.2f}",
                    f"{cosine:.4f}",
                ]
            )
    report(
        f"ONNX, {Path(args.checkpoint).name}",
        ["", "size, MB", "functions/s", "faster by", "MRR, %", "cosine to torch"],
        table,
        [f"{len(codes)} held-out functions of at most {args.max_length} tokens; medians of {args.rounds} rounds."],
        args.output,
    )


if __name__ == "__main__":
    main()
