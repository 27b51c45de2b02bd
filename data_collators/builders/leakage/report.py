"""What a look for leaked texts found: counts for each part of each evaluation set, and every hit."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from .index import KINDS

POSITIVES = "positives"


@dataclass(frozen=True)
class Hit:
    """An evaluation text that training data hold.

    Args:
        set: Evaluation set.
        part: Part of the set: queries, documents, examples.
        id: Id of the text.
        kind: The strongest of `KINDS` found.
        similarity: 1 for `exact` and `contained`; Jaccard similarity for `near`; for `overlap` the share of the
            evaluation text's runs of words that the training text holds too.
        train_id: Training row; the most similar one, the first by name of equals.
        train_repo: Its repository, "" if unknown.
        train_path: Its file, "" if unknown.
        train_column: The column that holds the text.
        train_texts: How many training texts hold the evaluation text in some way. Many: boilerplate.
        words: For `contained` and `overlap`, some words that both have in a row.
    """

    set: str
    part: str
    id: str
    kind: str
    similarity: float
    train_id: str
    train_repo: str
    train_path: str
    train_column: str
    train_texts: int
    words: str


@dataclass(frozen=True)
class PartCounts:
    """How many texts of a part of an evaluation set leaked, each counted once.

    Args:
        set: Evaluation set.
        part: queries, documents, examples; in `positives` a query counts by its relevant documents.
        texts: Texts of at least five words, which were compared.
        short: Texts of fewer words, which were not.
        exact: Texts by kind, here and in the next three.
        near: See above.
        contained: See above.
        overlap: See above.
    """

    set: str
    part: str
    texts: int
    short: int
    exact: int
    near: int
    contained: int
    overlap: int

    @property
    def share(self) -> float:
        """Share of the texts that leaked in some way; 0 if there are none."""
        return sum(getattr(self, kind) for kind in KINDS) / self.texts if self.texts else 0.0


@dataclass(frozen=True)
class LeakageReport:
    """What of the evaluation sets stands in the training data.

    Args:
        settings: What was compared and how.
        train: Texts, characters of the training data.
        parts: Counts for each part of each set.
        hits: Every evaluation text that leaked, in the order of the sets.
    """

    settings: dict[str, Any]
    train: dict[str, int]
    parts: list[PartCounts]
    hits: list[Hit]

    def count(self, weakest: str) -> int:
        """Texts that leaked by a kind at least as strong as `weakest`."""
        kinds = KINDS[: KINDS.index(weakest) + 1]
        return sum(hit.kind in kinds for hit in self.hits)

    def record(self, examples: int | None = 5) -> dict[str, Any]:
        """The report as JSON, with some hits of each kind for each part, or all (None): the most similar first."""
        ranked = sorted(self.hits, key=lambda hit: (KINDS.index(hit.kind), -hit.similarity))
        shown: Counter[tuple[str, str, str]] = Counter()
        chosen = []
        for hit in ranked:
            shown[hit.set, hit.part, hit.kind] += 1
            if examples is None or shown[hit.set, hit.part, hit.kind] <= examples:
                chosen.append(asdict(hit))
        parts = [{**asdict(part), "share": part.share} for part in self.parts]
        return {"settings": self.settings, "train": self.train, "parts": parts, "hits": chosen}

    def table(self) -> str:
        """Counts as aligned lines, one for each part of each set."""
        width = max(len("set"), *(len(part.set) for part in self.parts))
        second = max(len("part"), *(len(part.part) for part in self.parts))
        lines = [
            f"{'set':<{width}}  {'part':<{second}}{'texts':>9}" + "".join(f"{kind:>11}" for kind in (*KINDS, "share"))
        ]
        for part in self.parts:
            counts = "".join(f"{getattr(part, kind):>11,}" for kind in KINDS)
            lines.append(
                f"{part.set:<{width}}  {part.part:<{second}}{part.texts:>9,}{counts}{100 * part.share:>9.1f} %"
            )
        return "\n".join(lines)
