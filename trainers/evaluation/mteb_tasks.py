"""Retrieval sets as mteb tasks (arXiv 2210.07316), and two that mteb lacks: CodeNet Code2Code and AdvTest.

The two have their metadata in the shape of mteb's own `tasks/retrieval/code`. To give one to mteb: publish its data
(`task.push_dataset_to_hub(repo)`), write repo and commit into `dataset`, and derive the class from `AbsTaskRetrieval`.

A query whose id is also a document's is left out of its own ranking; `RetrievalSet` asks for equal texts besides.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from datasets import Dataset

from .codenet import LANGUAGES as CODENET_LANGUAGES
from .sets import CODE_TO_CODE, RetrievalSet

try:
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
except ImportError as error:
    raise ImportError("mteb's tasks need mteb: pip install 'coderep[mteb]'") from error

SPLIT, WHOLE = "test", "default"
UNPUBLISHED = "unpublished"
_MTEB_CODES = {"cpp": "c++", "csharp": "c#", "c_sharp": "c#"}


def mteb_code(language: str) -> str:
    """mteb's code of a programming language: "python-Code"."""
    return f"{_MTEB_CODES.get(language, language)}-Code"


class RetrievalSetTask(AbsTaskRetrieval):
    """A retrieval task whose data are a `RetrievalSet` or stand on the Hub.

    Args:
        data: The set.
        hub: Data set on the Hub in mteb's layout, if there is no set.
        revision: Commit, tag or branch of it.
    """

    ignore_identical_ids = True
    matrix = False

    def __init__(
        self, data: RetrievalSet | None = None, *, hub: str | None = None, revision: str | None = None, **kwargs: Any
    ) -> None:
        changes: dict[str, Any] = {}
        if data is not None:
            self.cells = language_cells(data, self.matrix)
            changes["dataset"] = {"path": f"local/{data.name}", "revision": data.revision}
            if WHOLE not in self.cells:
                changes["eval_langs"] = {name: _codes(cell) for name, cell in self.cells.items()}
        elif hub is not None:
            changes["dataset"] = {"path": hub, "revision": revision or "main"}
        self.data = data
        self.metadata = self.metadata.model_copy(update=changes)
        super().__init__(**kwargs)

    def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
        """Called by mteb before an evaluation.

        Raises:
            FileNotFoundError: There are no data.
            ValueError: A gain is not a whole number.
        """
        if self.data_loaded:
            return
        if self.data is not None:
            tables = _Tables(self.data)
            self.dataset = {name: {SPLIT: tables.cell(*self.cells[name])} for name in self.hf_subsets}
            self.data_loaded = True
        elif self.metadata.dataset["path"] == UNPUBLISHED:
            raise FileNotFoundError(
                f"task {self.metadata.name} has no data set on the Hub yet. Give it a set, or a copy of yours there."
            )
        else:
            super().load_data(num_proc=num_proc, **kwargs)

    def unload_data(self) -> None:
        """Called by mteb after an evaluation; mteb would go back to the metadata of the class."""
        metadata = self.metadata
        super().unload_data()
        self.metadata = metadata


