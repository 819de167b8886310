"""Texts are cut into terms as scikit-learn cuts them, whatever is in them."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils import murmurhash3_32

from cannery.cans.manifest import Feed, Terms
from cannery.conversions.onnx.convert import convert
from cannery.errors import CanError
from cannery.serving.scorer import onnx_scorer
from cannery.serving.texts import bucket, cut_all, cutter, is_safe
from cannery.signatures import Feature, Signature

WAYS: list[dict[str, Any]] = [
    {},
    {"ngram_range": (1, 3)},
    {"ngram_range": (2, 2), "lowercase": False},
    {"stop_words": ["the", "ok"], "ngram_range": (1, 2)},
    {"token_pattern": r"(?u)\b\w+\b", "strip_accents": "unicode"},
    {"token_pattern": r"[a-zA-Z']+", "strip_accents": "ascii"},
    {"analyzer": "char", "ngram_range": (1, 3)},
    {"analyzer": "char", "ngram_range": (4, 5), "strip_accents": "unicode"},
    {"analyzer": "char_wb", "ngram_range": (1, 4)},
    {"analyzer": "char_wb", "ngram_range": (3, 6), "lowercase": False},
]
ODD = st.text(
    alphabet=st.sampled_from("aB the ok\n\t\u00a0éÉİßΣς日本①٣_-'.\0\u0301👍"), max_size=40
)


def terms_of(vectorizer: CountVectorizer) -> Terms:
    """Return the settings of a vectorizer."""
    low, high = vectorizer.ngram_range
    return Terms(
        analyzer=vectorizer.analyzer,
        low=low,
        high=high,
        width=1,
        pattern=vectorizer.token_pattern,
        lowercase=vectorizer.lowercase,
        accents=vectorizer.strip_accents,
        stop=tuple(vectorizer.stop_words or ()),
    )


@given(st.text(max_size=40), st.integers(1, 1 << 20))
@settings(max_examples=300)
def test_a_term_falls_into_the_bucket_of_the_originals_hash(text: str, buckets: int) -> None:
    """Its number, and its sign in front of it."""
    number = int(murmurhash3_32(text, 0))
    assert bucket(text, buckets) == ("-" if number < 0 else "") + str(abs(number) % buckets)


@pytest.mark.parametrize("way", WAYS, ids=str)
@given(st.one_of(ODD, st.text(max_size=40)))
@settings(max_examples=60)
def test_a_text_is_cut_as_the_original_cuts_it(way: dict[str, Any], text: str) -> None:
    """The same terms, each as often, for any text."""
    vectorizer = CountVectorizer(**way)
    ours, theirs = cutter(terms_of(vectorizer))(text), vectorizer.build_analyzer()(text)
    assert sorted(ours) == sorted(theirs)


def test_half_a_character_is_no_term() -> None:
    """What no UTF-8 can hold does not stop the others from being counted."""
    found = cutter(Terms(analyzer="char", low=1, high=1, width=1))("a\ud800b")
    assert [found[0], found[2]] == ["a", "b"]
    assert "".join(found).encode()


def test_texts_of_any_number_of_terms_are_a_table() -> None:
    """Rows are filled up; no text at all is a table without columns."""
    cut = cutter(Terms(analyzer="word", low=1, high=1, width=1))
    table = cut_all(cut, np.array(["one two", "", "three"], dtype=object))
    assert table.tolist() == [["one", "two"], ["", ""], ["three", ""]]
    assert cut_all(cut, np.array(["", "!"], dtype=object)).shape == (2, 0)


HONEST = (
    r"(?u)\b\w\w+\b",
    r"\b\w+\b",
    r"\w+",
    r"[a-z]+",
    r"\b[a-zA-Z]{3,}\b",
    r"\S+",
    r"\w\w\w+\b",
)
HOSTILE = (
    r"(a+)+$",
    r"(?:a|a)*b",
    r"\w*\w*\w*x",
    r"(?=a)",
    r"a|b",
    r".*",
    r"[a-z]+\b",
    r"(\w+)\s\1",
)


def test_only_patterns_of_known_forms_are_taken() -> None:
    """A pattern that could be made to take for ever is not."""
    assert [p for p in HONEST if not is_safe(p)] == []
    assert [p for p in HOSTILE if is_safe(p)] == []


@pytest.mark.parametrize("pattern", HONEST)
def test_a_long_text_takes_its_time_once(pattern: str) -> None:
    """Texts that other patterns would go through again and again."""
    find = re.compile(pattern).findall
    for text in ("a" * 200_000 + "!", "a1" * 100_000, "a " * 100_000, "." * 200_000):
        began = time.process_time()
        find(text)
        assert time.process_time() - began < 1.0


def test_a_can_with_a_hostile_pattern_does_not_open() -> None:
    """The graph is not asked for anything."""
    features = (Feature(name="text", type="string"),)
    data, feed = convert(CountVectorizer().fit(["one two"]), features, "model")
    signature = Signature(features=features, outputs=())
    evil = Terms(analyzer="word", low=1, high=1, width=1, pattern=r"(a+)+$")
    feeds = tuple(
        f
        if f.terms is None
        else Feed(input=f.input, dtype="string", features=f.features, terms=evil)
        for f in feed
    )
    with pytest.raises(CanError, match="can't be cut"):
        onnx_scorer(data, signature, feeds, outputs=("columns",))
    two = tuple(
        f
        if f.terms is None
        else Feed(input=f.input, dtype="string", features=("text", "text"), terms=f.terms)
        for f in feed
    )
    with pytest.raises(CanError, match="one text"):
        onnx_scorer(data, signature, two, outputs=("columns",))
