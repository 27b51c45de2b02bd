"""Retrieval evaluation: sets and what is wrong with them, protocols, ranking, embeddings on disk, the command."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import coderep
from trainers.embedding_cache import cached_embeddings
from trainers.evaluation import Bm25Scorer, CosineScorer, choose_protocol, evaluate_retrieval, load_embedder, read_set
from trainers.evaluation.checks import check_encoder
from trainers.evaluation.domain import domain_of
from trainers.evaluation.embedders import DOCUMENT, QUERY, token_lengths
from trainers.evaluation.protocols import PROTOCOLS
from trainers.evaluation.scorers import block_rows, words
from trainers.evaluation.sets import CODE_TO_CODE, TEXT_TO_CODE, find_sets, read_beir

EVALDATA = Path(os.environ.get("CODEREP_EVALDATA") or Path(__file__).parents[2] / "shared" / "evaldata")


def write_set(folder, documents, queries, qrels, task=None):
    """A set in BEIR's layout from rows; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    if task:
        (folder / "meta.json").write_text(json.dumps({"task": task}))
    return folder


def document(identity, text, language=""):
    row = {"_id": identity, "text": text}
    return {**row, "language": language} if language else row


@pytest.fixture
def texts_to_code(tmp_path):
    """Two texts, three functions."""
    documents = [
        document("a", "def read_rows(path): pass", "python"),
        document("b", "def remove_tree(path): pass", "python"),
        document("c", "def add(a, b): pass", "python"),
    ]
    queries = [document("1", "remove the tree"), document("2", "read rows")]
    return write_set(tmp_path / "small set", documents, queries, [("1", "b", 1), ("2", "a", 1)])


class TableScorer:
    """Scores from a table, in blocks of a given size."""

    name, changes = "table", ()

    def __init__(self, scores, block=3):
        self.scores, self.block = np.asarray(scores, dtype=np.float32), block

    def counts(self, queries, documents):
        return {"documents cut": 0, "queries cut": 2}

    def blocks(self, queries, documents, *, texts):
        for start in range(0, len(self.scores), self.block):
            yield self.scores[start : start + self.block].copy()


def slow_retrieval(scores, data, query_language=None, corpus_language=None):
    """MRR and MAP by sorting each ranking, ties against the relevant documents."""
    reciprocal, precision = [], []
    for q, identity in enumerate(data.query_ids):
        if query_language is not None and data.query_languages[q] != query_language:
            continue
        start, stop = data.relevance.offsets[q : q + 2]
        gold = set(data.relevance.columns[start:stop].tolist())
        pool = [
            c
            for c, name in enumerate(data.document_ids)
            if name != identity
            and (not data.same_language or data.document_languages[c] == data.query_languages[q])
            and corpus_language in (None, data.document_languages[c])
        ]
        ranked = sorted(pool, key=lambda c: (-scores[q][c], c in gold))
        ranks = [rank for rank, c in enumerate(ranked, start=1) if c in gold]
        if ranks:
            reciprocal.append(1 / ranks[0])
            precision.append(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))
    return (np.mean(reciprocal), np.mean(precision), len(reciprocal)) if reciprocal else None


@pytest.mark.parametrize("task", [None, "code2code in-language (drop the query itself)"])
def test_numbers_equal_sorting_by_hand(tmp_path, task):
    rng = np.random.default_rng(7)
    languages = rng.choice(["python", "java", "go"], 40)
    problems = rng.integers(0, 8, 40)
    rows = [document(str(i), f"code {i}", language) for i, language in enumerate(languages)]
    qrels = [(i, j, 1) for i in range(40) for j in range(40) if problems[i] == problems[j] and i != j]
    data = read_beir(write_set(tmp_path / "set", rows, rows, qrels, task))
    assert data.task == CODE_TO_CODE and data.same_language == (task is not None)
    scores = rng.integers(0, 6, (len(data.queries), 40))  # many ties
    results = evaluate_retrieval(TableScorer(scores), data, model="m").results
    seen = set()
    for result in results:
        cell = (result.query_language or None, result.corpus_language or None)
        expected = slow_retrieval(scores, data, *cell)
        if result.metric in ("mrr", "map"):
            assert result.value == pytest.approx(expected[result.metric == "map"]), cell
            assert result.n == expected[2]
            seen.add(cell)
    own = {(language, language) for language in languages}
    assert seen - {(None, None)} == (own if task else {(a, b) for a in languages for b in languages})