class CodeNetCode2CodeRetrieval(RetrievalSetTask):
    """Solutions of the same problem, one subset for each pair of languages."""

    matrix = True
    metadata = TaskMetadata(
        name="CodeNetCode2CodeRetrieval",
        description="Given an accepted solution of a programming problem, retrieve the other solutions of the same "
        "problem, in the same or in another programming language. At most ten solutions per problem and language, near "
        "duplicates removed; the query is left out of its own ranking.",
        reference="https://arxiv.org/abs/2402.01935",
        dataset={"path": UNPUBLISHED, "revision": UNPUBLISHED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[SPLIT],
        eval_langs={
            f"{query}-{document}": list(dict.fromkeys((mteb_code(query), mteb_code(document))))
            for query in CODENET_LANGUAGES
            for document in CODENET_LANGUAGES
        },
        main_score="ndcg_at_10",
        date=("2021-05-25", "2021-05-25"),
        domains=["Programming", "Written"],
        task_subtypes=["Code retrieval"],
        license="https://cdla.dev/permissive-2-0/",
        annotations_creators="derived",
        dialect=[],
        sample_creation="found",
        bibtex_citation=r"""
@article{puri2021codenet,
  author = {Puri, Ruchir and Kung, David S. and Janssen, Geert and Zhang, Wei and Domeniconi, Giacomo and Zolotov, Vladimir and Dolby, Julian and Chen, Jie and Choudhury, Mihir and Decker, Lindsey and Thost, Veronika and Buratti, Luca and Pujar, Saurabh and Ramji, Shyam and Finkler, Ulrich and Malaika, Susan and Reiss, Frederick},
  journal = {arXiv preprint arXiv:2105.12655},
  title = {{CodeNet}: A Large-Scale {AI} for Code Dataset for Learning a Diversity of Coding Tasks},
  year = {2021},
}

@inproceedings{zhang2024codesage,
  author = {Zhang, Dejiao and Ahmad, Wasi Uddin and Tan, Ming and Ding, Hantian and Nallapati, Ramesh and Roth, Dan and Ma, Xiaofei and Xiang, Bing},
  booktitle = {International Conference on Learning Representations},
  title = {Code Representation Learning at Scale},
  year = {2024},
}
""",  # noqa: E501
    )


class AdvTestRetrieval(RetrievalSetTask):
    """Docstrings of Python functions whose names have been replaced."""

    metadata = TaskMetadata(
        name="AdvTestRetrieval",
        description="Given the first paragraph of a docstring, retrieve the Python function that it belongs to. Names "
        "of functions and variables are replaced, so that an encoder cannot go by them. The test set of CodeXGLUE's "
        "NL-code-search-Adv, made from CodeSearchNet.",
        reference="https://arxiv.org/abs/2102.04664",
        dataset={"path": UNPUBLISHED, "revision": UNPUBLISHED},
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn", "python-Code"],
        main_score="ndcg_at_10",
        date=("2019-01-01", "2019-12-31"),
        domains=["Programming", "Written"],
        task_subtypes=["Code retrieval"],
        license="https://github.com/microsoft/Computational-Use-of-Data-Agreement",
        annotations_creators="derived",
        dialect=[],
        sample_creation="found",
        bibtex_citation=r"""
@article{lu2021codexglue,
  author = {Lu, Shuai and Guo, Daya and Ren, Shuo and Huang, Junjie and Svyatkovskiy, Alexey and Blanco, Ambrosio and Clement, Colin and Drain, Dawn and Jiang, Daxin and Tang, Duyu and Li, Ge and Zhou, Lidong and Shou, Linjun and Zhou, Long and Tufano, Michele and Gong, Ming and Zhou, Ming and Duan, Nan and Sundaresan, Neel and Deng, Shao Kun and Fu, Shengyu and Liu, Shujie},
  journal = {arXiv preprint arXiv:2102.04664},
  title = {{CodeXGLUE}: A Machine Learning Benchmark Dataset for Code Understanding and Generation},
  year = {2021},
}
""",  # noqa: E501
    )


OFFICIAL = {task.metadata.name: task for task in (CodeNetCode2CodeRetrieval, AdvTestRetrieval)}


def retrieval_task(data: RetrievalSet, *, name: str | None = None, matrix: bool = False) -> RetrievalSetTask:
    """A retrieval set as an mteb task.

    A set that ranks only documents in the query's language has one subset a language ("python"), any other set one
    subset, "default", with the whole corpus.

    Args:
        data: The set.
        name: Name of the task; default: the set's.
        matrix: One subset for each pair of languages that has relevant documents ("python-java") instead.

    Raises:
        ValueError: A matrix of a set that names no languages.
    """
    languages = dict.fromkeys([*data.query_languages, *data.document_languages])
    metadata = TaskMetadata(
        name=re.sub(r"[^\w.+-]+", "_", name or data.name),  # mteb makes it a file's name
        description=f"{data.task}, set {data.name}",
        dataset={"path": f"local/{data.name}", "revision": data.revision},
        type="Retrieval",
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs=[
            *([] if data.task == CODE_TO_CODE else ["eng-Latn"]),
            *(mteb_code(language) for language in languages if language),
        ],
        main_score="ndcg_at_10",
        domains=["Programming"],
        task_subtypes=["Code retrieval"],
        is_public=False,
    )
    kind = type("LocalRetrieval", (RetrievalSetTask,), {"metadata": metadata, "matrix": matrix})
    return kind(data)


def language_cells(data: RetrievalSet, matrix: bool) -> dict[str, tuple[str, str]]:
    """Subset -> language of its queries and of its documents, "" for any; only those with relevant documents.

    Raises:
        ValueError: A matrix of a set that names no languages.
    """
    if not matrix and not data.same_language:
        return {WHOLE: ("", "")}
    # By numbers: CodeNet has millions of relevant pairs.
    names, numbers = np.unique([*data.query_languages, *data.document_languages], return_inverse=True)
    queries_Q, documents_C = np.split(numbers.ravel(), [len(data.queries)])
    found = np.unique(queries_Q[data.relevance.queries] * len(names) + documents_C[data.relevance.columns])
    pairs = {(str(names[pair // len(names)]), str(names[pair % len(names)])) for pair in found.tolist()}
    if ("", "") in pairs:
        raise ValueError(
            f"set {data.name!r} names no language of some documents, so it has no subsets by language. "
            "Name them in its files."
        )
    if data.same_language:
        pairs = {pair for pair in pairs if pair[0] == pair[1]}
    return {"-".join(filter(None, pair)) if matrix else pair[0]: pair for pair in sorted(pairs)}


def _codes(cell: tuple[str, str]) -> list[str]:
    query, document = cell
    return list(dict.fromkeys([mteb_code(query) if query else "eng-Latn", mteb_code(document)]))


class _Tables:
    """A set as mteb's tables, of which subsets take rows without copying."""

    def __init__(self, data: RetrievalSet) -> None:
        gains = data.relevance.gains
        if not np.array_equal(gains, np.round(gains)):
            raise ValueError(
                f"set {data.name!r} has gains that are not whole numbers, which mteb does not take. Round its qrels."
            )
        self.data = data
        self.queries = Dataset.from_dict({"id": list(data.query_ids), "text": list(data.queries)})
        self.documents = Dataset.from_dict({"id": list(data.document_ids), "text": list(data.documents)})

    def cell(self, query_language: str, document_language: str) -> dict[str, Any]:
        """Queries, corpus and relevance of a subset; "" is every language."""
        data, relevance = self.data, self.data.relevance
        in_queries = _in_language(data.query_languages, query_language)
        in_corpus = _in_language(data.document_languages, document_language)
        kept = np.flatnonzero(in_queries[relevance.queries] & in_corpus[relevance.columns])
        relevant: dict[str, dict[str, int]] = {}
        pairs = (relevance.queries[kept].tolist(), relevance.columns[kept].tolist(), relevance.gains[kept].tolist())
        for query, document, gain in zip(*pairs, strict=True):
            relevant.setdefault(data.query_ids[query], {})[data.document_ids[document]] = int(gain)
        return {
            "queries": self.queries.select(np.unique(relevance.queries[kept])),
            "corpus": self.documents.select(np.flatnonzero(in_corpus)),
            "relevant_docs": relevant,
            "top_ranked": None,
        }


def _in_language(languages: Any, wanted: str) -> np.ndarray:
    return np.array([not wanted or language == wanted for language in languages], dtype=bool)
