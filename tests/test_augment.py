"""More kinds of pairs: rules of queries and renaming by example, twins against a slow version, the step as a whole."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_embedder import Fake

import coderep
from data_collators.builders.name_pool import NamePool, renamed_copy
from data_collators.builders.query_style import base_form, query_of
from data_collators.builders.query_words import NAMES
from data_collators.builders.renaming import own_names, renamed
from data_collators.builders.store import load_split, load_stats
from data_collators.files import json_lines
from data_collators.languages import LANGUAGES
from data_collators.rows import ACROSS, QUERY, RENAMED, SUMMARY, TEXT_KIND
from data_collators.shared_positives import shared_hard_positives
from hub_cards.data import render_dataset_card
from trainers.augment import augment_pairs
from trainers.augmenting.across import mutual_neighbours, nearest_both_ways
from trainers.augmenting.options import AugmentOptions
from trainers.augmenting.selection import beyond, language_limit, normal

# Texts as searches


class Always(random.Random):
    """Draws the first of everything: articles and pointers go, names are split, no frame is put around."""

    def random(self):
        return 0.0


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("Returns the list of users.", "get list of users"),
        ("Sets the title (as HTML) of this page.", "set title of page"),
        ("Creates a new instance of the Parser class.", "create parser class"),
        ("Returns true if the file exists, false otherwise.", "check if file exists"),
        ("Determines whether the given node is a leaf", "check if node is leaf"),
        ("Whether the gesture landed inside this trigger's target.", "check if gesture landed inside trigger target"),
        ("Helper method to parse dates; used in tests only", "parse dates"),
        ("This method reads all rows.", "read all rows"),
        ("Attempts to open the socket, or null if there is none", "open socket"),
        ("parseDate parses a date.", "parse date"),
        ("Opens the fileName and closes the oldStream", "open file name and close old stream"),
        ("A helper for counting words", "count words"),
    ],
)
def test_queries(text, query):
    assert query_of(text, "cobol", "parseDate", Always()) == query


@pytest.mark.parametrize(
    "text", ["", "Go.", "We use this to fill the state.", "This is called after commit.", "(internal)"]
)
def test_texts_that_ask_for_nothing(text):
    assert query_of(text, "python", "f", Always()) == ""


@pytest.mark.parametrize(
    ("word", "verb"),
    [("returns", "return"), ("fixes", "fix"), ("copies", "copy"), ("creating", "create"), ("getting", "get")]
    + [("process", "process"), ("rows", None), ("string", None), ("is", None)],
)
def test_verbs(word, verb):
    assert base_form(word) == verb


def test_what_holds_for_all_queries():
    """Lower case, no signs at the end, twelve words and a frame; the frames and names come out as often as they say."""
    text = (
        "Returns the (first) LongName of every `item` that the given parser found in a_table, sorted by the date of it."
    )
    queries = [query_of(text, "csharp", "name", random.Random(n)) for n in range(2000)]
    for query in queries:
        assert query == query.lower() and re.fullmatch(r"[a-z0-9 #.'-]*[a-z0-9#]", query), query
        assert 4 <= len(query.split()) <= 12 + 4
    # Frames with a name weigh 0.62 of 1: five sigma of 2000 draws are 0.054.
    named = [query for query in queries if re.search(r"c#|csharp", query)]
    assert abs(len(named) / 2000 - 0.62) < 0.055
    assert {query.partition(" ")[0] for query in queries} >= {"how", "c#", "csharp", "get", "find"}
    assert queries == [query_of(text, "csharp", "name", random.Random(n)) for n in range(2000)]


def test_all_languages_have_names():
    assert set(NAMES) == set(LANGUAGES)


# Functions under other names

FUNCTIONS = {
    "python": (
        'def plus(data, n=1):\n    """Text."""\n    total = 0  # start\n    for item in data:\n'
        "        total += item.n\n    self.data = f(n=n, key=f'{total}')\n    return plus(total, len)",
        {"plus": "function", "data": "argument", "n": "argument", "total": "local", "item": "local"},
        'def f1(a1, a2=1):\n    """Text."""\n    l1 = 0\n    for l2 in a1:\n        l1 += l2.n\n'
        "    self.data = f(n=a2, key=f'{l1}')\n    return f1(l1, len)",
    ),
    "java": (
        "public List<Row> rows(Row row, int count) {\n    // all of them\n    List<Row> found = new ArrayList<>();\n"
        "    for (Row each : this.all) { found.add(each.row()); }\n    return count > 0 ? rows(row, count) : found;\n}",
        {"rows": "function", "row": "argument", "count": "argument", "found": "local", "each": "local"},
        "public List<Row> f1(Row a1, int a2) {\n    List<Row> l1 = new ArrayList<>();\n"
        "    for (Row l2 : this.all) { l1.add(l2.row()); }\n    return a2 > 0 ? f1(a1, a2) : l1;\n}",
    ),
    "javascript": (
        "render(options, {width}) {\n  const {height, name: label} = options; /* sizes */\n"
        "  return draw({width, height, label: label.width});\n}",
        {"render": "function", "options": "argument", "width": "argument", "height": "local", "label": "local"},
        "f1(a1, {width: a2}) {\n  const {height: l1, name: l2} = a1;\n"
        "  return draw({width: a2, height: l1, label: l2.width});\n}",
    ),
    "typescript": (
        "private async load(id: string): Promise<Row> {\n  const row = await this.store.row(id);\n"
        "  return row as Row;\n}",
        {"load": "function", "id": "argument", "row": "local"},
        "private async f1(a1: string): Promise<Row> {\n  const l1 = await this.store.row(a1);\n  return l1 as Row;\n}",
    ),
    "csharp": (
        "public int Sum(IEnumerable<int> values)\n{\n    var sum = 0; // none yet\n"
        "    foreach (var value in values) sum += value.Size;\n    return sum;\n}",
        {"Sum": "function", "values": "argument", "sum": "local", "value": "local"},
        "public int f1(IEnumerable<int> a1)\n{\n    var l1 = 0;\n"
        "    foreach (var l2 in a1) l1 += l2.Size;\n    return l1;\n}",
    ),
    "c": (
        "static int\nread_all(struct file *file, char **out)\n{\n\tint size, i = 0;\n\tchar *rest = file->rest;\n"
        "\tfor (i = 0; i < file->size; i++)\n\t\tsize += fill(rest, out[i]);\n\treturn size;\n}",
        {"read_all": "function", "file": "argument", "out": "argument", "size": "local", "i": "local", "rest": "local"},
        "static int\nf1(struct file *a1, char **a2)\n{\n\tint l1, l2 = 0;\n\tchar *l3 = a1->rest;\n"
        "\tfor (l2 = 0; l2 < a1->size; l2++)\n\t\tl1 += fill(l3, a2[l2]);\n\treturn l1;\n}",
    ),
    "ruby": (
        "def each_row(table, limit = 10)\n  # rows of it\n  rows = table.rows.map(&:cells)\n"
        '  rows.first(limit).each { |row| yield "#{row}" }\nend',
        {"each_row": "function", "table": "argument", "limit": "argument", "rows": "local", "row": "argument"},
        'def f1(a1, a2 = 10)\n  l1 = a1.rows.map(&:cells)\n  l1.first(a2).each { |a3| yield "#{a3}" }\nend',
    ),
    "php": (
        "public function find($id, array $options = [])\n{\n    $found = $this->rows[$id]; // or null\n"
        '    return $found->id ?? find("$id", $options);\n}',
        {"find": "function", "id": "argument", "options": "argument", "found": "local"},
        "public function f1($a1, array $a2 = [])\n{\n    $l1 = $this->rows[$a1];\n"
        '    return $l1->id ?? f1("$a1", $a2);\n}',
    ),
    "go": (
        "func (s *Store) Find(ctx context.Context, id int) (*Row, error) {\n\trow, err := s.rows.Find(ctx, id)\n"
        "\tfor _, one := range s.ids {\n\t\trow.id = one // last\n\t}\n\treturn &Row{id: id}, err\n}",
        {"s": "argument", "ctx": "argument", "id": "argument", "row": "local", "err": "local", "one": "local"},
        "func (a1 *Store) Find(a2 context.Context, a3 int) (*Row, error) {\n\tl1, l2 := a1.rows.Find(a2, a3)\n"
        "\tfor _, l3 := range a1.ids {\n\t\tl1.id = l3\n\t}\n\treturn &Row{id: a3}, l2\n}",
    ),
    "rust": (
        "fn total(rows: &[Row], start: u32) -> u32 {\n    let sum = start;\n"
        "    for row in rows { add(sum, row.start); }\n    Count { sum }.sum\n}",
        {"total": "function", "rows": "argument", "start": "argument", "sum": "local", "row": "local"},
        "fn f1(a1: &[Row], a2: u32) -> u32 {\n    let l1 = a2;\n    for l2 in a1 { add(l1, l2.start); }\n"
        "    Count { sum: l1 }.sum\n}",
    ),
}
METHODS = ("java", "csharp", "javascript", "typescript", "php")


def numbered(names):
    """F1, A1, A2, L1, ... in the order of the names."""
    counts, new = Counter(), {}
    for word, role in names.roles.items():
        counts[role] += 1
        new[word] = f"{role[0]}{counts[role]}".encode()
    return new


def kind_of(language):
    return "method" if language in METHODS else "function"


@pytest.mark.parametrize("language", FUNCTIONS)
def test_renaming(language):
    """Parameters, locals and the function itself, wherever they stand; members, keys, types and strings stay."""
    code, roles, copy = FUNCTIONS[language]
    own = next((word for word, role in roles.items() if role == "function"), "Find")
    names = own_names(code, language, own, kind_of(language))
    assert {word.decode(): role for word, role in names.roles.items()} == roles
    assert renamed(names, numbered(names)) == copy


@pytest.mark.parametrize("language", sorted(set(FUNCTIONS) - {"javascript", "rust"}))  # whose short forms grow
def test_renaming_back_gives_the_code_without_comments(language):
    code, roles, _ = FUNCTIONS[language]
    own = next(iter(roles))
    names = own_names(code, language, own, kind_of(language))
    there = numbered(names)
    again = own_names(renamed(names, there), language, there[own.encode()].decode(), kind_of(language))
    assert renamed(again, {new: old for old, new in there.items()}) == renamed(names, {})


def test_names_that_others_may_mean_stay():
    def own(code, language, name, kind="function"):
        return {word.decode() for word in own_names(code, language, name, kind).roles}

    assert own("def f(self, a):\n    global b\n    b = a\n    id = b", "python", "f") == {"f", "a"}
    assert own("def __init__(self, a):\n    pass", "python", "__init__") == {"a"}
    assert own("public Row(int a) { this.a = a; }", "java", "Row", "method") == {"a"}
    assert own("def size(a)\n  a.map(&:size)\nend", "ruby", "size") == {"a"}  # of the elements
    assert own("def add(a, b:)\n  b.each { |c| a.add(c) }\nend", "ruby", "add") == {"a", "c"}  # a key; a's own
    assert own("func (store *store) size(n int) int { return n }", "go", "size") == {"store", "size", "n"}
    copy = renamed(own_names("func (store *store) size(n int) int { return n }", "go", "size"), {b"store": b"x"})
    assert copy == "func (x *store) size(n int) int { return n }"


def test_a_comment_that_ends_in_a_full_stop_is_no_access_to_a_member():
    code = "def f(rows):\n    # The first of them.\n    first = rows[0]\n    return first"
    names = own_names(code, "python", "f")
    assert renamed(names, numbered(names)) == "def f1(a1):\n    l1 = a1[0]\n    return l1"


def test_code_that_cannot_be_read_is_left_alone():
    assert own_names("def f(:", "python", "f") is None
    assert own_names("def f(a):\n    return locals()", "python", "f") is None
    assert renamed_copy("def f():\n    pass", "python", "f", "function", NamePool(), random.Random(0)) == ("", {})


@pytest.mark.parametrize("language", FUNCTIONS)
def test_drawn_names_are_free_and_of_the_same_language(language):
    """No name stands in the code, no two are alike; those of other functions come first, with the same looks."""
    code, roles, _ = FUNCTIONS[language]
    names, pool = own_names(code, language, next(iter(roles)), kind_of(language)), NamePool()
    empty = pool.draw(language, names, random.Random(0))
    pool.add(language, names)  # its own are taken
    for word in ("alpha", "Beta", "gamma", "Delta", "epsilon", "zeta", "eta", "theta", "iota", "Kappa"):
        text = code
        for place in names.places[::-1]:
            text = text[: place[0]] + word + str(ord(place[2][:1])) + text[place[1] :]
        other = own_names(text, language, "", kind_of(language))
        if other is not None:
            pool.add(language, other)
    for new in (empty, pool.draw(language, names, random.Random(0))):
        fresh = [word.decode() for word in new.values()]
        assert len(set(fresh)) == len(fresh) == len(roles)
        assert not set(fresh) & set(re.findall(r"\w+", code))
        assert own_names(renamed(names, new), language, "", kind_of(language)) is not None  # still the language
    assert pool.draw(language, names, random.Random(0)) == pool.draw(language, names, random.Random(0))


# Functions that are described alike


def slow_twins(embeddings_ND, languages, repos, least):
    """Nearest both ways, by looking at every pair."""
    scores = (embeddings_ND @ embeddings_ND.T).tolist()
    count = len(languages)

    def best(row, language):
        fits = [
            n for n in range(count) if languages[n] == language and (languages[row], repos[row]) != (language, repos[n])
        ]
        return max(fits, key=lambda n: (scores[row][n], -n), default=None)

    return {
        (row, other)
        for row in range(count)
        for language in sorted(set(languages))
        if (other := best(row, language)) is not None and best(other, languages[row]) == row
        if scores[row][other] >= least and row != other
    }


@pytest.mark.parametrize("least", [-1.0, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_twins_equal_a_slow_version(seed, least, monkeypatch):
    monkeypatch.setattr("trainers.augmenting.across._ROWS", 4)
    monkeypatch.setattr("trainers.augmenting.across._COLUMNS", 5)
    generator = torch.Generator().manual_seed(seed)
    rng = random.Random(seed)
    embeddings_ND = torch.nn.functional.normalize(torch.randn(40, 5, generator=generator), dim=1)
    languages = np.array([rng.choice(("go", "java", "ruby")) for _ in range(40)], dtype=object)
    repos = np.array([rng.choice("abc") for _ in range(40)], dtype=object)
    first, second, cosines = mutual_neighbours(embeddings_ND, languages, repos, least)
    expected = slow_twins(embeddings_ND, languages.tolist(), repos.tolist(), least)
    found = set(zip(first.tolist(), second.tolist(), strict=True))
    assert found | {(b, a) for a, b in found} == expected and len(found) == len(first) == len(expected) / 2
    assert cosines.tolist() == pytest.approx((embeddings_ND[first] * embeddings_ND[second]).sum(1).tolist(), abs=1e-6)
    assert {languages[a] == languages[b] for a, b in found} == {True, False}


def test_where_all_are_barred_nothing_is_near():
    best, _, _ = nearest_both_ways(torch.eye(2), torch.eye(2), (torch.zeros(2), torch.zeros(2)))
    assert torch.isinf(best).all()


# Which pairs stay


def test_of_each_key_the_lowest_lots_stay():
    lots = np.array([0.5, 0.1, 0.9, 0.2, 0.3])
    assert beyond(["a", "a", "a", "b", "a"], lots, 2).tolist() == [0, 2]
    assert beyond([], np.array([]), 2).tolist() == []


@pytest.mark.parametrize(
    ("counts", "share", "limit"),
    # 30 of 30 + 30 + 40 is the most; with 50 and 50, half is no limit; of 10, 10 and 80 at 0.4, x <= 0.4 (20 + x).
    [((30, 30, 90), 0.34, 30), ((50, 50), 0.5, 50), ((10, 10, 80), 0.4, 13)],
)
def test_language_limits(counts, share, limit):
    counts = dict(zip("abc", counts, strict=False))
    found = language_limit(counts, share)
    assert found == limit
    assert found <= share * sum(min(count, found) for count in counts.values())
    with pytest.raises(ValueError, match=r"2 languages cannot all stay below a share of 0\.4: the least is 0\.500"):
        language_limit({"a": 5, "b": 5}, 0.4)


def test_texts_are_equal_without_case_and_signs():
    assert normal("Returns  the `List`.") == normal("returns the list") != normal("returns a list")


# The step as a whole

TOPICS = ("users", "orders", "files", "pages", "tokens", "images", "routes", "caches")
CODE = {
    "python": "def {name}(rows, limit):\n    found = rows[:limit]  # {n}\n    return found",
    "go": "func {name}(rows []int, limit int) []int {{\n\tfound := rows[:limit]\n\treturn found // {n}\n}}",
}


def write_pairs(path, count=64, texts=None):
    """Pairs of two languages and four repositories; two of each text, one in each language."""
    with path.open("w") as file:
        for n in range(count):
            language = ("python", "go")[n % 2]
            topic = n // 2
            row = {
                "id": f"row {n}",
                "text": texts[n] if texts else f"Returns the list of {TOPICS[topic % 8]} number {topic}.",
                "code": CODE[language].format(name=f"get_{n}", n=n),
                "language": language,
                "name": f"get_{n}",
                "kind": "function",
                "repo": f"repo {n % 4}",
                "license": "MIT" if n % 2 else "BSD",
            }
            file.write(json.dumps(row) + "\n")
    return path


@cache
def direction(text):
    """One for each number in a text, so that the two of a text are alike."""
    number = int((re.findall(r"\d+", text) or ["0"])[-1])
    return np.random.default_rng(number).normal(size=64)


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs.jsonl")


def run(data, output, embedder=None, **options):
    stats = augment_pairs(data, output, AugmentOptions(**options), embedder)
    return stats, load_split(output, "train").to_list()


def by_kind(rows):
    return {kind: [row for row in rows if row[TEXT_KIND] == kind] for kind in (SUMMARY, QUERY, RENAMED, ACROSS)}


def test_every_kind_is_made_and_counted(pairs, tmp_path):
    options = {"query_share": 0.5, "renamed_share": 0.5, "across_share": 0.5, "across_min": 0.9}
    stats, rows = run(pairs, tmp_path / "out", Fake(vector=direction), **options)
    kinds, source = by_kind(rows), {row["id"]: row for row in json_lines(pairs)}
    assert len({row["id"] for row in rows}) == len(rows) == stats["splits"]["train"]["rows"]
    assert len(kinds[SUMMARY]) + len(kinds[QUERY]) == 64 and len(kinds[ACROSS]) == 32
    # Shares of 64 draws: five sigma are 20.
    assert abs(len(kinds[QUERY]) - 32) <= 20 and abs(len(kinds[RENAMED]) - 32) <= 20
    assert stats["augment"]["rows"] == {kind: len(found) for kind, found in kinds.items()}
    for language in ("python", "go"):
        mine = {kind: sum(row["language"] == language for row in found) for kind, found in kinds.items()}
        assert stats["augment"]["per_language"][language] == mine
        assert stats["per_language"][language]["counts"]["rows"] == sum(mine.values())
    for row in rows:  # everything but the text is the code's
        origin = source[row["id"].partition("+")[0]]
        assert {name: row[name] for name in origin if name not in ("id", "text")} == {
            name: origin[name] for name in origin if name not in ("id", "text")
        }
    assert all(row["text"] == source[row["id"]]["text"] for row in kinds[SUMMARY])
    assert all(row["text"].islower() and "list of" in row["text"] for row in kinds[QUERY])
    assert render_dataset_card(tmp_path / "out")


def test_copies_have_other_names(pairs, tmp_path):
    _, rows = run(pairs, tmp_path / "out", renamed_share=1.0)
    copies = by_kind(rows)[RENAMED]
    assert len(copies) == 64
    for row in copies:
        words, shown = set(re.findall(r"\w+", row["code"])), set(re.findall(r"\w+", row["text"]))
        assert not shown & {"rows", "limit", "found", row["name"]} and {"return"} <= words & shown
        assert "#" not in row["text"] and "//" not in row["text"]


def test_twins_are_of_the_same_text_and_another_language(pairs, tmp_path):
    _, rows = run(pairs, tmp_path / "out", Fake(vector=direction), across_share=2.0, across_min=0.9)
    plain = {row["id"]: row for row in by_kind(rows)[SUMMARY]}
    twins = by_kind(rows)[ACROSS]
    found = set()
    for row in twins:
        code, text = row["id"].split("+across:")
        assert row["text"] == plain[text]["code"] and row["code"] == plain[code]["code"]
        assert plain[text]["text"] == plain[code]["text"] and plain[text]["language"] != plain[code]["language"]
        found.add((text, code))
    assert len(found) == len(twins) == 64 and found == {(code, text) for text, code in found}


def test_short_summaries_and_equal_codes_are_no_twins(tmp_path):
    texts = [f"get users {n // 2}" if n < 32 else f"get the list of users {n // 2}" for n in range(64)]
    file = write_pairs(tmp_path / "pairs.jsonl", texts=texts)
    _, rows = run(file, tmp_path / "out", Fake(vector=direction), across_share=2.0, across_min=0.9)
    assert {int(row["id"].split("+")[0].split()[1]) for row in by_kind(rows)[ACROSS]} == set(range(32, 64))
    lines = list(json_lines(file))
    for line in lines:
        line["code"] = f"RUN  it_{lines[0]['text']}" if line["language"] == "go" else f"run(it_{lines[0]['text']})"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, rows = run(file, tmp_path / "same", Fake(vector=direction), across_share=2.0, across_min=0.9)
    assert not by_kind(rows)[ACROSS]


def test_no_more_twins_than_asked_for(pairs, tmp_path):
    _, rows = run(pairs, tmp_path / "out", Fake(vector=direction), across_share=0.1, across_min=0.9)
    assert len(by_kind(rows)[ACROSS]) == 6


def test_no_more_summaries_are_compared_than_asked_for(pairs, tmp_path):
    embedder = Fake(vector=direction)
    options = {"across_share": 2.0, "across_min": 0.9, "across_pool": 20}
    _, rows = run(pairs, tmp_path / "out", embedder, **options)
    assert sum(embedder.seen) <= 20 and 0 < len(by_kind(rows)[ACROSS]) <= 20
    assert run(pairs, tmp_path / "long", Fake(vector=direction), **options | {"across_max_words": 6})[0]["augment"][
        "rows"
    ] == {SUMMARY: 64, QUERY: 0, RENAMED: 0, ACROSS: 0}


def test_copies_do_not_make_hard_positives_shared(pairs, tmp_path):
    """A function under other names is another text, not another function."""
    lines = [{**row, "code_body": row["code"].replace(row["name"], "f")} for row in json_lines(pairs)]
    lines[0]["code_body"] = lines[2]["code_body"] = "pass"
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(pairs, tmp_path / "out", renamed_share=1.0)
    rows = load_split(tmp_path / "out", "train")
    shared = {row["id"].split("+")[0] for row, flag in zip(rows, shared_hard_positives(rows), strict=True) if flag}
    assert shared == {"row 0", "row 2"} and len(rows) == 128


def test_the_same_call_gives_the_same_rows(pairs, tmp_path):
    options = {"query_share": 0.5, "renamed_share": 0.5, "across_share": 0.2}
    one, again, other = (
        run(pairs, tmp_path / name, Fake(vector=direction), seed=seed, **options)
        for name, seed in (("one", 0), ("again", 0), ("other", 1))
    )
    assert one[1] == again[1] != other[1]
    assert one[0]["fingerprint"] == again[0]["fingerprint"] != other[0]["fingerprint"]
    # A row draws for itself: without the others it becomes the same.
    lines = pairs.read_text().splitlines(keepends=True)
    few = tmp_path / "few.jsonl"
    few.write_text("".join(lines[::3]))
    texts = {row["id"]: row["text"] for row in one[1] if row[TEXT_KIND] in (SUMMARY, QUERY)}
    for row in run(few, tmp_path / "few", query_share=0.5)[1]:
        assert row["text"] == texts[row["id"]]


def test_so_many_searches_name_their_language(tmp_path):
    file = write_pairs(tmp_path / "pairs.jsonl", count=600)
    named = {}
    for share in (0.0, 0.3, 1.0):
        rows = run(file, tmp_path / f"{share}", query_share=1.0, query_language_share=share)[1]
        assert all(row[TEXT_KIND] == QUERY for row in rows)
        named[share] = {row["id"] for row in rows if not {"python", "go", "golang"}.isdisjoint(row["text"].split())}
    assert not named[0.0] and named[0.3] < named[1.0]
    # 62 % of searches name a language where they may, see `query_style`; bounds of five standard deviations.
    assert abs(len(named[1.0]) / 600 - 0.62) < 0.1 and abs(len(named[0.3]) / 600 - 0.3 * 0.62) < 0.08


def test_repeated_texts_and_large_languages_go(tmp_path):
    texts = ["Returns the same list." if n < 20 else f"Returns list {n}" for n in range(64)]
    file = write_pairs(tmp_path / "pairs.jsonl", texts=texts)
    stats, rows = run(file, tmp_path / "out", max_repeats=3)
    assert Counter(row["text"] for row in rows)["Returns the same list."] == 3 and len(rows) == 47
    assert stats["augment"]["dropped"] == {"repeated_text": 17} and stats["dropped"]["repeated_text"] == 17
    lines = [line for line in file.read_text().splitlines(keepends=True) if '"python"' in line]
    lines += [line for line in file.read_text().splitlines(keepends=True) if '"go"' in line][:8]
    file.write_text("".join(lines))
    stats, rows = run(file, tmp_path / "less", language_share_max=0.6)
    # 8 of Go; at most 12 of 20 are Python.
    assert Counter(row["language"] for row in rows) == {"go": 8, "python": 12}
    assert stats["per_language"]["python"]["counts"]["rows"] == 12


def test_the_test_split_passes_as_it_is(tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    write_pairs(folder / "train.jsonl", 32)
    write_pairs(folder / "test.jsonl", 10, ["Returns the same list."] * 10)
    run(folder, tmp_path / "out", query_share=1.0, renamed_share=1.0, max_repeats=1)
    test = load_split(tmp_path / "out", "test").to_list()
    assert [row["text"] for row in test] == ["Returns the same list."] * 10
    assert {row[TEXT_KIND] for row in test} == {SUMMARY}


def test_a_stopped_run_embeds_nothing_twice(pairs, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    options, embedder = {"across_share": 0.5}, Fake(vector=direction)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("trainers.augment.row_maker", stop)
        run(pairs, tmp_path / "out", embedder, **options)
    assert sum(embedder.seen) == 32 and not (tmp_path / "out").exists()
    embedder.seen.clear()
    _, rows = run(pairs, tmp_path / "out", embedder, **options)
    assert embedder.seen == [] and by_kind(rows)[ACROSS]
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_stopped_run_does_not_go_on_with_other_columns(pairs, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("trainers.augment.row_maker", stop)
        run(pairs, tmp_path / "out", Fake(vector=direction), across_share=0.5)
    with pytest.raises(FileExistsError, match="work with another columns. Name another folder or delete this one"):
        augment_pairs(pairs, tmp_path / "out", AugmentOptions(query_share=0.5), columns={"text": "name"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "nothing to do. Ask for --query-share"),
        ({"query_share": 1.5}, r"query_share must lie in \[0, 1\], got 1.5"),
        ({"query_share": 0.5, "query_language_share": 2}, r"query_language_share must lie in \[0, 1\], got 2"),
        ({"renamed_share": -1}, r"renamed_share must lie in \[0, 1\], got -1"),
        ({"across_share": -1}, "across_share must be at least 0, got -1"),
        ({"across_share": 0.1, "across_min": 2}, r"across_min is a cosine, so it must lie in \[-1, 1\], got 2"),
        ({"max_repeats": 0}, "max_repeats must be at least 1, got 0"),
        ({"language_share_max": 0}, r"language_share_max must lie in \(0, 1\], got 0"),
    ],
)
def test_options_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        AugmentOptions(**changes)


def test_the_command(pairs, tmp_path, tiny_config, tokenizer, capsys):
    from modeling_coderep import CodeRepModel

    torch.manual_seed(0)
    CodeRepModel(tiny_config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    argv = ["data", "augment", str(pairs), "--output", str(tmp_path / "out")]
    model = ["--across-model", str(tmp_path / "model"), "--device", "cpu"]
    assert coderep.main([*argv, "--query-share", "0.5", *model, "--across-min", "0.2", "--max-repeats", "2"]) == 0
    printed, stats = capsys.readouterr().out, load_stats(tmp_path / "out")
    assert "summary     query   renamed    across" in printed and str(tmp_path / "out") in printed
    settings = {"query_share": 0.5, "across_share": 0.1, "across_min": 0.2, "max_repeats": 2, "renamed_share": None}
    assert settings.items() <= stats["settings"]["augment"].items()
    assert "coderep data augment" in Path(tmp_path / "out" / "README.md").read_text()
    for extra, message in (
        (["--query-share", "0.5"], "add --overwrite"),
        (["--overwrite"], "nothing to do"),
        (["--across-share", "0.5", "--overwrite"], "--across-share needs --across-model"),
        (["--query-share", "0.5", *model, "--across-share", "0", "--overwrite"], "leaves --across-model nothing to do"),
    ):
        assert coderep.main([*argv, *extra]) == 2 and message in capsys.readouterr().err
    again = ["data", "augment", str(tmp_path / "out"), "--output", str(tmp_path / "twice"), "--query-share", "0.5"]
    assert coderep.main(again) == 2 and "is augmented already (column 'text_kind')" in capsys.readouterr().err
    assert coderep.main(["data", "inspect", str(tmp_path / "out")]) == 0