def test_blocks_do_not_change_the_numbers(tmp_path):
    rng = np.random.default_rng(1)
    documents = [document(str(i), f"c{i}", "go" if i % 2 else "c") for i in range(30)]
    queries = [document(f"q{i}", f"t{i}") for i in range(17)]
    data = read_beir(write_set(tmp_path / "set", documents, queries, [(f"q{i}", i, 1) for i in range(17)]))
    scores = rng.normal(size=(17, 30))
    whole, parts = (evaluate_retrieval(TableScorer(scores, block), data).results for block in (100, 4))
    assert [(r.metric, r.value, r.n, r.corpus_language) for r in whole] == [
        (r.metric, r.value, r.n, r.corpus_language) for r in parts
    ]
    assert {r.corpus_language for r in whole} == {"", "c", "go"}


def test_result_names_what_it_is(texts_to_code):
    outcome = evaluate_retrieval(Bm25Scorer(), read_set(texts_to_code), domain="zero-shot")
    first = outcome.results[0]
    assert (first.model, first.task, first.dataset) == ("bm25", TEXT_TO_CODE, "small set")
    assert (first.protocol, first.metric, first.value, first.n) == ("raw", "mrr", 1.0, 2)
    assert first.domain == "zero-shot" and len(first.revision) == 16
    assert outcome.values["mrr"].tolist() == [1.0, 1.0]


