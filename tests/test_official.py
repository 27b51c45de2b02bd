"""Published sets: tiny files in each official layout, a mocked Hub, CodeNet drawn anew, and the way back from disk."""

from __future__ import annotations

import json
from collections import Counter

import datasets
import numpy as np
import pytest

from trainers.evaluation.classification_sets import Examples, make_set, read_classification
from trainers.evaluation.codenet import chance, rebuild
from trainers.evaluation.official import OFFICIAL, load_official, official_names, write_beir
from trainers.evaluation.official_classification import (
    OFFICIAL_CLASSIFICATION,
    balanced,
    classification_names,
    load_classification,
    split_by_hash,
)
from trainers.evaluation.official_rows import undocumented
from trainers.evaluation.ranking import Relevance
from trainers.evaluation.sets import CODE_TO_CODE, TEXT_TO_CODE, RetrievalSet, read_beir


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def judged(data):
    """Query id -> ids of its relevant documents."""
    relevance = data.relevance
    found = {identity: set() for identity in data.query_ids}
    for query, place in zip(relevance.queries, relevance.columns, strict=True):
        found[data.query_ids[query]].add(data.document_ids[place])
    return found


@pytest.fixture
def hub(monkeypatch):
    """Tables by (path, config or folder, split); anything else is a set that needs a script, then not there."""
    tables, asked = {}, []

    def load_dataset(path, name=None, *, split, data_dir=None, revision=None):
        asked.append((path, name or data_dir, split, revision))
        if (path, data_dir, split, revision) in tables:
            return tables[path, data_dir, split, revision]
        if (path, name, split) in tables:
            return tables[path, name, split]
        if revision:
            raise datasets.exceptions.DatasetNotFoundError(f"no {path}")
        raise RuntimeError("Dataset scripts are no longer supported")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return tables, asked


# Text to code


def csn_row(url, text, code, tokens):
    return {"url": url, "docstring_tokens": text.split(), "code": code, "code_tokens": tokens, "language": "python"}


CSN = [
    csn_row("u1", "Sort a list .", 'def f(a):\n    """Sort a list."""\n    return sorted(a)', ["def", "f", "'a  b'"]),
    csn_row("u2", "Add one .", 'def g(a):\n    """Add one."""\n    return a + 1', ["def", "g"]),
]


@pytest.mark.parametrize("below", ["", "python", "CSN/python"])
def test_csn(tmp_path, below):
    write_rows(tmp_path / below / "test.jsonl", [CSN[1], {**CSN[0], "url": "nowhere"}])
    write_rows(tmp_path / below / "codebase.jsonl", [*CSN, CSN[1]])
    data = load_official("csn:python", tmp_path)
    assert (data.name, data.task) == ("csn:python", TEXT_TO_CODE)
    assert data.queries == ["Add one ."]
    assert judged(data) == {"text 0": {"code 1", "code 2"}}  # by url: both copies
    assert data.problems == {"queries without a relevant document": 1}
    assert data.documents[0] == "def f(a):\n    return sorted(a)"  # the docstring is the query
    assert data.joined_tokens == ["def f 'a  b'", "def g", "def g"]  # blanks inside a token stay
    assert set(data.document_languages) == {"python"} and set(data.query_languages) == {""}


def test_tokens_may_be_empty_but_not_missing(tmp_path):
    write_rows(tmp_path / "test.jsonl", [CSN[0], {**CSN[1], "code_tokens": []}])
    assert load_official("advtest", tmp_path).joined_tokens == ["def f 'a  b'", ""]
    write_rows(tmp_path / "test.jsonl", [CSN[0], {**CSN[1], "code_tokens": None}])
    assert load_official("advtest", tmp_path).joined_tokens is None


def test_csn_other_languages_keep_their_code(tmp_path):
    write_rows(tmp_path / "valid.jsonl", [{**CSN[0], "code": "func f() {}"}])
    write_rows(tmp_path / "codebase.jsonl", [{**CSN[0], "code": "func f() {}"}])
    assert load_official("csn:go", tmp_path, "dev").documents == ["func f() {}"]


