"""checkpoints/coderep-mini: what is promised of it, by the files that a clone holds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors import safe_open

import coderep
from hub_cards.verify import run_elsewhere
from trainers.encode import load_encoder
from trainers.search import CodeIndex

ROOT = Path(coderep.__file__).resolve().parent
MINI = ROOT / "checkpoints" / "coderep-mini"
# What a function does, and one that does it, in another language each.
QUERIES = {
    "read a csv file into rows": """
def load(path):
    with open(path) as f:
        return list(csv.reader(f))""",
    "greatest common divisor of two numbers": """
func f(a, b int) int {
    for b != 0 {
        a, b = b, a%b
    }
    return a
}""",
    "send an http request again if it fails": """
async function get(url, n) {
  for (let i = 0; i < n; i++) {
    try { return await fetch(url) } catch (e) { await sleep(i) }
  }
}""",
    "reverse a linked list": """
ListNode turn(ListNode head) {
    ListNode previous = null;
    while (head != null) { ListNode next = head.next; head.next = previous; previous = head; head = next; }
    return previous;
}""",
    "check whether a string is a palindrome": """
def p?(s)
  s == s.reverse
end""",
    "connect to a database": """
public function open($dsn, $user, $password) {
    $this->pdo = new PDO($dsn, $user, $password);
}""",
}


@pytest.fixture(scope="module")
def encoder():
    return load_encoder(MINI, device="cpu")


def test_it_is_as_small_as_promised(encoder):
    sizes = {path.name: path.stat().st_size for path in MINI.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 50e6 and max(sizes.values()) < 15e6
    assert encoder.model.num_parameters() <= 33e6
    for path in MINI.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            assert {file.get_slice(name).get_dtype() for name in file.keys()} <= {"BF16", "I64"}  # noqa: SIM118


def test_a_clean_environment_loads_it_both_ways(encoder):
    pytest.importorskip("sentence_transformers")
    texts = [*QUERIES, *QUERIES.values()]
    expected_ND = encoder.encode(texts)
    hidden_ND, sentence_ND = run_elsewhere([(MINI, "AutoModel"), (MINI, "SentenceTransformer")], texts)
    for found_ND in (hidden_ND, sentence_ND):
        np.testing.assert_allclose(found_ND / np.linalg.norm(found_ND, axis=1, keepdims=True), expected_ND, atol=2e-2)


@pytest.mark.parametrize("dimensions", [None, 128])
def test_each_query_finds_its_code_in_whatever_language(encoder, dimensions):
    """Names say little of what it does."""
    query_ND, code_ND = (encoder.encode(texts, dimensions=dimensions) for texts in (list(QUERIES), [*QUERIES.values()]))
    assert (query_ND @ code_ND.T).argmax(axis=1).tolist() == list(range(len(QUERIES)))


def test_search_finds_functions_by_what_they_do(corpus, tmp_path):
    index = CodeIndex.build(MINI, corpus, cache_dir=tmp_path, max_length=64, device="cpu")
    wanted = {
        "wrap a paragraph of text to a given width": r"wrap|fill",
        "smallest item of a priority queue": r"heap|merge|smallest",
        "recursively delete a directory tree": r"rmtree",
        "escape a string for json": r"encode|escape",
    }
    for query, name in wanted.items():
        assert any(re.search(name, hit.name) for hit in index.search(query, 3)), (query, index.search(query, 3))


def test_the_card_says_where_it_is_from():
    text = (MINI / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(text.split("---")[1])
    assert metadata["license"] == "apache-2.0"
    assert metadata["base_model"] in (
        ["sentence-transformers/all-MiniLM-L6-v2"],
        "sentence-transformers/all-MiniLM-L6-v2",
    )
    assert "eval leakage" in text and "Decontaminated against" in text


def test_the_page_tells_the_numbers_that_lie_beside_it():
    rows = json.loads((MINI / "results.json").read_text(encoding="utf-8"))["results"]
    page = (ROOT / "docs" / "MODEL.md").read_text(encoding="utf-8")
    own = [
        row for row in rows if row["model"] == "coderep-mini" and not (row["query_language"] or row["corpus_language"])
    ]
    kinds = {"text-to-code retrieval": "mrr", "code-to-code retrieval": "map"}
    told = {row["dataset"]: row["value"] for row in own if kinds.get(row["task"]) == row["metric"]}
    assert len(told) == 15
    for name, value in told.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"{100 * value:.1f}" in line, (name, value, line)
