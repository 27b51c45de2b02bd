"""Functions of two languages, or of two repositories, that are described alike: pairs of code and code.

Two functions are a pair if each has the nearest summary of the other's language to the other's own, by the cosine of a
model's embeddings. Neighbours that are nearest both ways are the usual test for translations in two corpora
(arXiv 1811.01136 has it with margins).

Shape suffixes: N = candidates, A and B = those of two languages, D = embedding width, P = pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_collators.builders.extract import digest
from data_collators.rows import ACROSS

from ..evaluation.embedders import Embedder
from ..filtering.source import TRAIN, PairSource
from ..messages import say
from .options import AugmentOptions
from .selection import Selection, lot, normal

_ROWS, _COLUMNS = 1024, 8192  # of a block of scores: 34 MB


@dataclass(frozen=True)
class Candidates:
    """Functions that may be paired.

    Args:
        rows_N: Their numbers in the split.
        texts: Their summaries.
        ids: Their ids.
        languages_N: The language of each.
        repos_N: The repository of each.
        codes_N: A number for the code of each, equal where two codes are.
    """

    rows_N: np.ndarray
    texts: list[str]
    ids: list[str]
    languages_N: np.ndarray
    repos_N: np.ndarray
    codes_N: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Twins:
    """Pairs of functions, by their numbers in the split: the code of `texts_P` is the text of that of `codes_P`."""

    texts_P: np.ndarray
    codes_P: np.ndarray
    cosines_P: np.ndarray

    def __len__(self) -> int:
        return len(self.texts_P)


def candidates(source: PairSource, selection: Selection, options: AugmentOptions) -> Candidates:
    """The functions among the pairs that stay whose summaries are compared: not too short, not too long, drawn."""
    lots, places = [], []
    for piece in source.cut([TRAIN]):
        for place, row in enumerate(source.read(piece, ("id", "text")).to_pylist(), piece.first):
            words = len(normal(row["text"]).split())
            if selection.keep_N[place] and options.across_min_words <= words <= options.across_max_words:
                lots.append(lot(options.seed, "compared", row["id"]))
                places.append(place)
    drawn = set(np.array(places, np.int64)[np.argsort(lots, kind="stable")[: options.across_pool]].tolist())
    found: dict[str, list[Any]] = {name: [] for name in ("row", "text", "id", "language", "repo", "code")}
    for piece in source.cut([TRAIN]):
        table = source.read(piece, ("id", "text", "language", "repo", "code"))
        for place, row in enumerate(table.to_pylist(), piece.first):
            if place in drawn:
                found["row"].append(place)
                found["code"].append(digest(normal(row["code"])))
                for name in ("text", "id", "language", "repo"):
                    found[name].append(row[name])
    columns = (np.array(found[name], dtype=object) for name in ("language", "repo"))
    return Candidates(
        np.array(found["row"], np.int64), found["text"], found["id"], *columns, np.array(found["code"], np.int64)
    )


def find_twins(embedder: Embedder, source: PairSource, selection: Selection, options: AugmentOptions) -> Twins:
    """Pairs of functions that are described alike, in both directions, as many as were asked for at most.

    Raises:
        ValueError: Embeddings are not finite.
    """
    chosen = candidates(source, selection, options)
    words = f"{options.across_min_words} to {options.across_max_words} words"
    say(f"across: {len(chosen):,} summaries of {words} are compared")
    if not len(chosen):
        return Twins(chosen.rows_N, chosen.rows_N, np.empty(0, np.float32))
    embeddings_ND = embedder.embed(chosen.texts, max_length=options.max_text_length)
    if not np.isfinite(embeddings_ND).all():
        raise ValueError(f"{embedder.name}: embeddings hold NaN or infinity. Load it with --dtype float32.")
    first_P, second_P, cosines_P = mutual_neighbours(
        torch.from_numpy(embeddings_ND), chosen.languages_N, chosen.repos_N, options.across_min
    )
    other_P = chosen.codes_N[first_P] != chosen.codes_N[second_P]
    first_P, second_P, cosines_P = first_P[other_P], second_P[other_P], cosines_P[other_P]
    say(f"across: {len(first_P):,} pairs of functions with a cosine of {options.across_min:g} or more")
    texts_P, codes_P = np.concatenate([first_P, second_P]), np.concatenate([second_P, first_P])
    lots = [
        lot(options.seed, ACROSS, f"{chosen.ids[text]} {chosen.ids[code]}")
        for text, code in zip(texts_P.tolist(), codes_P.tolist(), strict=True)
    ]
    most = round(options.across_share * selection.count())
    drawn = np.sort(np.argsort(lots, kind="stable")[:most])
    rows_N = chosen.rows_N
    return Twins(rows_N[texts_P[drawn]], rows_N[codes_P[drawn]], np.concatenate([cosines_P, cosines_P])[drawn])


def mutual_neighbours(
    embeddings_ND: Tensor, languages_N: np.ndarray, repos_N: np.ndarray, least: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that are nearest both ways between two languages, or between the repositories of one.

    Args:
        embeddings_ND: Embeddings of length 1.
        languages_N: Language of each.
        repos_N: Repository of each: two functions of one language and one repository are no pair.
        least: Lowest cosine.

    Returns:
        first_P, second_P and cosines_P, each pair once.
    """
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = [(np.empty(0, np.int64),) * 2 + (np.empty(0, np.float32),)]
    for rows_A, rows_B, same in _language_pairs(languages_N):
        repos = np.unique(repos_N[np.concatenate([rows_A, rows_B])].astype(str), return_inverse=True)[1]
        repos_A, repos_B = (torch.from_numpy(part) for part in np.split(repos, [len(rows_A)]))
        barred = (repos_A, repos_B) if same else None
        best_A, column_A, column_B = nearest_both_ways(embeddings_ND[rows_A], embeddings_ND[rows_B], barred)
        mutual_A = (column_B[column_A] == torch.arange(len(rows_A))) & (best_A >= least)
        if same:
            mutual_A &= torch.arange(len(rows_A)) < column_A  # else each pair would be found twice
        places = mutual_A.nonzero().squeeze(1)
        found.append((rows_A[places.numpy()], rows_B[column_A[places].numpy()], best_A[places].numpy()))
    first_P, second_P, cosines_P = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return first_P, second_P, cosines_P