def test_advtest_takes_function_before_code(tmp_path):
    rows = [{**CSN[0], "function": "def Func(arg_0): pass", "function_tokens": ["def", "Func"]}, CSN[1]]
    write_rows(tmp_path / "AdvTest" / "test.jsonl", rows)
    data = load_official("advtest", tmp_path)
    assert data.documents[0] == "def Func(arg_0): pass"
    assert data.joined_tokens == ["def Func", "def g"]
    assert judged(data) == {"text 0": {"code 0"}, "text 1": {"code 1"}}


COSQA = {"def f():\n    '''Doc.'''\n    return  1": 7, "def g(): pass": 3}


def cosqa_files(folder, split, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code_idx_map.txt").write_text(json.dumps(COSQA), encoding="utf-8")
    (folder / f"cosqa-retrieval-{split}-500.json").write_text(json.dumps(rows), encoding="utf-8")


def test_cosqa(tmp_path):
    rows = [
        {"idx": "q1", "doc": "return one", "docstring_tokens": "Doc .", "label": 1, "retrieval_idx": 7},
        {"idx": "q2", "doc": "return two", "docstring_tokens": "Doc .", "label": 0, "retrieval_idx": 7},
        {"idx": "q3", "doc": "pass", "docstring_tokens": "", "label": 1, "retrieval_idx": 99},
    ]
    cosqa_files(tmp_path / "cosqa", "test", rows)
    data = load_official("cosqa", tmp_path)
    assert data.queries == ["return one"]  # the question, not the docstring
    assert judged(data) == {"q1": {"code 0"}}
    assert data.problems == {"pairs judged wrong (label 0)": 1, "queries without a relevant document": 1}
    assert data.documents == list(COSQA)
    assert data.joined_tokens[0] == "def f(): '''Doc.''' return 1"  # split at blanks, docstring and all


def test_cosqa_dev_split(tmp_path):
    cosqa_files(tmp_path, "dev", [{"idx": "q", "doc": "pass", "label": 1, "retrieval_idx": 3}])
    assert judged(load_official("cosqa", tmp_path, "validation")) == {"q": {"code 1"}}
    with pytest.raises(FileNotFoundError, match=r"no cosqa-retrieval-test-\*"):
        load_official("cosqa", tmp_path)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('@x\ndef f(a):\n    r"""Doc."""\n    return a', "@x\ndef f(a):\n    return a"),
        ('    def f(:\n """a', '    def f(:\n """a'),
        ("x = 1", "x = 1"),
        ("def f():  return '\ud800'", "def f():  return '\ud800'"),
        ('def f():\n    """a"""\n\ndef g(): pass', 'def f():\n    """a"""\n\ndef g(): pass'),
    ],
)
def test_undocumented(code, expected):
    assert undocumented(code) == expected


# Code to code


def test_poj104(tmp_path):
    labels = ["81", "82", "81", "83", "82", "81"]
    rows = [{"label": label, "index": str(100 + i), "code": f"int m{i};"} for i, label in enumerate(labels)]
    write_rows(tmp_path / "POJ-104" / "test.jsonl", rows)
    data = load_official("poj104", tmp_path)
    assert data.task == CODE_TO_CODE
    same = {label: {str(100 + i) for i, other in enumerate(labels) if other == label} for label in set(labels)}
    assert judged(data) == {
        str(100 + i): same[label] - {str(100 + i)} for i, label in enumerate(labels) if label != "83"
    }
    assert data.problems == {"queries without a relevant document": 1}
    assert data.own_documents.tolist() == [0, 1, 2, 4, 5]


HEADER = "submission_id,problem_id,user_id,date,language,original_language,filename_ext,status"


