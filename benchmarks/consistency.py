"""Where the time of the consistency filter goes: the encoder, and everything else.

    python -m benchmarks.consistency --pairs PAIRS

The filter runs as `coderep data consistency` does it: it reads pairs, compares each with every code of the pool, and
writes. Of the texts of each call to the encoder a random share alone is encoded, the others get random embeddings, and
the encoder's time is that of the share, scaled up by the characters read. So what is outside the encoder takes its
whole time, at the whole size of the pool, without the hours that the encoder would take.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.consistency import filter_consistency
from trainers.evaluation.embedders import Embedder, EncoderEmbedder
from trainers.evaluation.loaders import load_embedder
from trainers.filtering.options import PoolOptions

from .common import arguments, report
from .train_contrastive import stdlib_pairs, write_model

CHARACTERS_PER_TOKEN = 3.5  # of code; what lies beyond the longest text in tokens is not read


class SampledEmbedder:
    """An embedder that encodes a share of the texts of each call, and draws the embeddings of the others.

    `seconds` is what encoding all of them would have taken, `spent` what this took, drawing included.
    """

    def __init__(self, embedder: Embedder, share: float) -> None:
        self.name, self.fingerprint = embedder.name, f"{embedder.fingerprint} {share}"
        self.changes = (*embedder.changes, f"{share} encoded")
        self.model = embedder.encoder.model if isinstance(embedder, EncoderEmbedder) else embedder.model
        self._embedder, self._share, self._rng = embedder, share, np.random.default_rng(0)
        self.seconds = self.spent = 0.0
        self.texts = 0

    def encode(self, texts: Sequence[str], *, max_length: int, kind: str) -> np.ndarray:
        """Embeddings_ND of length 1."""
        began = time.perf_counter()
        count = min(len(texts), max(1, round(self._share * len(texts))))
        chosen = np.sort(self._rng.choice(len(texts), count, replace=False))
        sample = [texts[row] for row in chosen]
        found_ND = self._embedder.encode(sample, max_length=max_length, kind=kind)
        taken = time.perf_counter() - began
        embeddings_ND = self._rng.standard_normal((len(texts), found_ND.shape[1]), dtype=np.float32)
        embeddings_ND /= np.linalg.norm(embeddings_ND, axis=1, keepdims=True)
        embeddings_ND[chosen] = found_ND
        self.seconds += taken * read(texts, max_length) / read(sample, max_length)
        self.spent += time.perf_counter() - began
        self.texts += len(texts)
        return embeddings_ND


def read(texts: Sequence[str], max_length: int) -> float:
    """About how many characters of some texts are read; one more of each stands for what each costs."""
    return sum(1 + min(len(text), CHARACTERS_PER_TOKEN * max_length) for text in texts)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options.

    Raises:
        SystemExit: One is out of range.
    """
    parser = arguments(__doc__.splitlines()[0], rounds=1)
    parser.set_defaults(preset="mini")
    parser.add_argument("--model", help="checkpoint of the encoder; default: random weights of --preset")
    parser.add_argument("--pairs", help="pairs, as `coderep data consistency` takes them; default: the library's")
    parser.add_argument("--pool", type=int, default=PoolOptions.pool, help="codes that each text is compared with")
    parser.add_argument("--length", type=int, default=PoolOptions.max_code_length, help="tokens read of a code")
    parser.add_argument("--share", type=float, default=0.05, help="share of the texts that is encoded")
    args = parser.parse_args(argv)
    if not 0 < args.share <= 1:
        parser.error(f"--share must lie in (0, 1], got {args.share}. 1 encodes everything.")
    return args


def one_round(args: argparse.Namespace, embedder: Embedder, pairs: str, folder: Path) -> dict[str, Any]:
    """The filter over all pairs: seconds inside and outside the encoder."""
    sampled = SampledEmbedder(embedder, args.share)
    options = PoolOptions(pool=args.pool, max_code_length=args.length)
    began = time.perf_counter()
    stats = filter_consistency(sampled, pairs, folder / "filtered", options=options)
    elsewhere = time.perf_counter() - began - sampled.spent
    rows = stats["consistency"]["kept"] + stats["consistency"]["dropped"]
    return {"rows": rows, "texts": sampled.texts, "encoder": sampled.seconds, "elsewhere": elsewhere}


def main() -> None:
    """Run the benchmark and print its table."""
    args = parse()
    torch.set_num_threads(args.threads)
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.pairs is None:
            lines = (json.dumps(row) for row in stdlib_pairs())
            Path(folder, "pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if args.model is None:
            write_model(args.preset, folder, args.length)
        embedder = load_embedder(args.model or folder / "model", dtype=args.dtype, device=args.device)
        for round_ in range(1, args.rounds + 1):
            (folder / str(round_)).mkdir()
            rounds.append(one_round(args, embedder, args.pairs or str(folder / "pairs.jsonl"), folder / str(round_)))
            print(f"round {round_} of {args.rounds}: {rounds[-1]['elsewhere']:.1f} s outside the encoder", flush=True)
    run = sorted(rounds, key=lambda round_: round_["elsewhere"])[len(rounds) // 2]
    rows, whole = run["rows"], run["encoder"] + run["elsewhere"]
    report(
        f"consistency filter, {Path(args.model).name if args.model else args.preset}, {args.dtype}, {args.device}",
        ["", "seconds", "share", "ms a pair"],
        [
            [title, f"{run[name]:,.1f}", f"{100 * run[name] / whole:.1f} %", f"{1000 * run[name] / rows:.2f}"]
            for name, title in (("encoder", "in the encoder"), ("elsewhere", "outside"))
        ],
        [
            f"{rows:,} pairs against {min(args.pool, rows):,} codes; {run['texts']:,} texts and codes, codes cut at "
            f"{args.length} tokens. {100 * args.share:g} % of them were encoded, the encoder's time is scaled up."
        ],
        args.output,
    )


if __name__ == "__main__":
    main()
