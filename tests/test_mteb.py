"""mteb: our encoders as its models, our sets as its tasks, its numbers against ours; all offline."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from modeling_coderep import CodeRepConfig, CodeRepModel
from trainers.checkpoints import save_model
from trainers.evaluation import mteb_cli, mteb_model
from trainers.evaluation.embedders import DOCUMENT, QUERY, Embedder
from trainers.evaluation.loaders import load_embedder
from trainers.evaluation.ranking import Relevance, average_precisions, mean, ndcgs, recalls, reciprocal_ranks
from trainers.evaluation.ranking import relevant_ranks as ranks_of
from trainers.evaluation.sets import read_beir

pytest.importorskip("mteb")
pytestmark = pytest.mark.filterwarnings("ignore")  # mteb's and those of what it imports

VERBS = ("read", "write", "sort", "count", "join", "split", "open", "parse", "merge", "hash")
NOUNS = ("file", "list", "socket", "path", "word", "table")
SYNTAX = {
    "python": "    def {0}_{1}_{2}({1}):\n        return {0}({1}, {2})\n",  # with an indent and a line break to strip
    "java": "int {0}{1}{2}(List {1}) {{ return {1}.{0}({2}); }}",
    "cpp": "auto {0}_{1}_{2}(auto& {1}) {{ return std::{0}({1}, {2}); }}",
}


def write_set(folder, corpus, queries, qrels, **meta):
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus.jsonl", corpus), ("queries.jsonl", queries)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n")
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def text_set(folder, gains=(1, 3, 2)):
    """60 functions, 10 queries with 1 to 6 relevant ones, of different gains."""
    corpus, qrels = [], []
    for v, verb in enumerate(VERBS):
        for n, noun in enumerate(NOUNS):
            corpus.append(
                {"_id": f"d{v}-{n}", "language": "python", "text": SYNTAX["python"].format(verb, noun, v * n)}
            )
            if n <= v:
                qrels.append((f"q{v}", f"d{v}-{n}", gains[n % len(gains)]))
    queries = [{"_id": f"q{v}", "text": f" {verb} something  "} for v, verb in enumerate(VERBS)]
    return write_set(folder, corpus, queries, qrels, task="nl2code")


def code_set(folder, task):
    """Three solutions of eight problems in each of three languages; every one searches for the others."""
    rows = [
        {"_id": f"{verb}-{language}-{n}", "language": language, "text": syntax.format(verb, NOUNS[n], v)}
        for v, verb in enumerate(VERBS[:8])
        for language, syntax in SYNTAX.items()
        for n in range(3)
    ]
    qrels = [
        (query["_id"], row["_id"], 1)
        for query in rows
        for row in rows
        if row is not query and row["_id"].split("-")[0] == query["_id"].split("-")[0]
    ]
    return write_set(folder, rows, rows, qrels, task=task)


@pytest.fixture(scope="module")
def checkpoint(tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    config = CodeRepConfig(
        vocab_size=1024,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("mteb") / "my checkpoint"
    save_model(CodeRepModel(config), tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint):
    return mteb_model.mteb_encoder(checkpoint)


def scores_of(model, task):
    """mteb's scores of each subset."""
    import mteb

    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    return {scores["hf_subset"]: scores for scores in result.task_results[0].scores["test"]}


def own_scores(checkpoint, data, query_language="", document_language="", exclude=True):
    """The same numbers by our embeddings and our ranks, and how many queries they are means over."""
    embedder = load_embedder(checkpoint)
    rows = [q for q, language in enumerate(data.query_languages) if query_language in ("", language)]
    columns = [c for c, language in enumerate(data.document_languages) if document_language in ("", language)]
    queries_QD = embedder.embed([data.queries[q] for q in rows], kind=QUERY)
    # mteb strips documents, not queries.
    documents_CD = embedder.embed([data.documents[c].strip() for c in columns], kind=DOCUMENT)
    scores_QC, relevance, place = queries_QD @ documents_CD.T, data.relevance, {c: i for i, c in enumerate(columns)}
    judged = []
    for row, q in enumerate(rows):
        pairs = range(relevance.offsets[q], relevance.offsets[q + 1])
        found = {place.get(relevance.columns[pair]): relevance.gains[pair] for pair in pairs}
        judged.append({column: gain for column, gain in found.items() if column is not None})
        if exclude and data.own_documents[q] in place:
            scores_QC[row, place[data.own_documents[q]]] = -np.inf
    relevance = Relevance.from_dicts(judged)
    ranks = ranks_of(scores_QC, relevance)
    return {
        "mrr_at_10": mean(reciprocal_ranks(ranks, relevance, 10))[0],
        "ndcg_at_10": mean(ndcgs(ranks, relevance, 10))[0],
        "map_at_10": mean(average_precisions(ranks, relevance, 10))[0],
        "map_at_1000": mean(average_precisions(ranks, relevance, 1000))[0],
        "recall_at_10": mean(recalls(ranks, relevance, 10))[0],
    }


