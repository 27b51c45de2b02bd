"""CodeSage's Code2Code sets: solutions to the same problem of Project CodeNet, in ten languages (arXiv 2402.01935).

What is published (amazon-science/CodeSage, `data/code2code/`; microsoft/CodeBERT, `UniXcoder/downstream-tasks/
zero-shot-search/dataset/`): lists of submissions for Java, Python and Ruby, and `extend.py`, which draws those of the
other seven for the problems of the Java list: accepted submissions, at most one of each cluster of near duplicates
(`Project_CodeNet/derived/duplicates/<language>/clusters/<problem>-clusters`), at most ten a problem. It shuffles
without a seed, so nobody can draw its sets again. Two oddities: it drops submissions whose *original* language
is spelled exactly like the language (`if row[5] == lang: continue`), and lets a rejected submission use up its
cluster. Problems with one solution stay as documents that no query looks for.

Here the draw is ordered by the hash of a seed and the submission's number, so it is the same on every machine, and
neither oddity is kept. It is another draw than the paper's, whose numbers it therefore cannot meet to the digit.
Files written by `extend.py` (`<language>_with_func.jsonl`) are read as they are.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_collators.files import json_lines

from ..messages import say
from .ranking import Relevance
from .sets import CODE_TO_CODE, RetrievalSet

# Our name -> CodeNet's name and the suffix of its files.
LANGUAGES = {
    "c": ("C", "c"),
    "cpp": ("C++", "cpp"),
    "csharp": ("C#", "cs"),
    "go": ("Go", "go"),
    "java": ("Java", "java"),
    "javascript": ("JavaScript", "js"),
    "php": ("PHP", "php"),
    "python": ("Python", "py"),
    "ruby": ("Ruby", "rb"),
    "typescript": ("TypeScript", "ts"),
}
LISTED = ("java", "python", "ruby")
ACCEPTED = "Accepted"


@dataclass(frozen=True, slots=True)
class Solution:
    """A submission that solves a problem."""

    id: str
    problem: str
    language: str
    code: str


def read_solutions(root: Path, languages: Sequence[str], problems: Counter[str]) -> list[Solution] | None:
    """The solutions in `<language>_with_func.jsonl` of every language, None if there is no such file.

    Raises:
        FileNotFoundError: Some languages have a file and others do not.
        ValueError: A line is torn or lacks a field.
    """
    paths = {language: root / f"{language}_with_func.jsonl" for language in languages}
    missing = [path.name for path in paths.values() if not path.is_file()]
    if len(missing) == len(paths):
        return None
    if missing:
        raise FileNotFoundError(f"{str(root)!r} lacks {', '.join(missing)}. Name the languages one by one (codenet:c).")
    found: dict[str, Solution] = {}
    for language, path in paths.items():
        for number, row in enumerate(json_lines(path), start=1):
            if not {"index", "label", "func"} <= row.keys():
                raise ValueError(f"{str(path)!r}, row {number} needs index, label and func, got {', '.join(row)}.")
            solution = Solution(str(row["index"]), str(row["label"]), language, row["func"])
            problems["repeated submissions"] += solution.id in found
            found.setdefault(solution.id, solution)
    return list(found.values())


def rebuild(
    root: Path, languages: Sequence[str], problems: Counter[str], *, seed: int = 0, per_problem: int = 10
) -> list[Solution]:
    """Draw solutions from `Project_CodeNet/{data,metadata,derived}`; see the module's head.

    Languages whose published list (`java.jsonl`, `python.jsonl`, `ruby.jsonl`) lies beside it are taken from there,
    and `java.jsonl` says which problems there are. Otherwise a problem needs two solutions in a language to be in.

    Args:
        root: The folder `Project_CodeNet` or the one above it.
        languages: Names in `LANGUAGES`.
        problems: Counts what was left out.
        seed: Of the draw.
        per_problem: Most solutions a problem and language.

    Raises:
        FileNotFoundError: There is no `metadata` or `data`.
    """
    base = root if (root / "metadata").is_dir() else root / "Project_CodeNet"
    if not (base / "metadata").is_dir() or not (base / "data").is_dir():
        raise FileNotFoundError(f"{str(root)!r} has no Project_CodeNet with the folders data and metadata.")
    lists = {language: found for language in LISTED if (found := _published_list(root, base, language))}
    wanted = {problem for _, problem in lists.get("java", ())}
    say(f"codenet: published lists found: {', '.join(lists) or 'none'}; the rest is drawn with seed {seed}")
    solutions = [
        solution for language in languages for solution in _listed(base, language, lists.get(language, ()), problems)
    ]
    draw = [language for language in languages if language not in lists]
    for language in draw:
        has_clusters = _clusters_folder(base, language).is_dir()
        problems["languages without clusters of near duplicates"] += not has_clusters
    for path in sorted((base / "metadata").glob("p?????.csv")) if draw else ():
        if not wanted or path.stem in wanted:
            solutions += _drawn(base, path, draw, problems, seed, per_problem)
    return sorted(solutions, key=lambda solution: (solution.language, solution.problem, solution.id))


def chance(seed: int, identity: str) -> str:
    """A number in hexadecimal that orders things at random, the same everywhere."""
    return hashlib.sha256(f"{seed}:{identity}".encode()).hexdigest()


def code2code(name: str, solutions: Sequence[Solution], problems: Counter[str]) -> RetrievalSet:
    """The set in which every solution searches for the other ones of its problem, in all languages.

    Raises:
        ValueError: No problem has two solutions.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, solution in enumerate(solutions):
        places[solution.problem].append(place)
    groups = {problem: np.array(found, dtype=np.int64) for problem, found in places.items()}
    queries = [place for place, solution in enumerate(solutions) if len(groups[solution.problem]) > 1]
    problems["queries without a relevant document"] += len(solutions) - len(queries)
    columns = [group[group != place] for place in queries for group in [groups[solutions[place].problem]]]
    columns_R = np.concatenate([np.zeros(0, dtype=np.int64), *columns])
    return RetrievalSet(
        name=name,
        task=CODE_TO_CODE,
        query_ids=[solutions[place].id for place in queries],
        queries=[solutions[place].code for place in queries],
        query_languages=[solutions[place].language for place in queries],
        document_ids=[solution.id for solution in solutions],
        documents=[solution.code for solution in solutions],
        document_languages=[solution.language for solution in solutions],
        relevance=Relevance(
            offsets=np.cumsum([0, *map(len, columns)], dtype=np.int64),
            columns=columns_R,
            gains=np.ones(len(columns_R)),
        ),
        problems={problem: count for problem, count in problems.items() if count},
    )


