"""Numbers for a model card: its own and those of peers, which rows are whose, and what can be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from .eval_results import Result, Results, read_results
from .eval_tables import Column, Table, make_tables

if TYPE_CHECKING:
    from .eval_compare import Compared

# What a table on a page of the Hub has room for.
MAX_MODELS = 5
RESAMPLES = 2000
_FOLDERS = ("model", "checkpoint", "hub")  # where the model of a run lies


@dataclass
class Scores:
    """Numbers of a model and of others, with what the card says of them.

    Args:
        own: Its name in the rows.
        results: All numbers.
        tables: One for each task.
        compared: What can be told of a column, where values per query are at hand.
    """

    own: str
    results: Results
    tables: list[Table] = field(default_factory=list)
    compared: dict[Column, Compared] = field(default_factory=dict)

    @property
    def own_rows(self) -> list[Result]:
        """All numbers of the model itself."""
        return [row for row in self.results.rows if row.model == self.own]


def read_scores(
    paths: Sequence[Path], own: str, run_dir: Path | None = None, also: Iterable[str] = (), shipped: Iterable[str] = ()
) -> Scores:
    """Numbers from files of results, the model's own under its name.

    Args:
        paths: Files of results.
        own: The model's name on the card.
        run_dir: Its run; results that name a folder of it are its own.
        also: Other names of the model in the results.
        shipped: Names that the results themselves mark as the model's.

    Raises:
        ValueError: A file holds no results, or none of them can be told to be the model's.
    """
    from .eval_compare import compare_column

    if not paths:
        return Scores(own, Results([], {}, []))
    found = read_results(paths)
    names = list(dict.fromkeys(row.model for row in found.rows))
    mine = [name for name in names if name in {own, *also, *shipped} or (run_dir and _inside(name, run_dir))]
    others = [name for name in names if name.lower() != "bm25"]
    if not mine and len(others) == 1:
        mine = others
    if not mine:
        raise ValueError(
            f"none of the results is known to be of this model; they are of {', '.join(map(shown_name, names))}. "
            "Say which with --model."
        )
    renamed = {name: own if name in mine else shown_name(name) for name in names}
    results = _renamed(found, renamed)
    scores = Scores(own, results, make_tables(results.rows))
    for one in scores.tables:
        small = _reduced(one, shown_models(one, own))
        for column in small.columns:
            scores.compared[column] = compare_column(small, column, results, resamples=RESAMPLES)
    return scores


def _inside(name: str, run_dir: Path) -> bool:
    """Whether results call a run's model so; the path may be of another working directory.

    Other models may lie below a run too, such as that of its first stage.
    """
    path, run_dir = Path(name), run_dir.resolve()
    if path.exists():
        return path.resolve() in [run_dir, *(run_dir / folder for folder in _FOLDERS)]
    ends = [(run_dir.name, folder) for folder in _FOLDERS]
    return path.parts[-2:] in ends or len(path.parts) > 1 and path.name == run_dir.name


def shown_name(name: str) -> str:
    """A model's name without folders of this machine."""
    path = Path(name)
    if not path.is_absolute() and not path.exists():
        return name
    parts = [part for part in path.resolve().parts if part not in _FOLDERS]
    return parts[-1] if parts else name


def _renamed(results: Results, names: dict[str, str]) -> Results:
    """Results with other names of models; of rows about the same thing the last stays."""
    rows = {}
    for row in results.rows:
        new = replace(row, model=names[row.model])
        rows[(*new.of, new.task, new.metric, new.query_language, new.corpus_language)] = new
    scores = {(names[key[0]], *key[1:]): values for key, values in results.scores.items() if key[0] in names}
    return Results(list(rows.values()), scores, results.notes)


def shown_models(one: Table, own: str) -> list[str]:
    """The models of a table that a card has room for: its own and the best others, in the table's order."""
    peers = [model for model in one.models if model != own][: MAX_MODELS - 1]
    return [model for model in one.models if model == own or model in peers]


def _reduced(one: Table, models: Sequence[str]) -> Table:
    cells = {key: row for key, row in one.cells.items() if key[0] in models}
    return replace(one, models=list(models), cells=cells)