def _language_pairs(languages_N: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, bool]]:
    """Rows of each two languages, and of each language twice."""
    names = sorted(set(languages_N.tolist()))
    rows = {name: np.flatnonzero(languages_N == name) for name in names}
    for place, name in enumerate(names):
        for other in names[place:]:
            yield rows[name], rows[other], name == other


def nearest_both_ways(
    first_AD: Tensor, second_BD: Tensor, barred: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest of a second set for each of a first, and the other way round, a block of scores at a time.

    Args:
        first_AD: Embeddings of length 1.
        second_BD: Others.
        barred: A number for each of both sets; equal numbers are no neighbours.

    Returns:
        best_A (cosines, -inf where all are barred), column_A (places in the second set), column_B (in the first). Of
        equal scores the first place counts.
    """
    best_A = torch.full((len(first_AD),), -torch.inf)
    best_B = torch.full((len(second_BD),), -torch.inf)
    column_A, column_B = best_A.to(torch.int64).zero_(), best_B.to(torch.int64).zero_()
    for row in range(0, len(first_AD), _ROWS):
        for column in range(0, len(second_BD), _COLUMNS):
            scores_RC = first_AD[row : row + _ROWS] @ second_BD[column : column + _COLUMNS].T
            if barred is not None:
                equal_RC = barred[0][row : row + _ROWS, None] == barred[1][None, column : column + _COLUMNS]
                scores_RC.masked_fill_(equal_RC, -torch.inf)
            _improve(best_A[row : row + _ROWS], column_A[row : row + _ROWS], *scores_RC.max(dim=1), column)
            part = slice(column, column + _COLUMNS)
            _improve(best_B[part], column_B[part], *scores_RC.max(dim=0), row)
    return best_A, column_A, column_B


def _improve(best: Tensor, columns: Tensor, found: Tensor, places: Tensor, offset: int) -> None:
    """Take over what is better, in place."""
    better = found > best
    best[better], columns[better] = found[better], places[better] + offset
