"""Hard positives: what is left of a function without signature, return statements and docstring, in nine languages."""

from __future__ import annotations

import importlib.util
import json
from itertools import chain, combinations
from pathlib import Path

import pytest
from datasets import Dataset

import coderep
from data_collators import LANGUAGES, PairCollator, Pairs
from data_collators.builders.pairs import PairExtractor, PairOptions
from data_collators.builders.store import load_split
from data_collators.definitions import code_spans, functions, hard_positive, without_docstring
from data_collators.hard_positives import PARTS, hard_positive_of
from data_collators.parsing import Span
from data_collators.rows import SourceFile
from data_collators.shared_positives import shared_hard_positives
from data_collators.slices import cut, relocate

GOLDEN = Path(__file__).parent / "golden"
SUBSETS = [*chain.from_iterable(combinations(PARTS, size) for size in range(4))]

# language: (source, without the signature, without return statements, without both); a definition inside keeps its own.
SNIPPETS = {
    "python": (
        """class A:
    @cache
    def add(self, a, b=(1, 2)):
        \"\"\"Add two of the numbers.\"\"\"
        def inner(x):
            return x
        if a: return None
        c = inner(a) + b
        return (
            c
        )
""",
        "def inner(x):\n    return x\nif a: return None\nc = inner(a) + b\nreturn (\n    c\n)",
        "@cache\ndef add(self, a, b=(1, 2)):\n    def inner(x):\n        return x\n    if a: \n    c = inner(a) + b",
        "def inner(x):\n    return x\nif a: \nc = inner(a) + b",
    ),
    "java": (
        """class A {
    /** Adds two of the numbers. */
    @Override
    int add(int a, int b) throws E {
        // really
        int c = a + b;
        if (c < 0) { return 0; }
        return c;
    }
}
""",
        "// really\nint c = a + b;\nif (c < 0) { return 0; }\nreturn c;",
        "@Override\nint add(int a, int b) throws E {\n    // really\n    int c = a + b;\n    if (c < 0) {  }\n}",
        "// really\nint c = a + b;\nif (c < 0) {  }",
    ),
    "javascript": (
        """/** Adds two of the numbers. */
export const add = async (a, b) => {
  const f = () => { return 1; };
  log(f());
  return a + b;
};
""",
        "const f = () => { return 1; };\nlog(f());\nreturn a + b;",
        "export const add = async (a, b) => {\n  const f = () => { return 1; };\n  log(f());\n};",
        "const f = () => { return 1; };\nlog(f());",
    ),
    "typescript": (
        """class A {
  /** Adds two of the numbers. */
  private add<T>(a: T, b: number): number {
    let c = a as unknown as number;
    c += b;
    return c;
  }
}
""",
        "let c = a as unknown as number;\nc += b;\nreturn c;",
        "private add<T>(a: T, b: number): number {\n  let c = a as unknown as number;\n  c += b;\n}",
        "let c = a as unknown as number;\nc += b;",
    ),
    "csharp": (
        """class A
{
    /// <summary>Adds two of the numbers.</summary>
    public static int Add(int a, int b)
    {
        var c = a + b;
        Log(c);
        return c;
    }
}
""",
        "var c = a + b;\nLog(c);\nreturn c;",
        "public static int Add(int a, int b)\n{\n    var c = a + b;\n    Log(c);\n}",
        "var c = a + b;\nLog(c);",
    ),
    "c": (
        """/* Adds two of the numbers. */
static int
add(int a, int b)
{
\tint c = a + b;
\tif (c)
\t\treturn 1;
\tlog(c);
\treturn c;
}
""",
        "int c = a + b;\nif (c)\n\treturn 1;\nlog(c);\nreturn c;",
        "static int\nadd(int a, int b)\n{\n\tint c = a + b;\n\tif (c)\n\tlog(c);\n}",
        "int c = a + b;\nif (c)\nlog(c);",
    ),
    "ruby": (
        """module A
  # Adds two of the numbers.
  def add(a, b = 1)
    c = a + b
    puts c
    return c
  end
end
""",
        "c = a + b\nputs c\nreturn c",
        "def add(a, b = 1)\n  c = a + b\n  puts c\nend",
        "c = a + b\nputs c",
    ),
    "php": (
        """<?php
/** Adds two of the numbers. */
function add(int $a, int $b): int {
    $c = $a + $b;
    echo $c;
    return $c;
}
""",
        "$c = $a + $b;\necho $c;\nreturn $c;",
        "function add(int $a, int $b): int {\n    $c = $a + $b;\n    echo $c;\n}",
        "$c = $a + $b;\necho $c;",
    ),
    "go": (
        """package p

// Add adds two of the numbers.
func (s *S) Add(a, b int) (int, error) {
\tc := a + b
\ts.log(c)
\treturn c, nil
}
""",
        "c := a + b\ns.log(c)\nreturn c, nil",
        "func (s *S) Add(a, b int) (int, error) {\n\tc := a + b\n\ts.log(c)\n}",
        "c := a + b\ns.log(c)",
    ),
}


