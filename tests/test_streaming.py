"""Stage-1 rows read while they are trained on: complete, mixed, the same in every run and for any number of workers."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from data_collators import MixedMaskingCollator, StreamedDocuments
from data_collators.streaming import pq as streaming_parquet

LANGUAGES = ("c", "go", "php")
DOCUMENTS, GROUP = 360, 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Documents of 2 to 40 tokens that begin with their number and their language's, sorted by language as builders do.

    Three files of six row groups.
    """
    rng, folder, paths = np.random.default_rng(0), tmp_path_factory.mktemp("stream"), []
    lengths = rng.integers(3, 41, DOCUMENTS).tolist()
    ids = [[10 + n, 500 + n * 3 // DOCUMENTS, *rng.integers(3, 600, length - 2)] for n, length in enumerate(lengths)]
    for part in range(3):
        span = slice(part * DOCUMENTS // 3, (part + 1) * DOCUMENTS // 3)
        table = pa.table(
            {
                "input_ids": pa.array(ids[span], pa.list_(pa.int32())),
                "identifier_ids": pa.array([[0] * len(row) for row in ids[span]], pa.list_(pa.int32())),
                "language": [LANGUAGES[row[1] - 500] for row in ids[span]],
                "path": ["not read"] * len(ids[span]),
            }
        )
        paths.append(folder / f"train-{part}.parquet")
        pq.write_table(table, paths[-1], row_group_size=GROUP)
    return paths


def stream(files, **options):
    return StreamedDocuments(files, 64, **{"seed": 3, "languages": LANGUAGES, "mixed_groups": 6, **options})


def plain(feature):
    return {name: np.asarray(value).tolist() for name, value in feature.items()}


def documents_of(features):
    """Number and language of each document of some rows, as their first two tokens tell."""
    found = []
    for feature in features:
        for start, language in zip(
            feature["document_lengths"].cumsum() - feature["document_lengths"], feature["languages"], strict=True
        ):
            number, name = feature["input_ids"][start : start + 2].tolist()
            assert name - 500 == language
            found.append(number - 10)
    return found


@pytest.mark.parametrize("padded_tokens", [None, 160])
def test_an_epoch_holds_every_document_once(files, padded_tokens):
    rows = stream(files, padded_tokens=padded_tokens)
    for epoch in (0, 1):
        assert sorted(documents_of(rows.epoch_rows(epoch))) == list(range(DOCUMENTS))


def test_rows_are_the_same_for_seed_and_epoch_and_others_for_others(files):
    one, two = ([plain(row) for row in stream(files).epoch_rows(1)] for _ in range(2))
    assert one == two
    assert [row["draw"] for row in one] == [[3, 1, number] for number in range(len(one))]
    for other in (stream(files).epoch_rows(0), stream(files, seed=4).epoch_rows(1)):
        assert [row["input_ids"] for row in one] != [plain(row)["input_ids"] for row in other]


def test_iteration_goes_on_from_epoch_to_epoch(files):
    rows = stream(files)
    first, second = list(rows.epoch_rows(1)), list(rows.epoch_rows(2))
    rows.set_epoch(1)
    both = islice(rows, len(first) + len(second))
    assert [plain(row) for row in both] == [plain(row) for row in [*first, *second]]


def test_languages_are_mixed_though_files_are_sorted(files):
    """Rows are of 6 groups at a time, of 18; in order, the first would be of one language."""
    for epoch in range(3):
        early = documents_of(islice(stream(files).epoch_rows(epoch), 20))
        assert {number * 3 // DOCUMENTS for number in early} == {0, 1, 2}


def test_memory_is_bounded_by_the_groups_that_are_mixed(files, monkeypatch):
    read = []

    class Watched(streaming_parquet.ParquetFile):
        def read_row_group(self, group, **options):
            read.append(group)
            return super().read_row_group(group, **options)

    monkeypatch.setattr(streaming_parquet, "ParquetFile", Watched)
    rows = stream(files, mixed_groups=2).epoch_rows(0)
    given = 0
    while (row := next(rows, None)) is not None:
        given += len(row["document_lengths"])
        assert len(read) * GROUP <= given + 2 * GROUP
    assert len(read) * GROUP == given == DOCUMENTS


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on machines with fewer cores
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_are_the_same_whatever_the_number_of_workers(tokenizer, files, workers):
    collator = MixedMaskingCollator(tokenizer, with_groups=True)

    def batches(workers):
        rows = stream(files, batch_rows=4)
        loader = DataLoader(rows, batch_size=4, collate_fn=collator, num_workers=workers)
        return list(islice(loader, 60))  # more than an epoch

    for one, two in zip(batches(0), batches(workers), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_languages_come_as_often_as_their_weights_say(files):
    rows = stream(files, weights={"c": 0, "go": 2, "php": 0.5})
    times = Counter(number for epoch in range(20) for number in documents_of(rows.epoch_rows(epoch)))
    third = DOCUMENTS // 3
    assert not any(times[number] for number in range(third))
    assert all(times[number] == 40 for number in range(third, 2 * third))
    taken = sum(times[number] for number in range(2 * third, DOCUMENTS))
    # A half of the documents of each of the 3 windows of an epoch; a half document is one or none by chance.
    assert abs(taken - 20 * third / 2) < 5 * np.sqrt(20 * 3 / 4)


def test_token_counts_are_those_of_the_documents_read_first(files):
    rows = stream(files, mixed_groups=18)
    counts = np.bincount(np.concatenate([row["input_ids"] for row in rows.epoch_rows(0)]), minlength=1024)
    assert rows.token_counts(1024).tolist() == counts.tolist()
    with pytest.raises(ValueError, match=r"outside a vocabulary of 500. Name the tokenizer that the data were made"):
        rows.token_counts(500)


def test_what_cannot_be_streamed_is_refused(files):
    with pytest.raises(ValueError, match="the data has no language 'rust' to weigh. Its languages: c, go, php"):
        stream(files, weights={"rust": 2})
    with pytest.raises(ValueError, match="a document of 40 tokens does not fit into rows of 32"):
        next(iter(StreamedDocuments(files, 32, languages=LANGUAGES)))
    with pytest.raises(ValueError, match="the language weights leave no document. Raise one"):
        next(iter(stream(files, weights=dict.fromkeys(LANGUAGES, 1e-9))))