def test_revision_follows_the_content(texts_to_code):
    before = read_set(texts_to_code).revision
    assert read_set(texts_to_code).revision == before
    (texts_to_code / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tb\t1\n2\tc\t1\n")
    assert read_set(texts_to_code).revision != before


def test_revision_covers_how_a_set_is_ranked(tmp_path):
    rows = [document("a", "x", "go"), document("b", "y", "go")]
    plain = read_beir(write_set(tmp_path / "one", rows, rows, [("a", "b", 1)]))
    pooled = read_beir(write_set(tmp_path / "two", rows, rows, [("a", "b", 1)], "code2code in-language"))
    tokens = [{**row, "code_tokens": ["t"]} for row in rows]
    with_tokens = read_beir(write_set(tmp_path / "three", tokens, rows, [("a", "b", 1)]))
    assert len({plain.revision, pooled.revision, with_tokens.revision}) == 3


def test_what_a_model_was_changed_in_stands_in_the_protocol(demo, tmp_path, texts_to_code):
    embedder = load_embedder(demo / "checkpoint", cache=tmp_path, dimensions=8, dtype="bfloat16", loader="transformers")
    first = evaluate_retrieval(CosineScorer(embedder), read_set(texts_to_code)).results[0]
    assert first.protocol == "raw, 8 dimensions, bfloat16, loaded by transformers"


# what is wrong with a set


def test_problems_are_counted(tmp_path):
    documents = [document("a", "x = 1"), document("a", "y = 2"), document("b", ""), document("c", "z", "go")]
    queries = [document("1", "one"), document("2", "two"), document("2", "again"), document("3", "three")]
    qrels = [("1", "a", 1), ("1", "nowhere", 1), ("9", "a", 1), ("2", "b", 0), ("3", "c", 2)]
    data = read_beir(write_set(tmp_path / "set", documents, queries, qrels))
    assert data.problems == {
        "repeated ids of documents": 1,
        "repeated ids of queries": 1,
        "judgements of unknown documents": 1,
        "judgements of unknown queries": 1,
        "queries without a relevant document": 1,
        "empty documents": 1,
    }
    assert data.query_ids == ["1", "3"] and data.documents[0] == "x = 1"
    assert data.relevance.gains.tolist() == [1.0, 2.0]
    counts = evaluate_retrieval(TableScorer(np.zeros((2, 3))), data).results[0].counts
    assert counts == {**data.problems, "queries cut": 2}


def test_query_whose_relevant_documents_are_in_other_languages_is_left_out_and_counted(tmp_path):
    rows = [document("a", "x", "go"), document("b", "y", "go"), document("c", "z", "c")]
    qrels = [("a", "b", 1), ("c", "a", 1)]
    data = read_beir(write_set(tmp_path / "set", rows, rows, qrels, "code2code in-language"))
    first = evaluate_retrieval(TableScorer(np.eye(2, 3)), data).results[0]
    assert first.n == 1 and first.counts["queries without a relevant document in their pool"] == 1


def test_query_that_is_a_document_is_known_by_id_and_text(tmp_path):
    """Sets number their queries and their documents alike; only code that searches among itself finds itself."""
    rows = [document("1", "x"), document("2", "y")]
    texts = [document("1", "text of x"), document("2", "text of y")]
    data = read_beir(write_set(tmp_path / "texts", rows, texts, [("1", "1", 1), ("2", "2", 1)]))
    assert data.own_documents.tolist() == [-1, -1] and not data.problems
    data = read_beir(write_set(tmp_path / "codes", rows, rows, [("1", "1", 1), ("1", "2", 1), ("2", "1", 1)]))
    assert data.own_documents.tolist() == [0, 1] and data.problems == {"judgements of a query itself": 1}


def test_layouts_of_qrels(texts_to_code):
    expected = read_set(texts_to_code).revision
    (texts_to_code / "qrels.tsv").write_text("1\t0\tb\t1\n2\t0\ta\t1\n")  # TREC's, without a header
    assert read_set(texts_to_code).revision == expected
    (texts_to_code / "qrels").mkdir()
    (texts_to_code / "qrels.tsv").rename(texts_to_code / "qrels" / "test.tsv")  # BEIR's
    assert read_set(texts_to_code).revision == expected


def test_split_that_is_not_there_is_refused(texts_to_code):
    with pytest.raises(FileNotFoundError, match=r"has no split 'dev' \(qrels/dev.tsv\)"):
        read_set(texts_to_code, split="dev")


def test_names_of_languages_are_ours(tmp_path):
    rows = [document("a", "x", "Python"), document("b", "y", "C#"), document("c", "z", "cobol")]
    data = read_beir(write_set(tmp_path / "set", rows, rows, [("a", "b", 1)]))
    assert data.document_languages == ["python", "csharp", "cobol"]


def test_title_is_read_before_the_text(tmp_path):
    rows = [{"_id": "a", "title": "sum", "text": "x"}, {"_id": "b", "title": "", "text": "y"}]
    data = read_beir(write_set(tmp_path / "set", rows, [document("1", "q")], [("1", "a", 1)]))
    assert data.documents == ["sum x", "y"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", "", "has no documents"),
        ("corpus.jsonl", '{"_id": "a", "text": "x"\n', "line 1 is not JSON"),
        ("corpus.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("corpus.jsonl", '{"_id": "a"}\n', "row 1 needs the fields _id and text, got _id"),
        ("queries.jsonl", "", "no query with a relevant document"),
        ("qrels.tsv", "query-id\tcorpus-id\tscore\n1 b 1\n", "line 2 is not `query-id<TAB>corpus-id<TAB>score`"),
        ("meta.json", "{", "is not a JSON object"),
    ],
)
def test_torn_set_is_one_line(texts_to_code, capsys, name, content, message):
    (texts_to_code / name).write_text(content)
    assert coderep.main(["eval", "retrieval", "bm25", "--data", str(texts_to_code)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error and "Traceback" not in error


def test_missing_sets(tmp_path, texts_to_code, capsys):
    assert coderep.main(["eval", "retrieval", "bm25", "--data", str(tmp_path / "none")]) == 2
    assert "holds no retrieval set" in capsys.readouterr().err
    (texts_to_code / "qrels.tsv").unlink()
    assert coderep.main(["eval", "retrieval", "bm25", "--data", str(texts_to_code)]) == 2
    assert "has no qrels.tsv" in capsys.readouterr().err
    assert coderep.main(["eval", "retrieval", "bm25", "--data", str(texts_to_code), "--protocol", "rew"]) == 2
    assert "unknown protocol 'rew'. Did you mean 'raw'? Protocols: raw, codesage" in capsys.readouterr().err


def test_find_sets_lists_folders_by_name(tmp_path, texts_to_code, demo):
    assert find_sets(demo / "data") == [demo / "data" / "pairs"]
    with pytest.raises(ValueError, match="holds no pairs but stage1"):
        read_set(demo / "data" / "stage1")
    assert find_sets(tmp_path) == [texts_to_code] and find_sets(texts_to_code) == [texts_to_code]


# protocols


def test_protocols_are_frozen():
    """Published numbers name them: a change is another protocol."""
    raw, codesage = PROTOCOLS["raw"], PROTOCOLS["codesage"]
    assert (raw.code_length, raw.text_length, raw.cleaned, raw.mrr_cutoff, raw.ties) == (512, 512, False, None, "worst")
    lengths = (codesage.code_length, codesage.text_length)
    assert (*lengths, codesage.cleaned, codesage.mrr_cutoff, codesage.ties) == (1024, 128, True, 1000, "worst")


def test_label_names_what_was_changed():
    assert choose_protocol("raw").label == "raw"
    assert choose_protocol("raw", code_length=512, ties=None).label == "raw"
    assert choose_protocol("raw", code_length=256, text_length=256).label == "raw, 256 tokens"
    changed = choose_protocol("codesage", code_length=256, ties="order")
    assert changed.label == "codesage, code 256, text 128 tokens, ties by order"
    assert choose_protocol("raw", mrr_cutoff=10, cleaned=True).label == "raw, cleaned, MRR cut at 10"


def test_codesage_cleans_code_and_joins_texts(tmp_path, texts_to_code):
    protocol = choose_protocol("codesage")
    data = read_set(texts_to_code)
    assert protocol.queries(data) == (["remove the tree", "read rows"], 128)
    rows = [
        document("a", 'def f():\n    """Doc."""\n    return 1  # one\n', "python"),
        document("b", "int  x; // y", "c"),
    ]
    codes = read_beir(write_set(tmp_path / "codes", rows, rows, [("a", "b", 1)]))
    assert protocol.documents(codes) == (["def f(): return 1", "int x;"], 1024)
    assert protocol.queries(codes)[0] == ["def f(): return 1"]
    assert choose_protocol("raw").documents(codes)[0] is codes.documents


def test_codesage_joins_published_tokens(tmp_path):
    rows = [{"_id": "a", "text": "def f(): pass  # why", "code_tokens": ["def", "f", "(", ")", ":", "pass"]}]
    data = read_beir(write_set(tmp_path / "set", rows, [document("1", "a  b")], [("1", "a", 1)]))
    protocol = choose_protocol("codesage")
    assert protocol.documents(data)[0] == ["def f ( ) : pass"] and protocol.queries(data)[0] == ["a b"]
    rows[0]["code_tokens"] = "def f ( ) :  pass"
    data = read_beir(write_set(tmp_path / "set", rows, [document("1", "q")], [("1", "a", 1)]))
    assert protocol.documents(data)[0] == ["def f ( ) : pass"]
    rows[0]["code_tokens"] = 3
    with pytest.raises(ValueError, match="holds code_tokens that are no list of strings: 3"):
        read_beir(write_set(tmp_path / "set", rows, [document("1", "q")], [("1", "a", 1)]))


def test_mrr_is_cut_by_the_protocol(tmp_path):
    documents = [document(str(i), "x") for i in range(1200)]
    queries = [document("1", "q"), document("2", "q")]
    data = read_beir(write_set(tmp_path / "set", documents, queries, [("1", "0", 1), ("2", "1199", 1)]))
    scores = np.tile(-np.arange(1200.0), (2, 1))
    raw = evaluate_retrieval(TableScorer(scores), data).results[0].value
    cut = evaluate_retrieval(TableScorer(scores), data, choose_protocol("codesage")).results[0].value
    assert raw == pytest.approx((1 + 1 / 1200) / 2) and cut == pytest.approx(1 / 2)


# scorers


def test_words_split_code_and_prose_alike():
    assert words("readCSVFile2(self._max_len)") == ["read", "csv", "file", "2", "self", "max", "len"]


def test_bm25_scores_are_those_of_the_formula():
    documents = ["read rows", "read the tree of trees", "add"]
    scores = next(Bm25Scorer().blocks((["rows read"], 1), (documents, 1), texts=True))
    k1, b, lengths = 1.5, 0.75, np.array([2, 5, 1])
    counts = {"rows": np.array([1, 0, 0]), "read": np.array([1, 1, 0])}
    expected = sum(
        np.log(1 + (3 - (tf > 0).sum() + 0.5) / ((tf > 0).sum() + 0.5))
        * tf
        / (tf + k1 * (1 - b + b * lengths / lengths.mean()))
        for tf in counts.values()
    )
    ratio = scores[0][:2] / expected[:2]  # bm25s leaves out the constant factor k1 + 1
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-5) and scores[0][2] == 0


def test_bm25_takes_texts_without_words(texts_to_code):
    assert next(Bm25Scorer().blocks((["!?"], 1), (["...", "x"], 1), texts=True)).tolist() == [[0.0, 0.0]]
    assert next(Bm25Scorer().blocks((["x"], 1), (["...", "x"], 1), texts=True))[0].argmax() == 1


def test_bm25_without_any_word_scores_nothing():
    assert next(Bm25Scorer().blocks((["x"], 1), (["...", ""], 1), texts=True)).tolist() == [[0.0, 0.0]]


def test_copies_of_a_document_score_alike(tmp_path):
    """A product of matrices may round the last columns of a block differently."""
    rng = np.random.default_rng(0)

    class Embedder:
        name, changes = "random", ()

        def embed(self, texts, *, max_length, kind):
            vectors = {text: np.random.default_rng(len(text)).normal(size=384) for text in texts}
            return np.array([vectors[text] for text in texts], dtype=np.float32)

    documents = ["x" * int(length) for length in rng.integers(1, 60, 203)]
    (scores,) = CosineScorer(Embedder()).blocks((["query"], 9), (documents, 9), texts=True)
    expected = Embedder().embed(["query"], max_length=9, kind="") @ Embedder().embed(documents, max_length=9, kind="").T
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    for text in set(documents):
        assert len({scores[0, place] for place, other in enumerate(documents) if other == text}) == 1


def test_block_of_scores_is_bounded():
    assert block_rows(100_000) * 100_000 * 4 <= 64_000_000 and block_rows(10**9) == 1


def test_scores_of_an_encoder_are_cosines(demo, tmp_path, texts_to_code):
    embedder = load_embedder(demo / "checkpoint", cache=tmp_path / "cache")
    data = read_set(texts_to_code)
    block = next(CosineScorer(embedder).blocks((data.queries, 64), (data.documents, 64), texts=True))
    encoder = coderep.load_encoder(demo / "checkpoint")
    expected = encoder.encode(data.queries) @ encoder.encode(data.documents).T
    np.testing.assert_allclose(block, expected, atol=1e-6)


# embedders and their cache


def letters(calls=None):
    """A model whose embedding of a text is its length and its first letter; notes how many texts it is given."""

    def embed(texts):
        if calls is not None:
            calls.append(len(texts))
        return np.array([[len(text), ord(text[0])] for text in texts], dtype=np.float32)

    return embed


def test_no_text_is_embedded_twice(tmp_path):
    calls, texts = [], [f"{i} text" for i in range(5000)]
    first = cached_embeddings(letters(calls), texts, key=("model", 512), folder=tmp_path)
    again = cached_embeddings(letters(calls), texts[::-1], key=("model", 512), folder=tmp_path)
    assert calls == [4096, 904]
    assert np.array_equal(first, letters()(texts)) and np.array_equal(again, first[::-1])
    more = cached_embeddings(letters(calls), ["new", texts[7], "new"], key=("model", 512), folder=tmp_path)
    assert calls[2:] == [1] and np.array_equal(more, letters()(["new", texts[7], "new"]))
    cached_embeddings(letters(calls), texts[:3], key=("model", 256), folder=tmp_path)
    assert calls[3:] == [3]


def test_longest_texts_come_first(tmp_path):
    given = []

    def embed(texts):
        given.extend(texts)
        return letters()(texts)

    cached_embeddings(embed, ["b", "ccc", "dd"], key=(), folder=tmp_path)
    assert given == ["ccc", "dd", "b"]  # so that a batch holds texts of one length


def test_torn_cache_is_made_anew(tmp_path):
    cached_embeddings(letters(), ["abc"], key=(), folder=tmp_path)
    (kept,) = tmp_path.rglob("*.safetensors")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-3])
    assert cached_embeddings(letters(), ["abc"], key=(), folder=tmp_path).tolist() == [[3.0, 97.0]]
    assert kept.read_bytes() == whole


