"""Regular expressions: those that could be made to take for ever are for review, the usual ones pass."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import skops.io
from audit_sources import AuditBytes
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from cannery.audits.patterns import slowness

USUAL = (
    r"(?u)\b\w\w+\b", r"\w+", r"[a-zA-Z]+", r"\S+", r"(?u)\b[^\W\d_]{3,}\b", r"\w{1,64}", r"[a-z]{2,1000}",
    r"(?u)\b\w+(?:['-]\w+)*\b", r"\d+\.?\d*|\w+", r"\w+|[^\w\s]+", r"(?<!\w)\w+(?!\w)", r"#\w+|@\w+|\w+",
    r"\b[\w.]+@[\w.]+\.\w+\b", r"https?://\S+|www\.\S+|\w+", r"(?i)[a-zäöü]+", r"(?:\w+\.)+\w+",
    r"(?:[A-Z]\.)+|\w+(?:-\w+)*|\$?\d+(?:\.\d+)?%?|\.\.\.|[][.,;\"'?():_`-]", r"[\u4e00-\u9fff]+|\w+",
    r"[a-z]+(?:[A-Z][a-z]+)*", r"[A-Za-z]+[a-z0-9]*", r"(\w+)\s(\w+)", "(?x) \\w + # all", "[", "",
    r"'s|'ll| ?\w+| ?\d+| ?[^\s\w\d]+|\s+(?!\S)|\s+", r"\b\w*[a-zA-Z]\w*\b", r"\d+\.?\d*|\w+", r"<.*?>", r"\w+\d+",
    r"\b\d+\.?\d*\b", r"^a*a*b", r"(?m)^a*a*b", r"\A\s*\s*x", r"a*a*", r"^\s+|\s+$", r"\d+(?:[.,]\d+)*%", r"\w+@\w+",
)  # fmt: skip
SLOW = (
    r"(a+)+$", r"(a*)*b", r"(a|a)*b", r"(a|aa)+$", r"(\w+\s?)*$", r"(x+x+)+y", r"(?:x(?:ya|y(?:a)))*z",
    r"(a?){30}a{30}", "a?" * 30 + "a" * 30, r"\w*\w*\w*\w*x", r"(a{1,1000}){1,1000}b", r"(.*?,){11}P",
    r"(\w)\1+x", r"(?=(a+)+b)c", r"(?<!a(?=(b+)+c))d", r"(a|b|ab)*c", r"(?:a(?:b*|c*))*d", r"(\s*\n)*x",
    "(" * 300 + "a" + ")*" * 300, "a" * 3000, "(?i)" + "[\0-\U0010fff0]" * 5, r"(?i)(?:k|K0?)*x",
    r"a*a*b", r"\w+\d+\b", r".*a*b", r"\d+\.?\d*%", r"(?:ab)+(?:ab)+c", r"[\w.]+[\w-]+@", r"(?m)^\s*\s*x",
    r"(?:^a|b*b*)c", r"\d+\d+(?!x)", r"\w*?\w*?-", r"(?i)k+K+!", r"\b(?:\w+ )*(?:\w+ )*x", r"(?=a*a*b)c",
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(USUAL)))
def test_a_usual_pattern_is_not_slow(number: int) -> None:
    """Words, numbers, joined words, addresses: no repetition competes with itself."""
    assert slowness(USUAL[number]) is None


@pytest.mark.parametrize("number", range(len(SLOW)))
def test_a_pattern_that_tries_ever_more_ways_is_slow(number: int) -> None:
    """Nested and competing repetitions, long optional chains, what is compiled character by character.

    Two that compete take the cube of a text's length, unless nothing must follow or few places begin them.
    """
    assert slowness(SLOW[number])


HOLDERS: dict[str, Callable[[str], Any]] = {
    "counts": lambda pattern: CountVectorizer(token_pattern=pattern),
    "hashes": lambda pattern: make_pipeline(HashingVectorizer(token_pattern=pattern)),
    "bytes": lambda pattern: [re.compile(pattern.encode())],
    "method": lambda pattern: TfidfVectorizer(tokenizer=re.compile(pattern).findall),
    "frame": lambda pattern: FunctionTransformer(
        pd.DataFrame.replace, kw_args={"regex": {"name": {pattern: ""}}}
    ),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_model_with_a_slow_pattern_is_for_review(holder: str, audit_bytes: AuditBytes) -> None:
    """The finding names the pattern and what to do; the same model with a usual one is safe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for protocol in (0, 2, 5):
            found = audit_bytes(pickle.dumps(HOLDERS[holder](r"(\w+\s?)+$"), protocol))
            assert found.verdict == "review"
            assert [finding.rule for finding in found.findings] == ["slow-pattern"]
            assert "(?u)" in str(found.findings[0].remedy)
            honest = audit_bytes(pickle.dumps(HOLDERS[holder](r"\w+"), protocol))
            assert honest.findings == ()


def test_a_skops_file_with_a_slow_pattern_is_for_review(audit_bytes: AuditBytes) -> None:
    """The other form of the same model is judged by the same rule."""
    slow = skops.io.dumps(CountVectorizer(token_pattern=r"(a|a)*$"))
    assert audit_bytes(slow, "skops").verdict == "review"
    assert audit_bytes(skops.io.dumps(CountVectorizer()), "skops").findings == ()