def codenet(root, submissions, clusters=()):
    """submissions: (id, problem, language, suffix, status); clusters: (problem, language, groups of ids)."""
    base = root / "Project_CodeNet"
    problems = {}
    for identity, problem, language, suffix, status in submissions:
        path = base / "data" / problem / language / f"{identity}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{problem} {identity}", encoding="utf-8")
        line = f"{identity},{problem},u,0,{language},{language},{suffix},{status}"
        problems.setdefault(problem, [HEADER]).append(line)
    (base / "metadata").mkdir()
    (base / "metadata" / "problem_list.csv").write_text("id,name\n", encoding="utf-8")
    for problem, lines in problems.items():
        (base / "metadata" / f"{problem}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for problem, language, groups in clusters:
        path = base / "derived" / "duplicates" / language / "clusters" / f"{problem}-clusters"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            "\n".join(f"/x/Project_CodeNet/data/{problem}/{language}/{i}.c:  1.00, 0.97" for i in g) for g in groups
        ]
        path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return root


def many(problem="p00001", count=30, language="C", suffix="c", first=0):
    return [(f"s{first + i:09d}", problem, language, suffix, "Accepted") for i in range(count)]


def test_codenet_draws_by_hash_at_most_ten_accepted_one_a_cluster(tmp_path):
    submissions = many() + [(f"s{900 + i:09d}", "p00001", "C", "c", "Wrong Answer") for i in range(9)]
    twins = [f"s{i:09d}" for i in range(6)]
    root = codenet(tmp_path, submissions, [("p00001", "C", [twins, ["s000000009"]])])
    data = load_official("codenet:c", root)
    order = sorted((f"s{i:09d}" for i in range(30)), key=lambda identity: chance(0, identity))
    expected = []
    for identity in order:
        if len(expected) < 10 and not (identity in twins and set(twins) & set(expected)):
            expected.append(identity)
    assert data.document_ids == sorted(expected)
    assert len(set(twins) & set(expected)) == 1, "a cluster is cut down to one, or nothing is tested"
    assert all(len(relevant) == 9 for relevant in judged(data).values())
    assert data.documents[0] == f"p00001 {data.document_ids[0]}"
    assert data.problems == {}


def test_codenet_is_the_same_whatever_the_order(tmp_path):
    submissions = many() + many("p00002", 12, "Python", "py", 100) + many("p00002", 3, "C", "c", 200)
    first = load_official("codenet", codenet(tmp_path / "a", submissions))
    again = load_official("codenet", codenet(tmp_path / "b", submissions[::-1]))
    assert first.revision == again.revision
    assert Counter(first.document_languages) == {"c": 13, "python": 10}
    problems = Counter()
    other = rebuild(tmp_path / "a", ["c"], problems, seed=1)
    assert len(other) == 13
    assert {solution.id for solution in other} != set(first.document_ids[:13]), "another seed, another draw"
    assert problems == {"languages without clusters of near duplicates": 1}


def test_codenet_pairs_languages_and_drops_single_solutions(tmp_path):
    submissions = many(count=2) + many(count=2, language="Go", suffix="go", first=10)
    submissions += many("p00002", 1, "C", "c", 20) + many("p00002", 2, "Go", "go", 30)
    data = load_official("codenet", codenet(tmp_path, submissions))
    assert judged(data)["s000000000"] == {"s000000001", "s000000010", "s000000011"}
    assert "s000000020" not in data.document_ids
    assert data.problems["problems with fewer than two solutions in a language"] == 1
    assert data.problems["languages without clusters of near duplicates"] == 10


def test_codenet_takes_published_lists_as_they_are(tmp_path):
    submissions = many("p00001", 3, "Java", "java") + many("p00002", 3, "Java", "java", 10) + many(count=3, first=20)
    root = codenet(tmp_path, submissions + many("p00003", 5, "C", "c", 30))
    rows = [("s000000000", 1), ("s000000002", 1), ("s000000010", 2), ("s999999999", 2)]
    write_rows(root / "java.jsonl", [{"label": label, "index": index, "func": ""} for index, label in rows])
    data = load_official("codenet", root)
    languages = dict(zip(data.document_ids, data.document_languages, strict=True))
    assert [identity for identity in data.document_ids if languages[identity] == "java"] == [
        "s000000000",
        "s000000002",
        "s000000010",  # alone in its problem: stays as a document
    ]
    assert "s000000010" not in data.query_ids
    assert data.document_languages.count("c") == 3  # no problem that the Java list lacks
    assert data.problems["submissions without a file"] == 1


