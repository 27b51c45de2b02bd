"""Mutated source code in large numbers through everything that reads code, with every result checked.

Each input is made from its number and the seed alone: a snippet of the golden files, or with `--corpus` a window of a
real file, that is cut, spliced, duplicated and strewn with hostile bytes. Inputs go in batches to worker processes. One
that dies or does not answer is replaced, and its inputs are tried one at a time, so that the run goes on and the input
that did it is known. Failures are written to a folder, figures to a page of Markdown.

    python tests/fuzz/run.py --inputs 1000000 --seed 0 --processes 2 --output docs/RELIABILITY.md
    python tests/fuzz/run.py --show 4711 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import random
import selectors
import shlex
import subprocess
import sys
import textwrap
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data_collators import LANGUAGES
from data_collators.builders.stage1 import chunk_ends
from data_collators.builders.summaries import summary
from data_collators.builders.text_filters import drop_reason
from data_collators.definitions import Function, find_functions, hard_positive, without_docstring
from data_collators.languages import language_table
from data_collators.names import Identifier, find_identifiers
from data_collators.parsing import parse, syntax_literals
from data_collators.tokenization import IdentifierTokenizer, train_tokenizer

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden"
ANSWER_SECONDS = 20.0
BATCH = 500
SMALLEST, LARGEST = 50, 2000
# A worker that wants more memory than this fails.
MEMORY_BYTES = 6 * 2**30
# Every so many inputs, tokens are aligned with names too.
ALIGN_EVERY = 50
# Longest windows of real files.
WINDOW = 1500

KEYWORDS = r"""
class def function func fn interface struct enum trait impl namespace module return yield lambda => -> async await if
else elif unless while for do end begin try catch except finally switch case match default new import from use package
public private static final const let var type extends implements where template <?php ?> <% %> #include #define #if
#endif #region __END__ =begin =end @Override @decorator /** */ /* // /// # <!-- --> ''' <<EOF EOF <<~X ` ${ } #{ $" @"
R"( )" b' r#" "# ' " ( ) [ ] { } < > ; : , . .. ... ?. :: = == := & && | || ! ? % ~ ^ \
"""
HOSTILE = [b'"""', *(word.encode() for word in KEYWORDS.split())] + [
    *(b"\0", b"\t", b"\r", b"\n", b"\r\n", b"\n\n", b"\f", b"\v", b" ", b"    ", b"\\\n"),
    *(
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xfe\xff",
        b"\x80",
        b"\xc3",
        b"\xe2\x80",
        b"\xf0\x9f",
        b"\xed\xa0\x80",
        b"\xed\xb0\x80",
    ),
    *(text.encode() for text in ("é", "e\u0301", "名前", "имя", "اسم", "\u202e", "\u200b", "\u00a0", "\u2028", "\x85")),
    *(text.encode() for text in ("😀", "👩\u200d🚀", "𝒙", "ﬁ", "İ", "ß", "\u0300\u0301", "\U000e0001")),
    *(b"(" * 40, b"[" * 40, b"{" * 40, b"))))", b"]]]]", b"}}}}", b"a." * 60, b"f(" * 60, b"-" * 60, b"<see " * 20),
]


class FuzzError(Exception):
    """What keeps the run from starting, in one sentence for the user."""


# What must hold


def check_names(code: bytes, names: list[Identifier]) -> None:
    """Spans are sorted, disjoint, inside the text and not empty; one name has one id, counted from 1.

    Raises:
        AssertionError: They are not.
    """
    end, ids = 0, {}
    for name in names:
        assert end <= name.start < name.end <= len(code), f"name {name} begins before {end} or leaves the text"
        assert ids.setdefault(code[name.start : name.end], name.name_id) == name.name_id, f"another id for {name}"
        end = name.end
    assert sorted(ids.values()) == list(range(1, len(ids) + 1)), "two names with one id, or ids that are left out"