def test_cache_that_cannot_be_written_is_said_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    texts = [f"{i}" for i in range(5000)]
    found = cached_embeddings(letters(), texts, key=(), folder=tmp_path / "file")
    assert np.array_equal(found, letters()(texts))
    assert capsys.readouterr().err.count("embeddings are not kept") == 1


def test_killed_evaluation_goes_on_from_kept_embeddings(start, tmp_path):
    """A process is killed in its second file of embeddings; the next one makes only those that are missing."""
    script = """
import signal
import numpy as np
from trainers.embedding_cache import cached_embeddings

def embed(texts):
    print(len(texts), flush=True)
    if len(texts) < 4096 and argv == ["die"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return np.ones((len(texts), 1), dtype=np.float32)

cached_embeddings(embed, [str(i) for i in range(5000)], key=("m",), folder={folder!r})
sys.exit()
"""

    def run(how):
        process = start([how], tmp_path / how, before=script.format(folder=str(tmp_path / "cache")))
        process.join(120)
        return process.exitcode, (tmp_path / how).read_text().split()

    assert run("die") == (-9, ["4096", "904"])
    assert run("live") == (0, ["904"])


def test_fingerprint_tells_models_and_tokenizers_apart(demo):
    encoder = load_embedder(demo / "checkpoint")
    again, other = load_embedder(demo / "checkpoint"), load_embedder(demo / "checkpoint")
    again.count_cut(["a"], 1)
    again.embed(["a"])  # leaves its truncation in the tokenizer
    assert encoder.fingerprint == again.fingerprint == load_embedder(demo / "checkpoint").fingerprint
    next(other.encoder.model.parameters()).data.view(-1)[0] += 1
    assert other.fingerprint != encoder.fingerprint


