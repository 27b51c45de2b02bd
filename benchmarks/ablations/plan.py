"""What a grid runs: its recipes, one a variant, and the arguments of every run.

Without a checkpoint to start from it is a grid of stage 1, with one of stage 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trainers
from trainers.arguments import ContrastiveArguments, MlmArguments, StageArguments
from trainers.command_line import build_arguments, read_recipe
from trainers.evaluation import RetrievalSet
from trainers.evaluation.protocols import Protocol
from trainers.evaluation.scorers import BM25

RECIPES = Path(trainers.__file__).parent / "recipes" / "ablations"
CONTRASTIVE_RECIPES = RECIPES / "contrastive"
VARIANTS = ("random", "dobf", "sequential", "parallel", "parallel_80_10_10", "random_80_10_10")
UNTRAINED, START = "untrained", "start"
REFERENCES = (BM25, UNTRAINED, START)
FILTERED, TRUNCATED = "filtered", ("both_mean", "matryoshka")


@dataclass(frozen=True)
class Grid:
    """What is run, and on what.

    Args:
        recipes: Variant -> its recipe.
        seeds: Seeds of each variant.
        data: Stage-1 data set; pairs for stage 2.
        tokenizer: Tokenizer folder; None: that of `start`.
        sets: What checkpoints are evaluated on.
        protocol: How.
        output: Folder of everything that the grid makes.
        steps: Training steps instead of the recipes' own.
        usual_steps: Steps that `steps` replaces, in proportion where a recipe has others; None: in every recipe.
        start: Checkpoint that all runs start from, which makes it a grid of stage 2.
        dropout: What it has.
        filtered: Pairs that the variant `FILTERED` takes instead.
        dims: The variants of `TRUNCATED` are also evaluated by so many first dimensions.
    """

    recipes: Mapping[str, dict[str, Any]]
    seeds: Sequence[int]
    data: str
    tokenizer: str | None
    sets: Sequence[RetrievalSet]
    protocol: Protocol
    output: Path
    steps: int | None = None
    usual_steps: int | None = None
    start: str | None = None
    dropout: float = 0.0
    filtered: str | None = None
    dims: Sequence[int] = ()

    def arguments(self, variant: str, seed: int) -> StageArguments:
        """Arguments of a run."""
        recipe = self.recipes[variant]
        given = {"data": self.data_of(variant), "tokenizer": self.tokenizer, "seed": seed}
        given |= {"output_dir": str(self.output / run_name(variant, seed))}
        given |= {"model": self.start} if self.start else {}
        if self.steps is not None:
            share = recipe["max_steps"] / self.usual_steps if self.usual_steps else 1
            given["max_steps"] = max(1, round(self.steps * share))
        arguments_class = ContrastiveArguments if self.start else MlmArguments
        return build_arguments(arguments_class, {**recipe, **given}, f"the recipe of {variant}")

    def data_of(self, variant: str) -> str:
        """The data set of a variant."""
        return self.filtered if variant == FILTERED and self.filtered else self.data


def run_name(variant: str, seed: int) -> str:
    """Name of a run's folder and record."""
    return f"{variant}-seed{seed}"


def read_recipes(
    folder: str | Path = RECIPES,
    variants: Sequence[str] | None = None,
    section: str = "mlm",
    order: Sequence[str] = VARIANTS,
) -> dict[str, dict[str, Any]]:
    """Recipes of a folder by name: those that are asked for, else all, ours in the order of the table.

    Raises:
        FileNotFoundError: The folder has no recipe, or not one that is asked for.
        ValueError: A name is taken by a reference model, or a recipe is torn.
    """
    found = sorted(path.stem for path in Path(folder).glob("*.yaml"))
    if not found:
        raise FileNotFoundError(f"{str(folder)!r} holds no recipe. Name a folder of YAML files, one a variant.")
    chosen = list(dict.fromkeys(variants or [*(v for v in order if v in found), *(v for v in found if v not in order)]))
    for name in chosen:
        if name in REFERENCES:
            raise ValueError(f"{name!r} is a reference that every grid has. Give the recipe another name.")
        if name not in found:
            raise FileNotFoundError(f"{str(folder)!r} has no variant {name!r}. It has {', '.join(found)}.")
    return {name: read_recipe(Path(folder, f"{name}.yaml"), section) for name in chosen}