def assert_agree(theirs, ours):
    assert 0.05 < ours["ndcg_at_10"] < 0.95  # neither trivial nor hopeless, so a mistake would show
    for metric, value in ours.items():
        # mteb rounds to five digits what pytrec_eval gives, and only that.
        assert theirs[metric] == pytest.approx(value, abs=1e-6 if metric.startswith("mrr") else 5.1e-6), metric


def retrieval_task(*args, **kwargs):
    from trainers.evaluation.mteb_tasks import retrieval_task

    return retrieval_task(*args, **kwargs)


# numbers


def test_text_to_code_agrees_with_our_ranking(model, checkpoint, tmp_path):
    data = read_beir(text_set(tmp_path / "texts"))
    found = scores_of(model, retrieval_task(data))
    assert list(found) == ["default"]
    assert_agree(found["default"], own_scores(checkpoint, data))
    assert found["default"]["main_score"] == found["default"]["ndcg_at_10"]


def test_code_to_code_leaves_the_query_out(model, checkpoint, tmp_path):
    data = read_beir(code_set(tmp_path / "codes", "code2code"))
    task = retrieval_task(data)
    found = scores_of(model, task)["default"]
    assert_agree(found, own_scores(checkpoint, data))
    # Whoever keeps the query itself sees it first, and every relevant document one rank lower.
    task.ignore_identical_ids = False
    kept = scores_of(model, task)["default"]
    assert kept["mrr_at_10"] == pytest.approx(own_scores(checkpoint, data, exclude=False)["mrr_at_10"], abs=1e-6)
    assert kept["mrr_at_10"] < found["mrr_at_10"] - 0.05


def test_the_query_itself_takes_one_of_the_places_that_mteb_keeps(model, checkpoint, tmp_path):
    """mteb keeps max(k_values) documents, 1000, and then removes the query: the last rank is never looked at."""
    data = read_beir(code_set(tmp_path / "codes", "code2code"))
    task = type("Short", (type(retrieval_task(data)),), {"k_values": (1, 10)})(data)
    theirs = scores_of(model, task)["default"]["recall_at_10"]
    embeddings = load_embedder(checkpoint).embed([text.strip() for text in data.documents])
    scores = load_embedder(checkpoint).embed(data.queries) @ embeddings.T
    np.fill_diagonal(scores, -np.inf)
    ranks = ranks_of(scores, data.relevance)
    nine, ten = (mean(recalls(ranks, data.relevance, k))[0] for k in (9, 10))
    assert theirs < ten - 0.001
    assert theirs >= nine - 1e-5  # a query that is not among its own first ten loses nothing


def test_in_language_sets_have_one_subset_a_language(model, checkpoint, tmp_path):
    data = read_beir(code_set(tmp_path / "codes", "code2code in-language"))
    task = retrieval_task(data)
    assert task.metadata.eval_langs == {"cpp": ["c++-Code"], "java": ["java-Code"], "python": ["python-Code"]}
    for language, found in scores_of(model, task).items():
        assert_agree(found, own_scores(checkpoint, data, language, language))


def test_matrix_has_one_subset_a_pair_of_languages(model, checkpoint, tmp_path):
    data = read_beir(code_set(tmp_path / "codes", "code2code"))
    task = retrieval_task(data, matrix=True)
    assert task.hf_subsets == [f"{query}-{document}" for query in sorted(SYNTAX) for document in sorted(SYNTAX)]
    assert task.metadata.eval_langs["cpp-java"] == ["c++-Code", "java-Code"]
    task.hf_subsets = ["python-python", "python-java"]
    found = scores_of(model, task)
    assert list(found) == task.hf_subsets
    for name in task.hf_subsets:
        assert_agree(found[name], own_scores(checkpoint, data, *name.split("-")))


# the model