def pair_of(language, source):
    (row,) = [row for row in PairExtractor()(SourceFile("f", source, language, "r", "p")).rows]
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


@pytest.mark.parametrize("language", SNIPPETS)
def test_parts_of_each_language(language):
    source, no_signature, no_return, neither = SNIPPETS[language]
    row = pair_of(language, source)
    assert hard_positive_of(row, ["signature", "docstring"]) == no_signature
    assert hard_positive_of(row, ["return", "docstring"]) == no_return
    assert hard_positive_of(row, ["signature", "return", "docstring"]) == neither == row["code_body"]
    assert hard_positive_of(row, ["docstring"]) == row["code"]
    assert hard_positive_of(row) == neither
    assert row["docstring"] not in row["code"]
    for drop in SUBSETS:
        if "docstring" not in drop:
            assert hard_positive_of(row, drop) == f"{row['docstring']}\n{hard_positive_of(row, {*drop, 'docstring'})}"


def test_every_language_is_tested():
    assert set(LANGUAGES) - set(SNIPPETS) == {"rust"}


def real_code(sources):
    """(code, language) of files checked by hand in every language, and of modules of the standard library."""
    spec = importlib.util.spec_from_file_location("golden_show", GOLDEN / "show.py")
    show = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(show)
    found = [(source, "python") for source in sources]
    for language in LANGUAGES:
        text = (GOLDEN / f"{language}.txt").read_text(encoding="utf-8")
        found += [(show.source_of(marked).encode(), language) for _, marked, _ in show.sections(text)]
    return found


def squeezed(text):
    return b"".join(text.split())


def test_spans_are_those_of_the_source(sources):
    """What the spans cut out of `code` is what the parser's spans cut out of the file, but for indentation and docs."""
    seen = with_docs = 0
    for code, language in real_code(sources):
        for function in functions(code, language):
            whole, offsets = without_docstring(code, function).encode(), code_spans(code, function)
            assert len(offsets) == 2 + 2 * len(function.returns) and all(0 <= o <= len(whole) for o in offsets)
            docs = [d for d in (function.docstring_span, *function.inner_docstrings) if d]
            for start, end, span in zip(offsets[::2], offsets[1::2], (function.body, *function.returns), strict=True):
                kept = bytes(
                    byte
                    for place, byte in enumerate(code[slice(*span)], span.start)
                    if not any(doc.start <= place < doc.end for doc in docs)
                )
                assert squeezed(whole[start:end]) == squeezed(kept), (language, function.name)
            old = cut(code, function.body, [*function.returns, *docs])
            assert squeezed(hard_positive(code, function).encode()) == squeezed(old.encode())
            seen, with_docs = seen + 1, with_docs + bool(docs)
    assert seen > 800 and with_docs > 200


def test_cutting_both_gives_the_column_and_nothing_the_code(sources):
    rows = []
    for code, language in real_code(sources):
        options = PairOptions(min_text_words=1, kinds=("function", "method", "class"))
        rows += PairExtractor(options)(SourceFile("f", code.decode(), language, "r", "p")).rows
    for pair in rows:
        row = {name: getattr(pair, name) for name in pair.__dataclass_fields__}
        plain = {**row, "code_body": None}
        assert hard_positive_of(row) == row["code_body"]
        body, *returns = (Span(*span) for span in zip(*[iter(row["code_spans"])] * 2, strict=True))
        assert cut(row["code"].encode(), body, returns) == row["code_body"]
        assert hard_positive_of(plain, ["docstring"]) == row["code"]
    assert len(rows) > 150 and any(not row.code_body for row in rows) and {row.language for row in rows} == {*LANGUAGES}