def check_functions(code: bytes, found: list[Function]) -> None:
    """Spans nest: signature before body, both in the definition, returns in the body, and definitions in each other.

    Raises:
        AssertionError: They do not.
    """
    around: list[int] = []
    for function in sorted(found, key=lambda function: (function.span.start, -function.span.end)):
        span, signature, body = function.span, function.signature, function.body
        assert 0 <= span.start <= signature.start <= signature.end <= body.start, f"signature outside: {function}"
        assert body.start <= body.end <= span.end <= len(code), f"body outside: {function}"
        end = body.start
        for start, stop in function.returns:
            assert end <= start < stop <= body.end, f"return statement outside the body, or in another: {function}"
            end = stop
        for start, stop in function.inner_docstrings:
            assert 0 <= start < stop <= len(code), f"inner doc comment outside the text: {function}"
        own = function.docstring_span
        assert bool(own) or not function.docstring, f"text of no doc comment: {function}"
        assert own is None or 0 <= own.start < own.end <= len(code), f"doc comment outside the text: {function}"
        assert function.kind in ("function", "method", "class"), f"kind: {function}"
        assert 1 <= function.line <= code.count(b"\n") + 1, f"line: {function}"
        while around and around[-1] <= span.start:
            around.pop()
        assert not around or span.end <= around[-1], f"a definition that ends outside the one it is in: {function}"
        around.append(span.end)


def check_texts(code: bytes, found: list[Function]) -> None:
    """What is cut out of each definition is text, and no more than was there.

    Raises:
        AssertionError: It is not.
    """
    for function in found:
        whole, body = without_docstring(code, function), hard_positive(code, function)
        for text, (start, end) in ((whole, function.span), (body, function.body)):
            assert len(text) <= end - start + 1024, f"more text than there was: {function}"
            text.encode()
        text = summary(function.docstring)
        text.encode()
        assert "\n" not in text, f"summary of several lines: {function}"
        drop_reason(text, 3, 256)


def check_tokens(code: bytes, names: list[Identifier], tokenize: IdentifierTokenizer, pieces: dict[int, bytes]) -> None:
    """Tokens give the text back, byte for byte, and those of a name, with one blank before it, have its id.

    Raises:
        AssertionError: They do not.
    """
    input_T, identifier_T = tokenize(code, names)
    texts = [pieces[token] for token in input_T.tolist()]
    assert b"".join(texts) == code, "tokens that give another text"
    assert len(identifier_T) == len(input_T), "tokens without an id"
    expected, end = np.zeros(len(code), dtype=np.int64), 0
    for name in names:
        blank = name.start > end and code[name.start - 1 : name.start] == b" "
        expected[name.start - blank : name.end] = name.name_id
        end = name.end
    assert np.array_equal(np.repeat(identifier_T, [len(text) for text in texts]), expected), "tokens with another id"
    ends = chunk_ends(identifier_T, 64)
    assert ends[-1] == len(identifier_T) and ends == sorted(ends), "documents that do not make up the text"


# Inputs


@dataclass(frozen=True)
class Seeds:
    """What inputs are made from: texts by language."""

    texts: dict[str, list[bytes]]

    @property
    def languages(self) -> list[str]:
        """Languages with texts."""
        return list(self.texts)


@cache
def golden() -> dict[str, list[bytes]]:
    """The snippets of the golden files, by language."""
    spec = importlib.util.spec_from_file_location("golden_show", GOLDEN / "show.py")
    show = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(show)
    return {
        language: [
            show.source_of(marked).encode()
            for _, marked, _ in show.sections((GOLDEN / f"{language}.txt").read_text(encoding="utf-8"))
        ]
        for language in LANGUAGES
    }


@cache
def read_seeds(corpus: str = "") -> Seeds:
    """Golden snippets, and windows of the files below a folder if one is named.

    Raises:
        FuzzError: The folder is none.
    """
    texts = {language: list(snippets) for language, snippets in golden().items()}
    if not corpus:
        return Seeds(texts)
    if not Path(corpus).is_dir():
        raise FuzzError(f"corpus '{corpus}' is not a folder.")
    suffixes = {suffix: name for name, language in LANGUAGES.items() for suffix in language.suffixes}
    for path in sorted(Path(corpus).rglob("*")):
        language = suffixes.get(path.suffix.lower())
        if language and path.is_file():
            data = path.read_bytes()[: 200 * WINDOW]
            texts[language] += [data[start : start + WINDOW] for start in range(0, len(data), WINDOW)]
    return Seeds(texts)