def load_codenet(root: Path, name: str, languages: Sequence[str], *, seed: int = 0) -> RetrievalSet:
    """The set from `<language>_with_func.jsonl` files, or drawn anew.

    Raises:
        FileNotFoundError: The folder holds neither.
        ValueError: A line is torn, or no problem has two solutions.
    """
    problems: Counter[str] = Counter()
    solutions = read_solutions(root, languages, problems)
    if solutions is not None:
        return code2code(name, solutions, problems)
    data = code2code(name, rebuild(root, languages, problems, seed=seed), problems)
    say(f"{name}: drew {len(data.documents):,} solutions with seed {seed}, revision {data.revision}")
    return data


def _published_list(root: Path, base: Path, language: str) -> list[tuple[str, str]]:
    """(submission, problem) of a published list, empty if there is none."""
    path = next(
        (folder / f"{language}.jsonl" for folder in (root, base) if (folder / f"{language}.jsonl").is_file()), None
    )
    return [(str(row["index"]), f"p{int(row['label']):05d}") for row in json_lines(path)] if path else []


def _listed(base: Path, language: str, rows: Iterable[tuple[str, str]], problems: Counter[str]) -> Iterator[Solution]:
    for identity, problem in rows:
        code = _code(base, problem, language, identity)
        problems["submissions without a file"] += code is None
        if code is not None:
            yield Solution(identity, problem, language, code)


def _drawn(
    base: Path, metadata: Path, languages: Sequence[str], problems: Counter[str], seed: int, per_problem: int
) -> Iterator[Solution]:
    """The solutions of one problem."""
    names = {LANGUAGES[language][0]: language for language in languages}
    accepted: dict[str, list[str]] = defaultdict(list)
    with metadata.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"submission_id", "language", "status"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{str(metadata)!r} lacks the columns submission_id, language and status. Fetch it anew.")
        for row in reader:
            if row["status"] == ACCEPTED and row["language"] in names:
                accepted[names[row["language"]]].append(row["submission_id"])
    for language, found in accepted.items():
        chosen = _choose(base, metadata.stem, language, found, problems, seed, per_problem)
        if len(chosen) > 1:
            yield from chosen
        else:
            problems["problems with fewer than two solutions in a language"] += 1


def _choose(
    base: Path, problem: str, language: str, found: list[str], problems: Counter[str], seed: int, per_problem: int
) -> list[Solution]:
    clusters, used, chosen = _clusters(base, problem, language), set(), []
    for identity in sorted(set(found), key=lambda identity: chance(seed, identity)):
        if len(chosen) == per_problem:
            break
        cluster = clusters.get(identity, identity)  # one that no cluster names has no near duplicate
        code = None if cluster in used else _code(base, problem, language, identity)
        if code is not None:
            used.add(cluster)
            chosen.append(Solution(identity, problem, language, code))
        elif cluster not in used:
            problems["submissions without a file"] += 1
    return chosen


def _clusters_folder(base: Path, language: str) -> Path:
    return base / "derived" / "duplicates" / LANGUAGES[language][0] / "clusters"


def _clusters(base: Path, problem: str, language: str) -> dict[str, int]:
    """Submission -> number of its cluster. Clusters are divided by blank lines; a line is `path: similarities`."""
    path = _clusters_folder(base, language) / f"{problem}-clusters"
    if not path.is_file():
        return {}
    found, number = {}, 0
    for line in path.read_text(encoding="utf-8").split("\n"):
        number += not line.strip()
        if line.strip():
            found[Path(line.split(":")[0].strip()).stem] = number
    return found


def _code(base: Path, problem: str, language: str, identity: str) -> str | None:
    name, suffix = LANGUAGES[language]
    path = base / "data" / problem / name / f"{identity}.{suffix}"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
