"""Averages of the weights of checkpoints that share an architecture and a start.

Between a general encoder and what fine-tuning made of it lie models that keep most of what the one knew and most of
what the other learned (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903); checkpoints of one training averaged do as a
learning rate that has come down (model soups, arXiv 2203.05482; LAWA, arXiv 2209.14981). Neither costs anything later.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from data_collators.files import claim_folder

from .encode import load_encoder
from .finished import CLAIM, MODEL, save_finished
from .progress import quiet_bars
from .records import RunRecord
from .sentence_folder import read_sentence_folder


def average_weights(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """The sum of `shares[i] * states[i]`, entry by entry, in the type of the first; whole numbers are the first's.

    Raises:
        ValueError: The states do not have the same entries of the same shapes.
    """
    first = states[0]
    for state in states[1:]:
        differing = first.keys() ^ state.keys() or {name for name in first if first[name].shape != state[name].shape}
        if differing:
            raise ValueError(
                f"the models differ in {len(differing)} weights, {sorted(differing)[0]!r} for one. "
                "Only models of one architecture and one vocabulary can be averaged."
            )

    def mean(name: str) -> Tensor:
        if not first[name].is_floating_point():
            return first[name]
        total = sum(share * state[name].double() for share, state in zip(shares, states, strict=True))
        return total.to(first[name].dtype)

    return {name: mean(name) for name in first}


def check_shares(shares: Sequence[float] | None, models: int) -> list[float]:
    """The share of each model; equal ones where none are given.

    Raises:
        ValueError: There are fewer than two models, another number of shares, or shares that do not sum to 1.
    """
    if models < 2:
        raise ValueError(f"averaging takes at least two models, got {models}.")
    if shares is None:
        return [1 / models] * models
    if len(shares) != models:
        raise ValueError(f"{models} models need {models} shares, got {len(shares)}.")
    if any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must not be negative and must sum to 1, got {list(shares)}, sum {sum(shares):g}.")
    return list(shares)


def check_vocabularies(vocabularies: Sequence[Mapping[str, int]]) -> None:
    """Refuse models whose rows of embeddings belong to different tokens.

    Raises:
        ValueError: There are such.
    """
    for number, vocabulary in enumerate(vocabularies[1:], start=2):
        if vocabulary != vocabularies[0]:
            raise ValueError(
                f"model {number} has another vocabulary than the first. Only models of one vocabulary can be averaged."
            )


def average_models(models: Sequence[str | Path], output: str | Path, shares: Sequence[float] | None = None) -> Path:
    """Average encoders; returns the folder of the result, laid out as a run's, tokenizer and settings from the first.

    Args:
        models: Checkpoint folders or Hub repos.
        output: Folder to write: `model` and the record `run.json`.
        shares: What each model counts; equal shares if None.

    Raises:
        FileNotFoundError: One is no checkpoint.
        FileExistsError: The output folder holds something else.
        ValueError: The models or the shares do not fit each other.
    """
    shares, started, output = check_shares(shares, len(models)), time.monotonic(), Path(output)
    with torch.no_grad():
        encoders = [load_encoder(model, device="cpu") for model in models]  # not every accelerator has float64
        check_vocabularies([encoder.tokenizer.get_vocab() for encoder in encoders])
        weights = average_weights([encoder.model.state_dict() for encoder in encoders], shares)
    recipe = {"models": [str(model) for model in models], "shares": shares}
    # The card traces the last one's training; by custom that is the one that was trained.
    claim_folder(output, CLAIM, {"stage": "weight averaging", "model": str(models[-1]), **recipe})
    first = encoders[0]
    record = RunRecord.without_data(recipe, started, first.model.num_parameters())
    save_finished(first.model, first.tokenizer, output, record, folder=read_sentence_folder(models[0]), weights=weights)
    return output / MODEL


def main(argv: list[str]) -> int:
    """`coderep train average`."""
    parser = argparse.ArgumentParser(
        prog="coderep train average",
        description="Average the weights of encoders: of a general one and what fine-tuning made of it, or of the "
        "checkpoints of one training. Tokenizer and settings are the first one's.",
    )
    parser.add_argument("models", nargs="+", help="checkpoint folders or Hub repos, the trained one last")
    parser.add_argument("--shares", nargs="+", type=float, help="what each counts, summing to 1 (default: equal)")
    parser.add_argument("--output", required=True, help="folder to write")
    args = parser.parse_args(argv)
    quiet_bars()
    print(average_models(args.models, args.output, args.shares))  # noqa: T201
    return 0