def test_offsets_move_as_a_mark_put_there_does(sources):
    """A mark at each offset that is kept, cut along with the code, stands where the offset is said to be."""
    moved = 0
    for code in sources[:4]:
        for function in functions(code, "python"):
            docs = [d for d in (function.docstring_span, *function.inner_docstrings) if d]
            for target in function.returns[:3]:
                if any(doc.start <= target.start < doc.end for doc in docs):
                    continue
                marked = code[: target.start] + b"\x00" + code[target.start :]

                def shift(span, at=target.start):
                    return Span(span.start + (span.start > at), span.end + (span.end > at))

                expected = cut(marked, shift(function.span), map(shift, docs)).encode().index(b"\x00")
                assert relocate(code, function.span, docs, [target.start]) == [expected]
                moved += expected != target.start - function.span.start
    assert moved > 20, "nothing before the offsets was cut"


def test_offsets_on_paper():
    #       0123 4567 8901234 567
    code = b"\n\n  a\n  # x\n    b\n c\n"
    assert cut(code, Span(2, 21), [Span(8, 11)]) == "a\n  b\n c"
    #  a at 4, the comment at 8 (gone: the next line begins there), b at 16, the end of its line, c at 19
    assert relocate(code, Span(2, 21), [Span(8, 11)], [4, 8, 11, 16, 17, 19, 21]) == [0, 2, 2, 4, 5, 7, 8]
    assert relocate(b"", Span(0, 0), [], [0]) == [0]


# data sets


def test_a_data_set_tells_the_parts(corpus, tmp_path, tokenizer):
    command = ["data", "pairs", "--source", str(corpus), "--output", str(tmp_path / "pairs"), "--test-share", "0"]
    assert coderep.main(command) == 0
    rows = load_split(tmp_path / "pairs", "train")
    shown = {}
    for drop in (["return", "docstring"], ["signature", "docstring"], ["docstring"], None):
        batch = PairCollator(tokenizer, hard_positive_drop=drop)(list(rows))
        shown[json.dumps(drop)] = batch["code_lengths"].float().mean()
    values = list(shown.values())
    assert values[3] < min(values[:2]) and max(values[:2]) < values[2]


def test_rows_of_earlier_data_sets(tokenizer):
    """They train as before; another choice names the command that makes them know their parts."""
    row = {"text": "t", "code": "def f():\n    x()\n    return 1", "code_body": "x()", "docstring": "T."}
    (tokens,) = PairCollator(tokenizer)([row])["code_input_ids"].unsqueeze(0)
    assert tokenizer.decode(tokens[:-1]) == "x()"
    collator = PairCollator(tokenizer, hard_positive_drop=["return", "docstring"])
    with pytest.raises(ValueError, match=r"needs the column 'code_spans', which these rows lack.*coderep data pairs"):
        collator([row])
    plain = {"text": "t", "code": "x"}
    with pytest.raises(ValueError, match=r"drop \['signature', 'return'\] needs the column 'docstring'"):
        PairCollator(tokenizer, hard_positive_drop=["signature", "return"])([plain])
    assert PairCollator(tokenizer, hard_positive_drop=["return"], hard_positive_rate=0)([row])["code_lengths"].numel()


# hard positives that several texts share


def function_row(name, body, text, result="1"):
    """As `coderep data pairs` writes it, but for the columns that are not looked at."""
    code = f"def {name}():\n    {body}\n    return {result}".replace("\n    \n", "\n")
    source = f'def {name}():\n    """{text}."""\n    {body}\n    return {result}\n'.replace("\n    \n", "\n")
    (function,) = functions(source.encode(), "python")
    left = hard_positive(source.encode(), function)
    assert left == body.strip()
    spans = code_spans(source.encode(), function)
    return {"text": text, "code": code, "code_body": left, "code_spans": spans, "docstring": f"{text}."}