def test_prompt_types_and_texts_reach_the_model(tmp_path):
    class Recorder(Embedder):
        fingerprint = "abc"

        def embed(self, texts, *, max_length=None, kind=DOCUMENT):
            seen.append((kind, max_length, list(texts)))
            return np.random.default_rng(len(texts)).standard_normal((len(texts), 4)).astype(np.float32)

    seen = []
    data = read_beir(text_set(tmp_path / "texts"))
    recorder = mteb_model.wrap(Recorder("m", 64), "me/m", max_length=32)
    seen.clear()
    scores_of(recorder, retrieval_task(data))
    assert sorted(kind for kind, _, _ in seen) == [DOCUMENT, QUERY]
    assert {length for _, length, _ in seen} == {32}
    texts = {kind: texts for kind, _, texts in seen}
    assert texts[QUERY] == list(data.queries)
    assert texts[DOCUMENT] == [document.strip() for document in data.documents] != list(data.documents)


def test_prompts_of_a_sentence_transformers_model_are_used(checkpoint, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    part = library.sentence_transformer.modules.StaticEmbedding(tokenizer, embedding_dim=16)
    prompts = {"query": "read the socket table: ", "document": ""}
    found = {}
    for name, used in (("plain", {}), ("prompted", prompts)):
        library.SentenceTransformer(modules=[part], prompts=used).save(str(tmp_path / name))
        model = mteb_model.mteb_encoder(tmp_path / name)
        meta = model.mteb_model_meta
        assert (meta.use_instructions, meta.embed_dim, meta.n_parameters) == (
            bool(used),
            16,
            part.embedding.weight.numel(),
        )
        batches = [{"text": ["count words", "open"]}, {"text": ["merge"]}]
        found[name] = [model.encode(batches, prompt_type=kind) for kind in (QUERY, DOCUMENT)]
    np.testing.assert_allclose(found["plain"][1], found["prompted"][1], atol=1e-6)
    assert np.abs(found["plain"][0] - found["prompted"][0]).max() > 0.01
    st = library.SentenceTransformer(str(tmp_path / "plain"))
    by_hand = st.encode(
        [prompts["query"] + text for text in ("count words", "open", "merge")], normalize_embeddings=True
    )
    np.testing.assert_allclose(found["prompted"][0], by_hand, atol=1e-6)


def test_meta_says_what_is_known(checkpoint, model):
    meta, embedder = model.mteb_model_meta, load_embedder(checkpoint)
    assert (meta.name, meta.revision) == ("local/my checkpoint", embedder.fingerprint)
    assert (meta.max_tokens, meta.embed_dim) == (128, 32)
    assert meta.n_parameters == sum(p.numel() for p in embedder.encoder.model.parameters())
    assert (meta.similarity_fn_name.value, meta.license, meta.training_datasets) == ("cosine", None, None)
    cut = mteb_model.mteb_encoder(
        checkpoint, name="me/other", revision="v1", max_length=16, dimensions=8
    ).mteb_model_meta
    assert (cut.name, cut.revision, cut.max_tokens, cut.embed_dim) == ("me/other", "v1", 16, 8)
    assert cut.experiment_kwargs == {"max_length": 16, "dimensions": 8}


def test_training_data_come_from_the_record_of_the_run(tmp_path):
    (tmp_path / "model").mkdir()
    assert mteb_model.trained_on(tmp_path / "model") is None
    stages = [{"data": {"sources": ["CodeSearchNet-python"]}}, {"data": {"sources": ["stack"]}}]
    (tmp_path / "run.json").write_text(json.dumps({"stages": stages}))
    found = mteb_model.trained_on(tmp_path / "model")
    assert {"CodeSearchNet-python", "stack", "COIRCodeSearchNetRetrieval"} <= found and "CosQA" not in found
    (tmp_path / "run.json").write_text("{}")
    assert mteb_model.trained_on(tmp_path / "model") is None


def test_without_mteb_the_extra_is_named(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb.models.abs_encoder", None)
    with pytest.raises(ImportError, match=r"pip install 'coderep\[mteb\]'"):
        mteb_model.mteb_encoder(checkpoint)


# the two tasks


@pytest.mark.parametrize("name", ["CodeNetCode2CodeRetrieval", "AdvTestRetrieval"])
def test_metadata_are_what_mteb_wants(name):
    import mteb

    from trainers.evaluation.mteb_tasks import OFFICIAL

    assert name not in {task.metadata.name for task in mteb.get_tasks(task_types=["Retrieval"])}, "upstream has it now"
    task = OFFICIAL[name]()
    metadata = task.metadata
    metadata._validate_metadata()  # codes of languages
    assert metadata.is_filled()
    assert metadata.intext_citation().startswith("\\cite{") and "arXiv:2" in metadata.bibtex_citation
    like = mteb.get_task("CodeSearchNetRetrieval").metadata
    for field in ("type", "category", "modalities", "eval_splits", "main_score", "domains", "task_subtypes", "dialect"):
        assert getattr(metadata, field) == getattr(like, field), field
    assert "text-retrieval" in metadata.generate_dataset_card().data.task_categories
    with pytest.raises(FileNotFoundError, match=f"task {name} has no data set on the Hub yet"):
        task.load_data()


def test_codenet_is_a_language_matrix():
    from trainers.evaluation.mteb_tasks import CodeNetCode2CodeRetrieval

    languages = CodeNetCode2CodeRetrieval.metadata.eval_langs
    assert len(languages) == 100
    assert languages["python-java"] == ["python-Code", "java-Code"] and languages["csharp-csharp"] == ["c#-Code"]
    assert CodeNetCode2CodeRetrieval.ignore_identical_ids


def test_codenet_runs_on_a_set(model, checkpoint, tmp_path):
    from trainers.evaluation.mteb_tasks import CodeNetCode2CodeRetrieval

    data = read_beir(code_set(tmp_path / "codes", "code2code"))
    task = CodeNetCode2CodeRetrieval(data)
    assert task.metadata.dataset == {"path": "local/codes", "revision": data.revision}
    assert set(task.hf_subsets) < set(CodeNetCode2CodeRetrieval.metadata.eval_langs)
    task.hf_subsets = ["java-cpp"]
    for _ in range(2):  # mteb unloads data after an evaluation
        assert_agree(scores_of(model, task)["java-cpp"], own_scores(checkpoint, data, "java", "cpp"))
        assert task.metadata.revision == data.revision and "java-cpp" in task.metadata.eval_langs


def test_hub_data_set_is_asked_for_by_its_name():
    from trainers.evaluation.mteb_run import load_data
    from trainers.evaluation.mteb_tasks import AdvTestRetrieval

    task = AdvTestRetrieval(hub="me/advtest", revision="0123456789abcdef")
    with pytest.raises(FileNotFoundError) as caught:
        load_data(task)
    message = str(caught.value)
    assert "task AdvTestRetrieval needs the data set me/advtest (commit 0123456789ab, split test)" in message
    assert "hf download --repo-type dataset me/advtest --revision 0123456789abcdef" in message


# the command


def test_command_writes_results_and_what_the_leaderboard_takes(checkpoint, tmp_path, capsys):
    codes = code_set(tmp_path / "codes", "code2code in-language")
    argv = [str(checkpoint), "--data", str(text_set(tmp_path / "texts")), str(codes), "--languages", "python", "cpp"]
    argv += ["--output", str(tmp_path / "results.json"), "--cache", str(tmp_path / "kept")]
    assert mteb_cli.main(argv) == 0
    printed = capsys.readouterr()
    results = json.loads((tmp_path / "results.json").read_text())["results"]
    cells = {(row["dataset"], row["query_language"], row["corpus_language"]) for row in results}
    assert cells == {("texts", "", ""), ("codes", "python", "python"), ("codes", "cpp", "cpp"), ("codes", "", "")}
    by_metric = {row["metric"]: row for row in results if row["dataset"] == "texts"}
    assert list(by_metric) == ["ndcg@10", "mrr@10", "mrr@1000", "map@1000", "recall@10"]
    ours = own_scores(checkpoint, read_beir(tmp_path / "texts"))
    assert by_metric["mrr@10"]["value"] == pytest.approx(ours["mrr_at_10"], abs=1e-6)
    assert by_metric["mrr@10"]["n"] == 10 and by_metric["mrr@10"]["protocol"].startswith("mteb 2.")
    main = {row["corpus_language"]: row for row in results if row["dataset"] == "codes" and row["metric"] == "ndcg@10"}
    assert main[""]["value"] == pytest.approx((main["python"]["value"] + main["cpp"]["value"]) / 2)
    assert (main[""]["n"], main[""]["counts"]) == (48, {"subsets in the mean": 2})
    lines = printed.out.splitlines()
    assert lines[0].split() == ["task", "subset", "metric", *str(checkpoint).split()]
    assert f"{100 * main['cpp']['value']:.2f}" in next(line for line in lines if "cpp-cpp" in line)
    assert "it/s" not in printed.err
    kept = list((tmp_path / "results.mteb").rglob("texts.json"))
    assert len(kept) == 1 and (kept[0].parent / "model_meta.json").is_file()

    # Again, what is kept is not computed anew; but it is when the data have changed.
    times = [path.stat().st_mtime_ns for path in (*kept, kept[0].with_name("codes.json"))]
    text_set(tmp_path / "texts", gains=(1, 2))
    assert mteb_cli.main(argv) == 0
    again = [path.stat().st_mtime_ns for path in (*kept, kept[0].with_name("codes.json"))]
    assert again[0] > times[0] and again[1] == times[1]
    second = json.loads((tmp_path / "results.json").read_text())["results"]
    now = {row["metric"]: row for row in second if row["dataset"] == "texts"}
    assert now["ndcg@10"]["value"] != by_metric["ndcg@10"]["value"]
    assert now["ndcg@10"]["revision"] != by_metric["ndcg@10"]["revision"]
    same = [[row for row in rows if row["dataset"] == "codes"] for rows in (results, second)]
    for before, after in zip(*same, strict=True):  # mteb's files have six digits
        assert after == {
            **before,
            "value": pytest.approx(before["value"], abs=1e-6),
            "seconds": pytest.approx(1, abs=60),
        }


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "nothing to evaluate on. Name a --benchmark such as CoIR"),
        (["--benchmark", "COIR"], "'COIR' not found. Did you mean: CoIR?"),
        (["--tasks", "CosQAA"], "'CosQAA' not found. Did you mean: 'CosQA'?"),
        (
            ["--benchmark", "CoIR"],
            "task AppsRetrieval needs the data set CoIR-Retrieval/apps (commit f22508f96b7a, split",
        ),
        (["--benchmark", "CoIR", "--languages", "rust"], "no task has a subset in rust"),
        (["--data", "/no/set"], "'/no/set' holds no retrieval set"),
        (["--tasks", "AdvTestRetrieval", "--root", "/no/set"], "published set 'advtest' (AdvTest, CodeXGLUE's"),
        (
            ["--tasks", "CosQA", "--output", "/no/folder/x.json"],
            "the folder of output '/no/folder/x.json' does not exist",
        ),
    ],
)
def test_mistakes_are_named(checkpoint, argv, message):
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        mteb_cli.main([str(checkpoint), *argv])
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_bm25_is_sent_elsewhere():
    with pytest.raises(ValueError, match="Use: coderep eval retrieval bm25"):
        mteb_cli.main(["bm25", "--benchmark", "CoIR"])