def test_sentence_transformers_and_transformers_agree(demo, tmp_path):
    pytest.importorskip("sentence_transformers")
    texts = ["read a csv file", "", "def f(): return 1", "x" * 500]
    mine = load_embedder(demo / "checkpoint", cache=tmp_path)
    # Without code of its own a checkpoint loads there by our registered classes.
    theirs = load_embedder(demo / "checkpoint", loader="sentence-transformers", cache=tmp_path)
    np.testing.assert_allclose(mine.embed(texts[:1]), theirs.embed(texts[:1]), atol=1e-5)
    assert mine.count_cut(texts, 16) == theirs.count_cut(texts, 16) == 1
    assert mine.fingerprint != theirs.fingerprint


def test_prompts_of_queries_are_used(demo, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(demo / "checkpoint"), prompts={"query": "query: ", "document": ""})
    model.save(str(tmp_path / "model"))
    embedder = load_embedder(tmp_path / "model", loader="sentence-transformers", cache=tmp_path)
    query, document = (embedder.embed(["rows"], kind=kind) for kind in (QUERY, DOCUMENT))
    assert not np.allclose(query, document)
    np.testing.assert_allclose(query, embedder.embed(["query: rows"], kind=DOCUMENT), atol=1e-6)


def test_static_model(tmp_path, tokenizer):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    part = StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=8)
    library.SentenceTransformer(modules=[part]).save(str(tmp_path / "static"))
    embedder = load_embedder(tmp_path / "static", cache=tmp_path, dimensions=4)
    texts = ["def f(): pass", "return x", "def f(): pass" + " and more" * 9]
    vectors = embedder.embed(texts, max_length=512)
    assert vectors.shape == (3, 4)
    length = token_lengths(embedder.model.tokenizer, texts)[0]
    assert embedder.count_cut(texts, length) == 1 and embedder.count_cut(texts, 512) == 0
    cut = embedder.embed(texts, max_length=length)
    np.testing.assert_allclose(cut[2], cut[0], atol=1e-6)
    assert not np.allclose(vectors[2], vectors[0])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_dimensions_and_lengths_are_checked(demo, tmp_path):
    embedder = load_embedder(demo / "checkpoint", cache=tmp_path, dimensions=10_000)
    with pytest.raises(ValueError, match=r"dimensions must lie in \[1, 32\], got 10000"):
        embedder.embed(["a"])
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        embedder.embed(["a"], max_length=0)
    with pytest.raises(ValueError, match="loader must be one of"):
        load_embedder(demo / "checkpoint", loader="onnx")
    assert load_embedder(demo / "checkpoint", cache=tmp_path).embed([]).shape == (0, 32)


