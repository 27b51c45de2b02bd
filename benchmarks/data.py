"""Builders against what they are made of: parsing, the fast tokenizer, CPython's own parser, and themselves twice.

    python scripts/get_corpus.py full corpus
    python -m benchmarks.data --source corpus

- Pairs: whole extraction (functions, doc comments, filters, hard positives) against the bare tree-sitter parse.
- Stage-1 rows: names, cutting, tokenizing, documents against the bare parse plus the fast tokenizer on the plain text.
- Docstrings: `functions` against CPython's `ast` (parse, walk, `get_docstring`, `get_source_segment`), on Python.
- Processes: a whole build with two processes against one.
- Memory: peak of a build of a part of the sources, and of all of them.

All but the last two run in one process on one core.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transformers import AutoTokenizer

from data_collators import LANGUAGES, functions
from data_collators.builders import SourceOptions, build_tokenizer, iter_sources
from data_collators.builders.pairs import PairExtractor
from data_collators.builders.stage1 import Stage1Extractor
from data_collators.parsing import _parser
from data_collators.rows import SourceFile

from .common import arguments, measure, report

# A build of some sources in a process of its own, whose peak memory the system counts.
_BUILD = """
import json, resource, sys
from data_collators.builders import BuildOptions, SourceOptions, build_pairs
if __name__ == "__main__":
    sources, output, processes = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    stats = build_pairs(SourceOptions(tuple(sources)), output, BuildOptions(num_proc=processes))
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    print(json.dumps([stats["files"]["bytes"], [resource.getrusage(kind).ru_maxrss for kind in kinds]]))
"""


def sample_files(source: str, language: str, megabytes: float, seed: int = 0) -> list[SourceFile]:
    """Random files of a language, up to so many megabytes."""
    files = list(iter_sources(SourceOptions((source,), languages=(language,))))
    random.Random(seed).shuffle(files)
    chosen, size = [], 0
    for file in files:
        if size >= megabytes * 1e6:
            break
        chosen.append(file)
        size += len(file.text.encode())
    return chosen


def python_docstrings(texts: list[str]) -> int:
    """Docstring and source of every documented function, by CPython's parser: as people do it by hand."""
    found = 0
    for text in texts:
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node):
                found += bool(ast.get_source_segment(text, node))
    return found


def timed_build(sources: list[str], processes: int) -> tuple[float, int, int]:
    """(seconds, bytes of source, peak memory of the largest process in KiB) of a build of pairs."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "build.py")
        script.write_text(_BUILD)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path) or os.getcwd()}
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, str(script), json.dumps(sources), str(Path(folder, "out")), str(processes)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        seconds = time.perf_counter() - started
    size, peaks = json.loads(done.stdout.splitlines()[-1])
    return seconds, size, max(peaks)


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = arguments(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--source", required=True, help="corpus folder, with a folder for each language")
    parser.add_argument("--megabytes", type=float, default=4, help="source of each language for the rates")
    parser.add_argument("--languages", nargs="+", default=[name for name in LANGUAGES if name != "rust"])
    parser.add_argument("--skip", nargs="+", default=[], choices=["rates", "processes", "memory"])
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if "rates" not in args.skip:
        _rates(args)
    if "processes" not in args.skip:
        _processes(args)
    if "memory" not in args.skip:
        _memory(args)


def _rates(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build_tokenizer(SourceOptions((args.source,)), Path(folder, "tok"), vocab_size=16384, share=0.05)
        tokenizer = AutoTokenizer.from_pretrained(Path(folder, "tok"))
    backend, rows, notes = tokenizer.backend_tokenizer, [], []
    for language in args.languages:
        files = sample_files(args.source, language, args.megabytes)
        texts, codes = [file.text for file in files], [file.text.encode() for file in files]
        size = sum(map(len, codes)) / 1e6
        parse = _parser(LANGUAGES[language].grammars[0]).parse
        pairs = PairExtractor()
        pairs(files[0])  # loads the language detector
        peers = {
            "parse": lambda codes=codes, parse=parse: [parse(code) for code in codes],
            "pairs": lambda files=files, pairs=pairs: [pairs(file) for file in files],
            "tokenize": lambda texts=texts: backend.encode_batch_fast(texts, add_special_tokens=False),
            # A new extractor each round: it remembers the tokens of what it has seen.
            "stage 1": lambda files=files: list(map(Stage1Extractor(tokenizer, keep_license=True), files)),
        }
        if language == "python":
            peers["functions"] = lambda codes=codes: [functions(code, "python") for code in codes]
            peers["ast"] = lambda texts=texts: python_docstrings(texts)
        seconds = measure(peers, args.rounds)
        both = seconds["parse"] + seconds["tokenize"]
        rows.append(
            [language, f"{size:.1f}", f"{size / seconds['parse']:.1f}", f"{size / seconds['pairs']:.1f}"]
            + [f"{seconds['parse'] / seconds['pairs']:.2f}x", f"{size / seconds['tokenize']:.1f}"]
            + [f"{size / seconds['stage 1']:.2f}", f"{both / seconds['stage 1']:.2f}x"]
        )
        if language == "python":
            notes.append(
                f"Python functions with docstrings: coderep `functions` {size / seconds['functions']:.1f} MB/s, "
                f"CPython's `ast` with `get_docstring` and `get_source_segment` {size / seconds['ast']:.2f} MB/s: "
                f"{seconds['ast'] / seconds['functions']:.1f}x."
            )
    header = ["language", "MB", "parse MB/s", "pairs MB/s", "of parse", "tokenize MB/s", "stage 1 MB/s"]
    report("data: rates on one core", [*header, "of parse + tokenize"], rows, notes, args.output)


def _processes(args: argparse.Namespace) -> None:
    sources = [str(Path(args.source, language)) for language in ("c", "go", "python")]
    seconds = {processes: [] for processes in (1, 2)}
    for _ in range(args.rounds):
        for processes, found in seconds.items():
            found.append(timed_build(sources, processes)[0])
            print(f"{processes} processes: {found[-1]:.1f} s", flush=True)
    median = {processes: sorted(found)[len(found) // 2] for processes, found in seconds.items()}
    rows = [[str(processes), f"{found:.1f}", f"{median[1] / found:.2f}x"] for processes, found in median.items()]
    report("data: a build of pairs by processes", ["processes", "seconds", "faster by"], rows, [], None)


def _memory(args: argparse.Namespace) -> None:
    rows = []
    for count in (1, 3, len(args.languages)):
        sources = [str(Path(args.source, language)) for language in args.languages[:count]]
        _, size, peak = timed_build(sources, 1)
        rows.append([f"{size / 1e6:.0f}", f"{peak / 1024:.0f}"])
        print(f"{size / 1e6:.0f} MB: {peak / 1024:.0f} MiB", flush=True)
    report("data: peak memory of a build of pairs", ["MB of source", "MiB"], rows, [], None)


if __name__ == "__main__":
    main()