def test_gains_must_be_whole_and_a_matrix_needs_languages(tmp_path):
    with pytest.raises(ValueError, match="gains that are not whole numbers"):
        retrieval_task(read_beir(text_set(tmp_path / "texts", gains=(0.5,)))).load_data()
    rows = [{"_id": "a", "text": "x"}, {"_id": "b", "text": "y"}]
    plain = read_beir(write_set(tmp_path / "plain", rows, [{"_id": "q", "text": "z"}], [("q", "a", 1)]))
    with pytest.raises(ValueError, match="names no language of some documents"):
        retrieval_task(plain, matrix=True)


@pytest.mark.parametrize(
    ("languages", "left"),
    [([], ["python-python", "python-java", "java-java"]), (["python"], ["python-python"]), (["csharp"], [])],
)
def test_languages_choose_subsets(languages, left):
    from trainers.evaluation.mteb_tasks import CodeNetCode2CodeRetrieval

    task = CodeNetCode2CodeRetrieval()
    task.hf_subsets = ["python-python", "python-java", "java-java"]
    assert mteb_cli.in_languages(task, languages) == bool(left)
    assert task.hf_subsets == left


@pytest.mark.parametrize(
    ("name", "subset", "cell"),
    [
        ("CosQA", "default", ("CosQA", {})),
        (
            "CodeSearchNetRetrieval",
            "python",
            ("CodeSearchNetRetrieval", {"query_language": "", "corpus_language": "python"}),
        ),
        ("MIRACLRetrieval", "ar", ("MIRACLRetrieval ar", {})),
    ],
)
def test_subsets_of_mteb_become_cells(name, subset, cell):
    import mteb

    from trainers.evaluation.mteb_run import place, queries_of

    task = mteb.get_task(name)
    assert place(task, subset) == cell
    assert queries_of(task, subset) > 0  # as mteb's statistics count them