def test_count_of_cut_texts(demo, tokenizer):
    embedder = load_embedder(demo / "checkpoint")
    texts = ["a", "def f(x): return x " * 50]
    lengths = token_lengths(embedder.encoder.tokenizer, texts)
    assert lengths == [len(embedder.encoder.tokenizer(text)["input_ids"]) for text in texts]
    assert embedder.count_cut(texts, 100_000) == (lengths[1] > embedder.limit)
    assert embedder.count_cut(texts, lengths[0] - 1) == 2


# whether a checkpoint does what it says


def copy_checkpoint(demo, folder):
    import shutil

    return Path(shutil.copytree(demo / "checkpoint", folder))


def test_own_checkpoint_has_nothing_to_warn_of(demo):
    assert check_encoder(demo / "checkpoint", coderep.load_encoder(demo / "checkpoint").tokenizer) == []


def test_pooling_that_contradicts_the_card_or_the_modules(demo, tmp_path):
    folder = copy_checkpoint(demo, tmp_path / "model")
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("mean", "CLS") + "\nIt uses CLS pooling.\n")
    tokenizer = coderep.load_encoder(folder).tokenizer
    assert check_encoder(folder, tokenizer) == ["the card speaks of cls pooling, the model pools by mean"]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "pooling": "cls"}))
    assert check_encoder(folder, tokenizer) == [
        "config.json says cls pooling, the modules of sentence-transformers pool by mean"
    ]


