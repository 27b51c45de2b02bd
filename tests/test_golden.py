"""Names, functions and doc comments of every language, against files checked by hand (see `golden/show.py`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from data_collators import LANGUAGES
from data_collators.definitions import functions, without_docstring
from data_collators.names import identifiers

GOLDEN = Path(__file__).parent / "golden"
_SPEC = importlib.util.spec_from_file_location("golden_show", GOLDEN / "show.py")
show = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(show)


def read(language):
    return (GOLDEN / f"{language}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_snippets_as_checked_by_hand(language):
    text = read(language)
    assert len(show.sections(text)) >= 30
    assert show.render(text, language).splitlines() == text.splitlines()


@pytest.mark.parametrize("language", LANGUAGES)
def test_spans_nest_and_doc_comments_are_gone(language):
    for _, marked, _ in show.sections(read(language)):
        code = show.source_of(marked).encode()
        for found in functions(code, language):
            assert found.span.start <= found.signature.start <= found.signature.end <= found.body.start
            assert found.body.end <= found.span.end
            assert all(found.body.start <= start < end <= found.body.end for start, end in found.returns)
            if found.docstring_span:
                assert code[slice(*found.docstring_span)].decode() not in without_docstring(code, found)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_name_has_one_id(language):
    for _, marked, _ in show.sections(read(language)):
        code = show.source_of(marked).encode()
        found = identifiers(code, language)
        pairs = {(code[name.start : name.end], name.name_id) for name in found}
        assert len(pairs) == len({name for name, _ in pairs}) == len({number for _, number in pairs})
        assert sorted(number for _, number in pairs) == list(range(1, len(pairs) + 1))


def test_a_wrong_mark_is_noticed():
    text = read("python")
    assert show.render(text.replace("«c:", "«f:", 1), "python") == text
    assert text.replace("«c:", "«f:", 1) != text
