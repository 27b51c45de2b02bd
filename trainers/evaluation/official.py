"""Published retrieval sets, from the files that their authors give out or from the Hub.

`OFFICIAL` says of each what it is, where to get it, its licence and how it was made. Where the Hub has the texts but
not the published pool of candidates, the set's name says so, since its numbers are others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from data_collators.files import json_lines, new_folder, write_json

from .codenet import LANGUAGES as CODENET_LANGUAGES
from .codenet import load_codenet
from .official_rows import by_url, code_search_net_row, coir, cosqa, poj104
from .sets import CORPUS, META, QRELS, QUERIES, RetrievalSet, read_beir

CSN_LANGUAGES = ("python", "java", "javascript", "php", "go", "ruby")
VALID = frozenset({"dev", "valid", "validation"})


@dataclass(frozen=True)
class Official:
    """A published set.

    Args:
        what: What it is.
        where: Where its files are.
        licence: Its licence.
        construction: How it was made, and what we do about its traps.
        files: What a folder must hold.
        folders: Folders below the one that the user names where its authors' instructions put the files.
        hub: Its id on the Hub, "" if it is not there.
    """

    what: str
    where: str
    licence: str
    construction: str
    files: str
    folders: tuple[str, ...] = ()
    hub: str = ""


_CSN = {
    f"csn:{language}": Official(
        what=f"CodeSearchNet, {language}: first sentences of doc comments search for their functions",
        where="https://github.com/microsoft/CodeBERT, GraphCodeBERT/codesearch/dataset.zip, then its run.sh",
        licence="CodeSearchNet: MIT for the collection, the code under the licences of its repositories",
        construction=(
            "GraphCodeBERT's filtered queries (parsable code, 3 to 256 tokens, no links, English) against all code of "
            "validation and test. A query's relevant documents are those with its url. From the Hub: the same queries "
            "(google/code_x_glue_ct_code_to_text) against validation and test of code-search-net/code_search_net, a "
            "slightly larger pool."
        ),
        files="test.jsonl (or valid.jsonl) and codebase.jsonl",
        folders=(language, f"CSN/{language}", f"dataset/{language}", f"dataset/CSN/{language}"),
        hub="google/code_x_glue_ct_code_to_text",
    )
    for language in CSN_LANGUAGES
}
_CODENET = Official(
    what="Code2Code of CodeSage: solutions search for solutions to the same problem, ten languages",
    where=(
        "https://github.com/IBM/Project_CodeNet (Project_CodeNet.tar.gz and its metadata), and the lists java.jsonl, "
        "python.jsonl, ruby.jsonl in https://github.com/microsoft/CodeBERT, UniXcoder/downstream-tasks/"
        "zero-shot-search/dataset"
    ),
    licence="CDLA-Permissive-2.0 (Project CodeNet)",
    construction="accepted solutions, one a cluster of near duplicates, at most ten a problem and language",
    files="<language>_with_func.jsonl, or Project_CodeNet/{data,metadata,derived} with or without the three lists",
    folders=("code2code", "codenet"),
)
OFFICIAL = {
    "cosqa": Official(
        what="CoSQA (arXiv 2105.13239): questions asked on the web search for Python functions",
        where="https://github.com/Jun-jie-Huang/CoCLR, data/search",
        licence="C-UDA (data), MIT (repository)",
        construction=(
            "500 queries against 6,267 functions with their docstrings left in. Only pairs of label 1 are relevant: "
            "published scripts take every pair as relevant, which in the training file includes those that people "
            "judged wrong (label 0). The Hub has CoIR's pool of 20,604, another set."
        ),
        files="code_idx_map.txt and cosqa-retrieval-test-500.json (or -dev-500, -train-19604)",
        folders=("cosqa", "dataset/cosqa", "data/search"),
        hub="CoIR-Retrieval/cosqa",
    ),
    "advtest": Official(
        what="AdvTest, CodeXGLUE's NL-code-search-Adv: Python with names of functions and variables replaced",
        where="https://github.com/microsoft/CodeXGLUE, Text-Code/NL-code-search-Adv/dataset.zip and preprocess.py",
        licence="C-UDA (CodeXGLUE), the code under the licences of its repositories",
        construction="19,210 queries; the functions of the split are the pool, found by their url",
        files="test.jsonl (or valid.jsonl)",
        folders=("AdvTest", "dataset", "dataset/AdvTest"),
        hub="google/code_x_glue_tc_nl_code_search_adv",
    ),
    **_CSN,
    "poj104": Official(
        what="POJ-104, CodeXGLUE's clone detection: C and C++ solutions search for those of the same problem",
        where="https://github.com/microsoft/CodeXGLUE, Code-Code/Clone-detection-POJ-104, then its preprocess.py",
        licence="C-UDA (CodeXGLUE)",
        construction="24 problems with 500 solutions each (test); CodeXGLUE reports MAP@R, R = relevant documents",
        files="test.jsonl (or valid.jsonl)",
        folders=("POJ-104", "dataset"),
        hub="google/code_x_glue_cc_clone_detection_poj104",
    ),
    "codenet": _CODENET,
    **{f"codenet:{language}": _CODENET for language in CODENET_LANGUAGES},
}


def official_names() -> list[str]:
    """Names that `load_official` knows."""
    return list(OFFICIAL)


def load_official(name: str, root: str | Path | None = None, split: str | None = None) -> RetrievalSet:
    """A published set.

    Args:
        name: One of `official_names`.
        root: Folder with its files, or one above it; also a folder that `write_beir` wrote. Default: the Hub.
        split: "test" unless said otherwise; "valid", "dev" and "validation" are one.

    Raises:
        ValueError: There is no such set, or a file is torn.
        FileNotFoundError: The files are not there, or the Hub cannot be reached.
    """
    if name not in OFFICIAL:
        close = get_close_matches(name, OFFICIAL, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"unknown published set {name!r}. {hint}Sets: {', '.join(OFFICIAL)}.")
    kind, _, language = name.partition(":")
    split = "valid" if split in VALID else split or "test"
    try:
        found = _from_files(name, kind, language, split, Path(root)) if root else _from_hub(name, kind, language, split)
    except FileNotFoundError as error:
        raise FileNotFoundError(_missing(name, error)) from error
    # CodeNet has one part; files that `write_beir` wrote say themselves which part they are.
    return found if kind == "codenet" or found.split else replace(found, split=split)


def write_beir(data: RetrievalSet, folder: str | Path, *, source: str = "", overwrite: bool = False) -> None:
    """Write a set in the layout of BEIR, with `meta.json`; `read_beir` gives it back with the same revision.

    Args:
        data: The set.
        folder: New folder; one that holds a set is replaced only with `overwrite`.
        source: Where it comes from and how it was drawn, for `meta.json`.
        overwrite: Replace a set.

    Raises:
        FileExistsError: The folder may not be replaced.
        ValueError: An id could not be read back.
    """
    for identity in (*data.query_ids, *data.document_ids):
        if "\t" in identity or identity.splitlines() != [identity]:
            raise ValueError(f"id {identity!r} of set {data.name!r} is empty or holds tabs or line breaks. Rename it.")
    with new_folder(folder, marker=CORPUS, overwrite=overwrite) as partial:
        tokens: Sequence[str | None] = data.joined_tokens or [None] * len(data.documents)
        columns = (data.document_ids, data.document_languages, data.documents, tokens)
        _write_lines(partial / CORPUS, zip(*columns, strict=True))
        blanks = [None] * len(data.queries)
        _write_lines(partial / QUERIES, zip(data.query_ids, data.query_languages, data.queries, blanks, strict=True))
        with (partial / QRELS).open("w", encoding="utf-8", newline="\n") as file:
            file.write("query-id\tcorpus-id\tscore\n")
            relevance = data.relevance
            for query, place, gain in zip(relevance.queries, relevance.columns, relevance.gains, strict=True):
                file.write(f"{data.query_ids[query]}\t{data.document_ids[place]}\t{float(gain)!r}\n")
        task = f"{data.task}, in-language" if data.same_language else data.task
        record = {"name": data.name, "task": task, "source": source, "revision": data.revision}
        record |= {"split": data.split} if data.split else {}
        write_json(partial / META, {**record, "problems": data.problems})


def _write_lines(path: Path, rows: Iterable[tuple[str, str, str, str | None]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for identity, language, text, tokens in rows:
            row: dict[str, Any] = {"_id": identity, "language": language, "text": text}
            if tokens is not None:
                row["code_tokens"] = [tokens]
            file.write(json.dumps(row) + "\n")


def _missing(name: str, reason: object) -> str:
    entry = OFFICIAL[name]
    hub = f" Online, it comes from the Hub: {entry.hub}." if entry.hub else " The Hub does not have it."
    return (
        f"published set {name!r} ({entry.what}) is not here: {reason} Put {entry.files} in a folder and name it with "
        f"--root. Get them from {entry.where}. Licence: {entry.licence}.{hub}"
    )


def _from_files(name: str, kind: str, language: str, split: str, root: Path) -> RetrievalSet:
    places = [root, *(root / folder for folder in OFFICIAL[name].folders)]
    for folder in places:
        if (folder / CORPUS).is_file():
            return _kept(name, folder)
    if kind == "codenet":
        return _codenet(name, language, places)
    if kind == "cosqa":
        queries = _first(places, f"cosqa-retrieval-{'dev' if split == 'valid' else split}-*.json")
        pool = _json(_first([queries.parent], "code_idx_map.txt"), dict)
        return cosqa(name, _json(queries, list), pool)
    rows = list(json_lines(_first(places, f"{split}.jsonl")))
    if kind == "poj104":
        return poj104(name, rows)
    if kind == "csn":
        pool = list(json_lines(_first(places, "codebase.jsonl")))
        return by_url(name, rows, pool, language)
    return by_url(name, rows, rows, "python")


def _kept(name: str, folder: Path) -> RetrievalSet:
    """A set that `write_beir` wrote, under the name that its `meta.json` gives, which says which pool it is."""
    path = folder / META
    written = json.loads(path.read_text(encoding="utf-8")).get("name", "") if path.is_file() else ""
    if not written.startswith(name):
        raise ValueError(f"{str(folder)!r} holds the set {written!r}, not {name!r}. Name it with --data alone.")
    return read_beir(folder, name=written)


def _codenet(name: str, language: str, places: list[Path]) -> RetrievalSet:
    languages = [language] if language else list(CODENET_LANGUAGES)
    for folder in places:
        if any(folder.glob("*_with_func.jsonl")) or any(
            (folder / part).is_dir() for part in ("Project_CodeNet", "metadata")
        ):
            return load_codenet(folder, name, languages)
    raise FileNotFoundError(f"{str(places[0])!r} has neither.")


def _first(folders: list[Path], pattern: str) -> Path:
    for folder in folders:
        for path in sorted(folder.glob(pattern)):
            return path
    raise FileNotFoundError(f"{str(folders[0])!r} has no {pattern}.")


def _json(path: Path, kind: type) -> Any:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON ({error}). Fetch the file anew.") from error
    if not isinstance(found, kind):
        raise ValueError(f"{str(path)!r} does not hold a JSON {kind.__name__}. Fetch the file anew.")
    return found


def _from_hub(name: str, kind: str, language: str, split: str) -> RetrievalSet:
    hub = OFFICIAL[name].hub
    split = "validation" if split == "valid" and kind != "cosqa" else split
    if kind == "codenet":
        raise FileNotFoundError("no folder was named.")
    if kind == "cosqa":
        tables = [hub_rows(hub, *part) for part in (("corpus", "corpus"), ("queries", "queries"), ("default", split))]
        return coir(f"{name} (pool of CoIR)", *tables, language="python")
    if kind == "poj104":
        return poj104(name, hub_rows(hub, None, split))
    if kind == "advtest":
        rows = list(hub_rows(hub, None, split))
        return by_url(name, rows, rows, "python")
    whole = "code-search-net/code_search_net"
    pool = [code_search_net_row(row) for part in ("validation", "test") for row in hub_rows(whole, language, part)]
    return by_url(f"{name} (pool of the Hub)", hub_rows(hub, language, split), pool, language)


def hub_rows(path: str, config: str | None, split: str) -> Iterable[dict[str, Any]]:
    """The rows of a data set on the Hub.

    Raises:
        FileNotFoundError: It cannot be had.
    """
    import datasets

    try:
        try:
            return datasets.load_dataset(path, config, split=split)
        except RuntimeError:  # a loading script, which datasets 4 refuses; the Hub keeps a Parquet copy
            folder = config or "default"
            return datasets.load_dataset(path, data_dir=folder, split=split, revision="refs/convert/parquet")
    except (OSError, RuntimeError, ValueError) as error:
        raise FileNotFoundError(f"the Hub gave no {path}, split {split} ({str(error).splitlines()[0]}).") from error