def test_lost_eos_is_noticed(demo):
    tokenizer = coderep.load_encoder(demo / "checkpoint").tokenizer
    tokenizer.backend_tokenizer.post_processor = None
    (warning,) = check_encoder(demo / "checkpoint", tokenizer)
    assert "does not append it" in warning


def test_eos_lost_by_truncation_is_noticed(demo):
    tokenizer = coderep.load_encoder(demo / "checkpoint").tokenizer

    class Cuts:
        eos_token, eos_token_id = tokenizer.eos_token, tokenizer.eos_token_id

        def __call__(self, text, truncation=False, max_length=None):
            ids = tokenizer(text)["input_ids"]
            return {"input_ids": ids[:max_length] if truncation else ids}

    (warning,) = check_encoder(demo / "checkpoint", Cuts())
    assert "loses it when it cuts a text" in warning


# zero-shot or not


def test_domain_of_a_result(tmp_path):
    assert domain_of("bm25", "cosqa") == "zero-shot"
    assert domain_of("some/model", "cosqa") == "unknown"
    assert domain_of("some/model", "csn_ruby", in_domain=["csn*"]) == "in-domain"
    assert domain_of("some/model", "cosqa", in_domain=["csn*"], zero_shot=["*"]) == "zero-shot"
    data = {"sources": ["mine"], "decontamination": {"sets": ["cosqa"]}}
    (tmp_path / "checkpoint").mkdir()
    for claim, expected in (({"model": None}, "zero-shot"), ({"model": "other/model"}, "unknown")):
        # One stage by itself: only from scratch is it all that the model has seen.
        (tmp_path / "run.json").write_text(json.dumps({"data": data}))
        (tmp_path / "stage.json").write_text(json.dumps(claim))
        assert domain_of(str(tmp_path / "checkpoint"), "cosqa") == expected
        assert domain_of(str(tmp_path / "checkpoint"), "mine") == "in-domain"
    other = {"sources": ["mine"], "decontamination": {"sets": []}}
    for stages, expected in (([data, data], "zero-shot"), ([data, other], "unknown")):
        (tmp_path / "run.json").write_text(json.dumps({"stages": [{"data": stage} for stage in stages]}))
        assert domain_of(str(tmp_path / "checkpoint"), "cosqa") == expected
        assert domain_of(str(tmp_path / "checkpoint"), "mine") == "in-domain"