def test_codenet_reads_what_the_published_script_writes(tmp_path):
    rows = [{"index": f"s{i}", "label": i // 2, "func": f"code {i}"} for i in range(4)]
    write_rows(tmp_path / "php_with_func.jsonl", rows)
    data = load_official("codenet:php", tmp_path)
    assert judged(data) == {"s0": {"s1"}, "s1": {"s0"}, "s2": {"s3"}, "s3": {"s2"}}
    with pytest.raises(FileNotFoundError, match=r"lacks c_with_func\.jsonl, .*one by one"):
        load_official("codenet", tmp_path)
    write_rows(tmp_path / "php_with_func.jsonl", [{"index": "s0"}])
    with pytest.raises(ValueError, match="row 1 needs index, label and func, got index"):
        load_official("codenet:php", tmp_path)


# What is missing


@pytest.mark.parametrize("name", official_names())
def test_missing_files_say_what_to_get_and_where(tmp_path, name):
    entry = OFFICIAL[name]
    with pytest.raises(FileNotFoundError) as caught:
        load_official(name, tmp_path)
    for part in (
        repr(name),
        entry.where,
        entry.licence,
        entry.files,
        "--root",
        entry.hub or "The Hub does not have it",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize("name", official_names())
def test_missing_on_the_hub(hub, name):
    with pytest.raises(FileNotFoundError) as caught:
        load_official(name)
    assert OFFICIAL[name].where in str(caught.value)
    assert ("the Hub gave no" in str(caught.value)) == bool(OFFICIAL[name].hub)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"'cosq'\. Did you mean 'cosqa'\? Sets: cosqa, advtest"):
        load_official("cosq")
    with pytest.raises(ValueError, match="'defects'. Did you mean 'defect'"):
        load_classification("defects")


def test_torn_files(tmp_path):
    (tmp_path / "test.jsonl").write_text('{"url": "u1"', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1 is not JSON"):
        load_official("advtest", tmp_path)
    write_rows(tmp_path / "test.jsonl", [{"docstring_tokens": ["a"], "code": "x"}])
    with pytest.raises(ValueError, match="a row of 'advtest' has no url, only docstring_tokens, code"):
        load_official("advtest", tmp_path)
    cosqa_files(tmp_path, "test", {})
    with pytest.raises(ValueError, match="does not hold a JSON list"):
        load_official("cosqa", tmp_path)
    (tmp_path / "code_idx_map.txt").write_text("{", encoding="utf-8")
    cosqa_queries = tmp_path / "cosqa-retrieval-test-500.json"
    cosqa_queries.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="code_idx_map.txt' is not JSON"):
        load_official("cosqa", tmp_path)


# The Hub


def test_advtest_and_poj104_from_the_hub_equal_the_files(hub, tmp_path):
    tables, _ = hub
    write_rows(tmp_path / "test.jsonl", CSN)
    tables["google/code_x_glue_tc_nl_code_search_adv", None, "test"] = CSN
    assert load_official("advtest").revision == load_official("advtest", tmp_path).revision
    rows = [{"id": i, "code": f"int m{i};", "label": str(i // 2)} for i in range(4)]
    tables["google/code_x_glue_cc_clone_detection_poj104", None, "validation"] = rows
    assert judged(load_official("poj104", split="dev")) == {"0": {"1"}, "1": {"0"}, "2": {"3"}, "3": {"2"}}


def test_sets_with_a_script_come_from_their_parquet_copy(hub):
    tables, asked = hub
    path = "google/code_x_glue_tc_nl_code_search_adv"
    tables[path, "default", "test", "refs/convert/parquet"] = CSN
    assert len(load_official("advtest").documents) == 2
    assert asked == [(path, None, "test", None), (path, "default", "test", "refs/convert/parquet")]


def test_csn_from_the_hub_says_that_its_pool_is_another(hub):
    tables, _ = hub
    tables["google/code_x_glue_ct_code_to_text", "python", "test"] = CSN[:1]
    whole = [
        {"func_code_url": row["url"], "func_code_string": row["code"], "func_code_tokens": row["code_tokens"]}
        for row in CSN
    ]
    tables["code-search-net/code_search_net", "python", "validation"] = whole[1:]
    tables["code-search-net/code_search_net", "python", "test"] = whole[:1]
    data = load_official("csn:python")
    assert data.name == "csn:python (pool of the Hub)"
    assert judged(data) == {"text 0": {"code 1"}}


def test_cosqa_from_the_hub_says_that_its_pool_is_another(hub):
    tables, _ = hub
    path = "CoIR-Retrieval/cosqa"
    tables[path, "corpus", "corpus"] = [{"_id": f"d{i}", "text": f"def f{i}(): pass", "title": ""} for i in range(3)]
    tables[path, "queries", "queries"] = [{"_id": f"q{i}", "text": f"question {i}"} for i in range(2)]
    rows = [("q0", "d2", 1), ("q1", "d1", 0), ("q9", "d1", 1)]
    tables[path, "default", "test"] = [{"query-id": q, "corpus-id": d, "score": s} for q, d, s in rows]
    data = load_official("cosqa")
    assert data.name == "cosqa (pool of CoIR)"
    assert judged(data) == {"q0": {"d2"}}


# On disk and back


def test_write_beir_round_trip(tmp_path):
    data = RetrievalSet(
        name="odd",
        task=CODE_TO_CODE,
        query_ids=["a", "b c"],
        queries=["x\ny\u2028\x00é", "\ud800 lone"],
        query_languages=["go", "c"],
        document_ids=["b c", "a", "d"],
        documents=["\ud800 lone", "x\ny\u2028\x00é", ""],
        document_languages=["c", "go", ""],
        relevance=Relevance.from_dicts([{2: 0.1 + 0.2, 0: 1.0}, {1: 3.0}]),
        same_language=True,
        joined_tokens=["a  b", "", "c"],
        problems={"oddities": 1},
    )
    write_beir(data, tmp_path / "odd", source="a test, seed 0")
    again = read_beir(tmp_path / "odd")
    assert again.revision == data.revision
    assert (again.task, again.same_language, again.joined_tokens) == (data.task, True, ["a  b", "", "c"])
    np.testing.assert_array_equal(again.relevance.gains, data.relevance.gains)
    record = json.loads((tmp_path / "odd" / "meta.json").read_text(encoding="utf-8"))
    assert (record["revision"], record["source"]) == (data.revision, "a test, seed 0")
    with pytest.raises(FileExistsError, match="--overwrite"):
        write_beir(data, tmp_path / "odd")
    write_beir(data, tmp_path / "odd", overwrite=True)


def test_write_beir_of_each_layout(tmp_path):
    write_rows(tmp_path / "csn" / "test.jsonl", CSN)
    cosqa_files(tmp_path / "cosqa", "test", [{"idx": "q", "doc": "pass", "label": 1, "retrieval_idx": 3}])
    codenet(tmp_path, many(count=4))
    for name in ("advtest", "cosqa", "codenet:c"):
        data = load_official(name, tmp_path / "csn" if name == "advtest" else tmp_path)
        folder = tmp_path / "saved" / name.replace(":", "-")
        folder.parent.mkdir(exist_ok=True)
        write_beir(data, folder)
        again = load_official(name, folder)  # a rebuild is done once
        assert (again.revision, again.name, again.joined_tokens) == (data.revision, name, data.joined_tokens)


@pytest.mark.parametrize("identity", ["a\tb", "a\nb", "a\u2028b", ""])
def test_write_beir_refuses_ids_that_do_not_come_back(tmp_path, identity):
    relevance = Relevance.from_dicts([{0: 1.0}])
    data = RetrievalSet("x", TEXT_TO_CODE, ["q"], ["text"], [""], [identity], ["code"], ["c"], relevance)
    with pytest.raises(ValueError, match="Rename it"):
        write_beir(data, tmp_path / "x")
    assert not (tmp_path / "x").exists()


# Classification


def test_read_classification(tmp_path):
    write_rows(
        tmp_path / "train.jsonl", [{"code": "a", "label": 1}, {"code": "b", "label": 0}, {"code": " ", "label": 1}]
    )
    write_rows(tmp_path / "valid.jsonl", [{"code": "a", "label": 1}, {"code": "c", "label": 2}])
    data = read_classification(tmp_path, name="x")
    assert data.train.codes == (["a", "b", " "],) and data.train.labels == ["1", "0", "1"]
    assert data.classes == ["0", "1"]
    assert data.problems == {
        "test examples whose label is not in training": 1,
        "empty codes": 1,
        "test examples also in training": 1,
    }
    write_rows(tmp_path / "test.jsonl", [{"code": "d", "label": 0}])  # goes before valid.jsonl
    changed = read_classification(tmp_path, name="x")
    assert changed.test.codes == (["d"],) and changed.revision != data.revision


def test_read_classification_of_pairs(tmp_path):
    pairs = [{"code1": "a", "code2": "b", "label": True}, {"code1": "a", "code2": "c", "label": False}]
    write_rows(tmp_path / "train.jsonl", pairs)
    write_rows(tmp_path / "test.jsonl", pairs[:1])
    (tmp_path / "meta.json").write_text('{"task": "clone"}', encoding="utf-8")
    data = read_classification(tmp_path)
    assert data.train == Examples((["a", "a"], ["b", "c"]), ["1", "0"])
    assert (data.task, data.name) == ("clone", tmp_path.name)


ONE = {"code": "a", "label": 0}


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([ONE, ONE], [ONE], "one class in training, '0': there is nothing to tell apart"),
        ([], [ONE], "no training examples"),
        ([ONE, {"code": "b", "label": 1}], [], "no test examples"),
        ([{"code": "a"}], [ONE], r"train\.jsonl', row 1 has no label"),
        ([ONE, {"text": "b", "label": 1}], [ONE], "row 2 needs code as text, got text, label"),
        ([{"code1": "a", "label": 1}], [ONE], "row 1 needs code1 and code2 as text"),
        ([ONE, {"code1": "a", "code2": "b", "label": 1}], [ONE], "mixes single codes and pairs. Split"),
        ([ONE, {"code": "b", "label": 1}], [{"code1": "a", "code2": "b", "label": 1}], "between training and test"),
    ],
)
def test_classification_refuses(tmp_path, train, test, message):
    write_rows(tmp_path / "train.jsonl", train)
    write_rows(tmp_path / "test.jsonl", test)
    with pytest.raises(ValueError, match=message):
        read_classification(tmp_path)


def test_classification_refuses_uneven_columns():
    with pytest.raises(ValueError, match="one or two lists of codes as long as the labels"):
        Examples((["a"], ["b", "c"]), ["0"])


def test_classification_folder_without_files(tmp_path):
    write_rows(tmp_path / "train.jsonl", [ONE])
    with pytest.raises(FileNotFoundError, match=r"needs train\.jsonl and test\.jsonl or valid\.jsonl"):
        read_classification(tmp_path)


DEFECTS = [{"project": "p", "func": f"int f{i};", "target": i % 2} for i in range(5)]


def test_defect_in_both_layouts_and_from_the_hub(tmp_path, hub):
    tables, _ = hub
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "function.json").write_text(json.dumps(DEFECTS), encoding="utf-8")
    (tmp_path / "raw" / "train.txt").write_text("0\n1\n3\n", encoding="utf-8")
    (tmp_path / "raw" / "test.txt").write_text("4\n", encoding="utf-8")
    for part, places in (("train", (0, 1, 3)), ("test", (4,))):
        rows = [DEFECTS[place] for place in places]
        write_rows(tmp_path / "made" / f"{part}.jsonl", rows)
        booleans = [{**row, "target": bool(row["target"])} for row in rows]
        tables["google/code_x_glue_cc_defect_detection", None, part] = booleans
    raw = load_classification("defect", tmp_path / "raw")
    assert raw.train == Examples((["int f0;", "int f1;", "int f3;"],), ["0", "1", "1"])
    assert raw.revision == load_classification("defect", tmp_path / "made").revision
    assert raw.revision == load_classification("defect").revision
    (tmp_path / "raw" / "test.txt").write_text("99\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt' does not list places in function\.json"):
        load_classification("defect", tmp_path / "raw")


def test_clones(tmp_path):
    write_rows(tmp_path / "data.jsonl", [{"idx": str(i), "func": f"void f{i}()"} for i in range(3)])
    (tmp_path / "train.txt").write_text("0\t1\t1\n0\t2\t0\n0\t9\t1\n", encoding="utf-8")
    (tmp_path / "test.txt").write_text("1\t2\t0\n", encoding="utf-8")
    data = load_classification("clone", tmp_path)
    assert data.train == Examples((["void f0()"] * 2, ["void f1()", "void f2()"]), ["1", "0"])
    (tmp_path / "test.txt").write_text("1 2 0\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"test\.txt', line 1 is not"):
        load_classification("clone", tmp_path)


def test_complexity_is_split_by_hash(tmp_path):
    rows = [{"src": f"class A{i} {{}}", "complexity": "np" if i % 3 else "linear"} for i in range(1000)]
    write_rows(tmp_path / "data.jsonl", rows)
    data = load_classification("complexity", tmp_path)
    # Five standard deviations of the binomial distribution.
    assert abs(len(data.train) - 800) < 5 * (1000 * 0.8 * 0.2) ** 0.5
    assert abs(len(data.test) - 100) < 5 * (1000 * 0.1 * 0.9) ** 0.5
    assert not set(data.train.codes[0]) & set(data.test.codes[0])
    write_rows(tmp_path / "data.jsonl", rows[::-1])
    again = load_classification("complexity", tmp_path)
    assert set(again.test.codes[0]) == set(data.test.codes[0])
    assert set(load_classification("complexity", tmp_path, seed=1).test.codes[0]) != set(data.test.codes[0])
    parts = [row["src"] for part in ("train", "valid", "test") for row in split_by_hash(rows, part, 0)]
    assert sorted(parts) == sorted(row["src"] for row in rows)


def test_runtime_error_is_balanced(tmp_path):
    rows = [{"code": f"print({i})", "target_label": "No_Error" if i % 5 else "KeyError"} for i in range(100)]
    write_rows(tmp_path / "train_balanced.json", rows)
    write_rows(tmp_path / "test.jsonl", [{"code": "x", "label": "No error"}, {"code": "y", "label": "ValueError"}])
    data = load_classification("runtime-error", tmp_path)
    assert Counter(data.train.labels) == {"No_Error": 20, "KeyError": 20}
    assert data.problems["programs without an error left out to balance"] == 60
    assert len(data.test) == 2


def test_balancing_leaves_the_order_and_duplicates_alone():
    rows = [((f"c{i % 4}",), "No error" if i % 2 else "KeyError") for i in range(12)] + [(("z",), "no_error")] * 5
    kept = balanced(rows, 0)
    assert Counter(label for _, label in kept)["KeyError"] == 6
    assert len(kept) == 12
    places = iter(rows)
    assert all(row in places for row in kept), "a subsequence of the rows"
    assert balanced(kept, 0) == kept


@pytest.mark.parametrize("name", classification_names())
def test_missing_classification_files_say_what_to_get(tmp_path, name, hub):
    entry = OFFICIAL_CLASSIFICATION[name]
    for root in (tmp_path, None):
        with pytest.raises(FileNotFoundError) as caught:
            load_classification(name, root)
        assert entry.where in str(caught.value) and entry.files in str(caught.value)


def test_rows_that_lack_a_field(tmp_path):
    write_rows(tmp_path / "train.jsonl", [{"func": "a"}])
    with pytest.raises(ValueError, match=r"a row of 'defect' needs func, target\|label, got func"):
        load_classification("defect", tmp_path)


def test_make_set_counts_what_is_known_already():
    examples = Examples((["a", "b"],), ["0", "1"])
    assert make_set("x", "t", examples, Examples((["c"],), ["1"]), {"oddities": 2, "none": 0}).problems == {
        "oddities": 2
    }