ROWS = [
    function_row("a", "super()", "Do this"),
    function_row("b", "super( )", "Do that"),  # not the same to the letter
    function_row("c", "super()", "Do  this"),
    function_row("d", "super()  ", "Do more"),
    function_row("e", "", "Give one"),
    function_row("f", "", "Give two", "2"),
    function_row("g", "x = 1", "Set it"),
    function_row("g", "x = 1", "Set it"),  # with the same text
    function_row("h", "y = 1", "Set that"),
    function_row("h", "y = 1", "Set more"),
]


def slowly_shared(rows, drop):
    """Each row with each other."""

    def squeeze(text):
        return " ".join(text.split())

    parts = [squeeze(hard_positive_of(row, drop)) for row in rows]
    return [
        bool(part)
        and any(
            part == other and squeeze(row["text"]) != squeeze(another["text"])
            for other, another in zip(parts, rows, strict=True)
        )
        for part, row in zip(parts, rows, strict=True)
    ]


@pytest.mark.parametrize("drop", SUBSETS, ids=str)
def test_hard_positives_of_several_texts(drop):
    found = shared_hard_positives(Dataset.from_list(ROWS), drop).tolist()
    assert found == slowly_shared(ROWS, drop)
    if set(drop) == set(PARTS):
        assert found == [True, False, True, True, False, False, False, False, True, True]
    if "docstring" not in drop:
        assert not any(found)


def test_codes_that_stand_for_texts_do_not_count():
    """`coderep data augment` gives a function more rows; their bodies are those of the row that it is from."""
    rows = [{**row, "text_kind": "summary"} for row in ROWS]
    more = [{**row, "text": f"def {n}(): pass", "text_kind": "renamed"} for n, row in enumerate(ROWS)]
    alone = shared_hard_positives(Dataset.from_list(ROWS)).tolist()
    assert shared_hard_positives(Dataset.from_list(rows + more)).tolist() == alone * 2
    queries = [{**row, "text_kind": "query"} for row in more]
    assert sum(shared_hard_positives(Dataset.from_list(rows + queries))) == 2 * (len(ROWS) - 2)  # all with a body


def test_rows_without_hard_positives_share_none():
    plain = Dataset.from_list([{"text": "a", "code": "x"}, {"text": "b", "code": "x"}])
    assert shared_hard_positives(plain).tolist() == [False, False]
    assert shared_hard_positives(plain.select([])).tolist() == []
    with pytest.raises(ValueError, match="needs the column 'code_spans', which these rows lack"):
        shared_hard_positives(plain, ["return"])


def test_shared_ones_are_shown_whole_and_change_no_other_draw(tokenizer):
    rows = Dataset.from_list([{**row, "negatives": [f"n{n}" for n in range(9)]} for row in ROWS])
    shared = shared_hard_positives(rows)
    collator = PairCollator(tokenizer, hard_positive_rate=0.5, max_negatives=2)
    batches = [
        collator([pairs[place] for place in range(len(ROWS))]) for pairs in (Pairs(rows), Pairs(rows, 0, shared))
    ]
    whole, body = (PairCollator(tokenizer, hard_positive_rate=r)(list(rows))["code_hash"] for r in (0, 1))
    before, after = (batch["code_hash"] for batch in batches)
    assert ((before == body) & (before != whole))[shared].any(), "none was to be shown in part: nothing is tested"
    assert (after[shared] == whole[shared]).all() and (after[~shared] == before[~shared]).all()
    assert (batches[0]["negative_hash"] == batches[1]["negative_hash"]).all()


def test_training_shows_them_whole(tmp_path, tokenizer, capsys):
    """The command says how many there are, and their bodies are no part of what it trains on."""
    from trainers import ContrastiveArguments
    from trainers.contrastive import shown_whole

    args = ContrastiveArguments(output_dir=str(tmp_path))
    assert shown_whole(args, Dataset.from_list(ROWS)).sum() == 5
    assert "stage 2: 5 of 10 codes are always shown whole: what would be left" in capsys.readouterr().err
    args.hard_positive_rate = 0.0
    assert shown_whole(args, Dataset.from_list(ROWS)) is None and capsys.readouterr().err == ""