def make_input(number: int, seed: int, seeds: Seeds) -> tuple[str, bytes]:
    """Language and text of an input."""
    rng = random.Random(f"{seed}:{number}")
    language = seeds.languages[number % len(seeds.languages)]
    texts = seeds.texts[language]
    code = bytearray(b"\n".join(rng.choices(texts, k=rng.choice((1, 1, 2, 4)))))
    if len(code) > LARGEST:
        start = rng.randrange(len(code) - LARGEST)
        code = code[start : start + LARGEST]
    for _ in range(1 + int(rng.expovariate(0.4))):
        rng.choice(_MUTATIONS)(code, rng, texts)
    while len(code) < SMALLEST:
        code += rng.choice(texts)[:LARGEST]
    return language, bytes(code[:LARGEST])


def _span(code: bytearray, rng: random.Random) -> slice:
    start = rng.randrange(len(code) + 1)
    return slice(start, min(len(code), start + int(rng.expovariate(0.05))))


def _delete(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    del code[_span(code, rng)]


def _duplicate(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    piece, at = code[_span(code, rng)], rng.randrange(len(code) + 1)
    code[at:at] = piece * rng.choice((1, 1, 2, 8))


def _swap(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    first, second = sorted((_span(code, rng), _span(code, rng)), key=lambda span: span.start)
    if first.stop <= second.start:
        code[second], code[first] = code[first], code[second]


def _insert_token(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    words = rng.choice(texts).split()
    at = rng.randrange(len(code) + 1)
    code[at:at] = rng.choice(words) if words else b" "


def _insert_hostile(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    at = rng.randrange(len(code) + 1)
    code[at:at] = rng.choice(HOSTILE)


def _splice(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    other = rng.choice(texts)
    code[rng.randrange(len(code) + 1) :] = other[rng.randrange(len(other) + 1) :]


def _splice_language(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    other = rng.choice(rng.choice(list(golden().values())))
    at = rng.randrange(len(code) + 1)
    code[at:at] = other[_span(bytearray(other), rng)]


def _cut(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    half = rng.randrange(len(code) + 1)
    del code[slice(half, None) if rng.random() < 0.5 else slice(half)]


def _flip(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 4))):
        if code:
            code[rng.randrange(len(code))] ^= 1 << rng.randrange(8)


def _random_bytes(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    at = rng.randrange(len(code) + 1)
    code[at:at] = rng.randbytes(rng.choice((1, 4, 32)))


def _newlines(code: bytearray, rng: random.Random, texts: list[bytes]) -> None:
    code[:] = code.replace(b"\r\n", b"\n").replace(b"\n", rng.choice((b"\r\n", b"\r", b"\n\n", b"\n\r", b" ", b"\n  ")))


_MUTATIONS = (
    *(_delete, _delete, _duplicate, _swap, _swap, _insert_token, _insert_token, _insert_hostile, _insert_hostile),
    *(_splice, _splice, _splice_language, _cut, _flip, _random_bytes, _newlines),
)


# One batch


@dataclass
class Figures:
    """What was seen of one language."""

    inputs: int = 0
    bytes: int = 0
    broken: int = 0
    names: int = 0
    functions: int = 0
    failures: int = 0
    # Inputs by their time, in steps of a tenth of a millisecond.
    times: dict[int, int] = field(default_factory=dict)
    slowest_ms: float = 0.0
    slowest: int = 0

    def add(self, other: Figures) -> None:
        """Take in the figures of other inputs."""
        for name in ("inputs", "bytes", "broken", "names", "functions", "failures"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for step, count in other.times.items():
            self.times[int(step)] = self.times.get(int(step), 0) + count
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = other.slowest_ms, other.slowest

    def percentile_ms(self, share: float) -> float:
        """The time that so large a share of the inputs stays under."""
        left = share * sum(self.times.values())
        for step, count in sorted(self.times.items()):
            left -= count
            if left <= 0:
                return (step + 1) / 10
        return 0.0


@cache
def small_tokenizer() -> tuple[IdentifierTokenizer, dict[int, bytes]]:
    """A small tokenizer, and the bytes that each of its tokens stands for."""
    texts = [snippet.decode() for snippets in golden().values() for snippet in snippets]
    tokenizer = train_tokenizer(texts, vocab_size=2048)
    signs = _byte_signs()
    words = {
        number: piece for piece, number in tokenizer.get_vocab().items() if number not in tokenizer.all_special_ids
    }
    pieces = {number: bytes(signs[sign] for sign in piece) for number, piece in words.items()}
    return IdentifierTokenizer(tokenizer), pieces


def _byte_signs() -> dict[str, int]:
    """The byte that each sign of a byte-level vocabulary stands for."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [number for number in range(256) if number not in plain]
    return {chr(number): number for number in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}


def check_input(language: str, code: bytes, align: bool, figures: Figures) -> None:
    """Everything that reads code on one text, with its results checked.

    Raises:
        AssertionError: A result is wrong.
    """
    syntax = parse(code, language)
    figures.broken += syntax.tree.root_node.has_error
    names = find_identifiers(syntax, language)
    check_names(code, names)
    figures.names += len(names)
    found = find_functions(syntax, language)
    check_functions(code, found)
    check_texts(code, found)
    figures.functions += len(found)
    if align:
        syntax_literals(syntax, language)
        text = code.decode("utf-8", "replace").encode()
        check_tokens(text, find_identifiers(parse(text, language), language), *small_tokenizer())


def run_batch(start: int, stop: int, seed: int, seeds: Seeds) -> tuple[dict[str, Figures], dict[int, str]]:
    """Figures by language, and what went wrong by number of the input."""
    figures: dict[str, Figures] = defaultdict(Figures)
    failures = {}
    for number in range(start, stop):
        language, code = make_input(number, seed, seeds)
        mine = figures[language]
        mine.inputs, mine.bytes = mine.inputs + 1, mine.bytes + len(code)
        align = (number // len(seeds.languages) + 1) % ALIGN_EVERY == 0
        began = time.perf_counter()
        try:
            check_input(language, code, align, mine)
        except Exception:
            mine.failures += 1
            failures[number] = traceback.format_exc()
        spent = 1000 * (time.perf_counter() - began)
        if align:  # is not what is measured
            continue
        mine.times[int(10 * spent)] = mine.times.get(int(10 * spent), 0) + 1
        if spent > mine.slowest_ms:
            mine.slowest_ms, mine.slowest = spent, number
    return figures, failures


# Workers


def work(seed: int, corpus: str) -> None:
    """A worker: reads `start stop` lines, answers each with a line of JSON."""
    _limit_memory()
    seeds = read_seeds(corpus)
    run_batch(0, len(seeds.languages), seed, seeds)  # grammars and queries are read now, not in an input's time
    check_input("typescript", b"const a = <A b={c}>d</A>;", False, Figures())  # of both its grammars
    drop_reason(summary("Größe der Fläche"), 3, 256)  # and so are models of languages
    print("ready", flush=True)
    for line in sys.stdin:
        start, stop = map(int, line.split())
        figures, failures = run_batch(start, stop, seed, seeds)
        answer = {"figures": {name: vars(mine) for name, mine in figures.items()}, "failures": failures}
        print(json.dumps(answer), flush=True)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


class Worker:
    """A process of its own that runs batches."""

    def __init__(self, seed: int, corpus: str, command: list[str] | None = None) -> None:
        command = command or [sys.executable, str(HERE / "run.py")]
        self._command = [*command, "--worker", "--seed", str(seed), "--corpus", corpus]
        self.batch: tuple[int, int] | None = None
        self.deadline = 0.0
        self.start()

    def start(self) -> None:
        """Start the process; it answers once it is ready."""
        path = os.pathsep.join(filter(None, [str(HERE.parent.parent), os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"},
        )
        if self.process.stdout.readline() != "ready\n":
            raise FuzzError("a worker process does not start.")

    def send(self, start: int, stop: int, seconds: float) -> None:
        """Give it a batch."""
        self.batch, self.deadline = (start, stop), time.monotonic() + seconds
        with contextlib.suppress(OSError):  # it is dead; so says its answer
            self.process.stdin.write(f"{start} {stop}\n")
            self.process.stdin.flush()

    def answer(self) -> tuple[dict[str, Figures], dict[int, str]] | None:
        """The answer that has come; None if it died."""
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            return None
        answer = json.loads(line)
        figures = {name: Figures(**values) for name, values in answer["figures"].items()}
        return figures, {int(number): text for number, text in answer["failures"].items()}

    def stop(self) -> str:
        """End the process; how it ended."""
        with contextlib.suppress(OSError):  # what it did not read
            self.process.stdin.close()
        try:
            how = f"the worker died with exit code {self.process.wait(1)}"
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            how = "the worker gave no answer in time"
        self.process.stdout.close()
        return how


class Run:
    """A run over numbered inputs, in this process or in others.

    Args:
        inputs: How many.
        seed: What they are made from, with their number.
        processes: Worker processes; 0 for none.
        corpus: A folder with files to take windows from; "" for none.
        failures: Folder for inputs that fail; None to keep what went wrong in memory alone.
        command: What starts a worker, if not this file.
        seconds: How long a batch may take.
    """

    def __init__(
        self,
        inputs: int,
        seed: int,
        processes: int = 0,
        corpus: str = "",
        failures: Path | None = None,
        command: list[str] | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.inputs, self.seed, self.processes, self.corpus = inputs, seed, processes, corpus
        self.folder, self.command, self.seconds = failures, command, seconds
        self.seeds = read_seeds(corpus)
        self.figures: dict[str, Figures] = {language: Figures() for language in self.seeds.languages}
        self.failures: dict[int, str] = {}
        self.lost = 0
        self.spent = 0.0
        self._done = 0

    def __call__(self) -> Run:
        """Run it all."""
        began, told = time.monotonic(), 0.0
        batches = [(start, min(start + BATCH, self.inputs)) for start in range(0, self.inputs, BATCH)]
        for _ in self._in_workers(batches) if self.processes else self._here(batches):
            self.spent = time.monotonic() - began
            if self.spent - told > 10 or self._done == self.inputs:
                told = self.spent
                rate = self._done / max(self.spent, 1e-9)
                print(f"{self._done} inputs, {rate:.0f}/s, {len(self.failures)} failures", flush=True)
        return self

    def _here(self, batches: list[tuple[int, int]]) -> Iterator[None]:
        for start, stop in batches:
            self._take(*run_batch(start, stop, self.seed, self.seeds), stop - start)
            yield

    def _in_workers(self, batches: list[tuple[int, int]]) -> Iterator[None]:
        pending = batches[::-1]
        workers = [Worker(self.seed, self.corpus, self.command) for _ in range(min(self.processes, len(batches)))]
        try:
            for worker in workers:
                worker.send(*pending.pop(), self.seconds)
            busy = list(workers)
            while busy:
                for worker in _answered(busy):
                    self._receive(worker)
                    if pending:
                        worker.send(*pending.pop(), self.seconds)
                    else:
                        busy.remove(worker)
                    yield
        finally:
            for worker in workers:
                worker.stop()

    def _receive(self, worker: Worker) -> None:
        """The answer to a batch; if there is none, the answers to its inputs one at a time."""
        start, stop = worker.batch
        answer = worker.answer() if _is_readable(worker) else None
        if answer is not None:
            self._take(*answer, stop - start)
            return
        why = worker.stop()
        worker.start()
        seen = len(self.failures)
        for number in range(start, stop):
            worker.send(number, number + 1, self.seconds)
            answer = worker.answer() if _is_readable(worker, self.seconds) else None
            if answer is not None:
                self._take(*answer, 1)
                continue
            self._take({self._language(number): Figures(inputs=1, failures=1)}, {number: worker.stop()}, 1)
            worker.start()
        if len(self.failures) == seen:
            self.lost += 1
            print(f"inputs {start} to {stop - 1}: {why}, but none of them does it alone", flush=True)

    def _language(self, number: int) -> str:
        return self.seeds.languages[number % len(self.seeds.languages)]

    def _take(self, figures: dict[str, Figures], failures: dict[int, str], count: int) -> None:
        self._done += count
        for language, mine in figures.items():
            self.figures[language].add(mine)
        self.failures.update(failures)
        for number, text in failures.items() if self.folder else ():
            language, code = make_input(number, self.seed, self.seeds)
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{self.seed}-{number}-{language}"
            (self.folder / f"{name}{LANGUAGES[language].suffixes[0]}").write_bytes(code)
            (self.folder / f"{name}.log").write_text(text, encoding="utf-8")


def _is_readable(worker: Worker, seconds: float = 0.0) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(worker.process.stdout, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _answered(workers: list[Worker]) -> list[Worker]:
    """Workers that have answered, or died, or have no more time."""
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        first = min(worker.deadline for worker in workers)
        ready = [key.data for key, _ in selector.select(max(0.0, first - time.monotonic()))]
    return ready or [worker for worker in workers if worker.deadline <= time.monotonic()]


# The page

_MADE = """The texts have {shortest} to {longest:,} bytes. They are made from {seeds} by one or more of: bytes deleted,
doubled, swapped; words of the language and hostile signs inserted (brackets, quotes, openings of comments, control
signs, halves of characters); two texts spliced; the text cut; bits flipped; other line ends."""

_PAGE = """# Reliability

What reads code must not stumble over code that nobody can read: files are cut off, generated, in another language than
their suffix says, or no text at all. Here are the figures of a run over {inputs:,} texts that a program broke on
purpose. Made by the command below; do not edit.

```sh
{command}
```

{failed}

{made}

{table}

Times are of one text, everything together: syntax tree, names, functions, doc comments, training texts; 99.9 % of the
texts take no longer than the last column but one says. {rate} texts/s with {processes}, {spent}. {lost}

## What runs have found

Mended, and tested in `tests/test_robustness.py` and `tests/test_parsing.py`: queries that crash on bytes that are not
UTF-8; queries that take time in proportion to the square of nodes, in deep trees and below wide error nodes; patterns
for doc comments that took cubic time; return statements behind the body of a broken class (Ruby); a text of 276 bytes
that the parser for TSX does not come to an end on (text 516,613 of seed 0): every parse has a time budget now.

## What is checked

- Nothing raises an error. No process dies, takes longer than {answer:g} s for a batch or more than {memory:g} GiB.
- Names: spans are sorted, disjoint, inside the text, not empty; a name has one id wherever it stands, an id one name.
- Functions: the signature stands before the body, both in the span of the definition; return statements are in the
  body, sorted and disjoint; definitions lie in each other or apart; doc comments are inside the text.
- Texts: a definition without its doc comments, its hard positive and its summary are valid text, no longer than what
  they were cut from; a summary is one line.
- Tokens, every {align}th text: they give the text back byte for byte, and each name is a run of tokens with its id.

What breaks none of these may still be wrong: which names and functions are found is checked by hand, in `tests/golden`.
Hostile texts of megabytes (nested brackets, endless lines, random bytes) are in `tests/test_robustness.py`.

## To repeat it

Text n of a seed is the same on every machine: `python tests/fuzz/run.py --seed {seed} --show 4711` writes text 4711 to
standard output. A text that fails is in the folder named with `--failures`, beside what went wrong. With `--corpus
FOLDER` texts are made from windows of the files below a folder as well.

Broken code gives what it holds:

```python
from coderep import functions, identifiers

broken = "def total(items):\\n    return sum(items)\\n\\ndef area(width, height:\\n    return width * hei"
print([function.name for function in functions(broken, "python")])
print(len(identifiers(broken, "python")))
```

{machine}
"""


def report(run: Run, command: str) -> str:
    """The page of Markdown."""
    failures = sum(mine.failures for mine in run.figures.values())
    count = f"{failures} of them failed." if failures else "None of them failed."
    lost = f"{run.lost} batches were given up and went through when tried again one at a time." if run.lost else ""
    windows = f" and windows of {WINDOW:,} bytes of the files in `{Path(run.corpus).name}`" if run.corpus else ""
    page = _PAGE.format(
        inputs=run.inputs,
        command=command,
        failed=count,
        made=_wrap(
            _MADE.format(shortest=SMALLEST, longest=LARGEST, seeds="the snippets of the golden files" + windows)
        ),
        table=_table(run),
        rate=f"{run.inputs / max(run.spent, 1e-9):,.0f}",
        processes="one process" if run.processes <= 1 else f"{run.processes} processes",
        spent=f"{run.spent / 60:.0f} minutes" if run.spent > 180 else f"{run.spent:.0f} s",
        lost=lost,
        answer=run.seconds,
        memory=MEMORY_BYTES / 2**30,
        align=ALIGN_EVERY,
        seed=run.seed,
        machine=_machine(),
    )
    return "\n".join(line.rstrip() for line in page.splitlines()) + "\n"


def _table(run: Run) -> str:
    everything = Figures()
    lines = [
        "| language | texts | MB | with syntax errors | functions | names | failures | 99.9 %, ms | slowest, ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for mine in run.figures.values():
        everything.add(mine)
    for name, mine in {**run.figures, "all": everything}.items():
        lines.append(
            f"| {name} | {mine.inputs:,} | {mine.bytes / 1e6:.1f} | {100 * mine.broken / max(mine.inputs, 1):.0f} % "
            f"| {mine.functions:,} | {mine.names:,} | {mine.failures} | {mine.percentile_ms(0.999):.1f} "
            f"| {mine.slowest_ms:.0f} |"
        )
    return "\n".join(lines)


def _machine() -> str:
    versions = ", ".join(
        f"{package} {importlib.metadata.version(package)}"
        for package in ["tree-sitter", *sorted({_package(grammar) for grammar in _grammars()})]
    )
    return _wrap(
        f"{versions}; Python {platform.python_version()}; {platform.system()} {platform.machine()}, {_processor()}, "
        f"{os.cpu_count()} cores; {datetime.datetime.now(datetime.timezone.utc).date()}."
    )


def _grammars() -> list[str]:
    return [grammar for name in LANGUAGES for grammar in language_table(name).grammars]


def _package(grammar: str) -> str:
    return grammar.partition(":")[0].replace("_", "-")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _wrap(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def main(argv: list[str] | None = None) -> int:
    """The command line; 1 if an input failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2, help="worker processes; 0 runs everything in this one")
    parser.add_argument("--corpus", default="", help="folder with files to take windows from")
    parser.add_argument("--failures", type=Path, default=Path("fuzz_failures"), help="folder for inputs that fail")
    parser.add_argument("--output", type=Path, help="page of Markdown to write")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="write this input to standard output")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args: Any = parser.parse_args(argv)
    try:
        if args.worker:
            work(args.seed, args.corpus)
            return 0
        if args.show is not None:
            sys.stdout.buffer.write(make_input(args.show, args.seed, read_seeds(args.corpus))[1])
            return 0
        run = Run(args.inputs, args.seed, args.processes, args.corpus, args.failures)()
    except FuzzError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 2
    if args.output:
        words = ["python", "tests/fuzz/run.py", *(sys.argv[1:] if argv is None else argv)]
        args.output.write_text(report(run, shlex.join(words)), encoding="utf-8")
    for number, text in sorted(run.failures.items())[:20]:
        print(f"input {number}: {text.strip().splitlines()[-1][:300]}")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