# the command


def test_command_writes_results_and_the_values_of_each_query(demo, texts_to_code, tmp_path, capsys):
    output = tmp_path / "results.json"
    model = "me/model"
    argv = [
        "eval",
        "retrieval",
        "bm25",
        str(demo / "checkpoint"),
        "--data",
        str(texts_to_code),
        str(demo / "data" / "pairs"),
    ]
    assert coderep.main([*argv, "--name", "one", "--output", str(output)]) == 2
    assert "--name needs a name for each of the 2 models, got 1" in capsys.readouterr().err
    argv += ["--name", "bm25", "me/model", "--output", str(output), "--zero-shot", "small*"]
    assert coderep.main(argv) == 0
    record = json.loads(output.read_text())
    totals = {(r["model"], r["dataset"], r["metric"]): r for r in record["results"] if not r["corpus_language"]}
    assert totals["bm25", "small set", "mrr"]["value"] == 1.0
    assert totals[model, "small set", "mrr"]["domain"] == "zero-shot"
    assert len(totals) == 2 * 2 * 4 and record["versions"]["coderep"]
    table = pq.read_table(tmp_path / "results.queries.parquet").to_pylist()
    for (name, dataset, metric), result in totals.items():
        rows = [row for row in table if (row["model"], row["dataset"]) == (name, dataset)]
        assert len(rows) == result["n"]
        assert np.mean([row[metric] for row in rows]) == pytest.approx(result["value"])
    assert coderep.main(["eval", "retrieval", "bm25", "bm25", "--data", str(texts_to_code)]) == 2
    shown, errors = capsys.readouterr()
    assert "models need different names" in errors
    assert "small set" in shown and "percent; protocol: raw" in shown


@pytest.mark.skipif(not EVALDATA.is_dir(), reason="needs the evaluation sets")
@pytest.mark.parametrize(
    ("name", "mrr", "map_"),
    [("csn_python_small", 52.15, 52.15), ("exercism_nl2code", 68.66, 48.26), ("javacs_valid", 93.87, 93.87)],
)
def test_bm25_gives_the_published_baselines(name, mrr, map_):
    """The baselines break ties by the order of the corpus; ours differ by ties alone."""
    data = read_set(EVALDATA / name)
    for ties, bound in (("order", 0.006), ("worst", 0.3)):
        results = evaluate_retrieval(Bm25Scorer(), data, choose_protocol("raw", ties=ties)).results
        found = {result.metric: 100 * result.value for result in results if not result.corpus_language}
        assert abs(found["mrr"] - mrr) < bound and abs(found["map"] - map_) < bound
