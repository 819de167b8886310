"""The rows on which the conversion suite fits its models: churn, and made-up numbers and texts."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
from originals import CHURN

NUMBERS = ["tenure", "monthly_charges", "total_charges", "num_services"]
TEXTS = ["contract", "payment_method"]


@functools.cache
def churn(*, holes: bool = False) -> pd.DataFrame:
    """Return 1,200 rows of the churn data, whole ones or with missing values of both kinds."""
    frame = pd.read_parquet(CHURN)
    frame = frame.astype({"contract": object, "payment_method": object, "churn": object})
    if not holes:
        return frame.dropna().sample(1200, random_state=0, ignore_index=True)
    frame = frame.sample(1200, random_state=1, ignore_index=True)
    random = np.random.default_rng(0)
    frame = frame.astype(dict.fromkeys(NUMBERS, float))
    for name in (*NUMBERS[1:], "contract"):
        frame.loc[random.random(len(frame)) < 0.08, name] = np.nan
    return frame


@functools.cache
def numbers() -> pd.DataFrame:
    """Return 400 rows of six numbers of several scales, one of them with few values."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": random.normal(size=400),
            "b": random.lognormal(sigma=0.7, size=400),
            "c": random.integers(0, 7, 400).astype(float),
            "d": random.uniform(-3, 40, 400).round(2),
            "e": random.normal(5, 0.3, 400),
            "f": random.exponential(2.0, 400),
        }
    )


@functools.cache
def holes() -> pd.DataFrame:
    """Return the numbers with a tenth of them missing."""
    frame = numbers()
    return frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)


def signal() -> pd.Series:
    """Return a target that the numbers explain in part."""
    frame = numbers()
    noise = np.random.default_rng(2).normal(size=len(frame))
    return frame["a"] * 2 + np.log(frame["b"]) - (frame["c"] > 3) + frame["d"] / 20 + noise * 0.3


def two() -> pd.Series:
    """Return labels of two classes."""
    return pd.Series(np.where(signal() > signal().median(), "yes", "no"), dtype=object)


def three() -> pd.Series:
    """Return labels of three classes, whole numbers."""
    return pd.Series(pd.qcut(signal(), 3, labels=False)).astype(int) * 10


def counts() -> pd.Series:
    """Return a target of whole numbers that are not negative."""
    return pd.Series(np.floor(np.exp(signal() / 4))).astype(float)


def several() -> pd.DataFrame:
    """Return two targets."""
    return pd.DataFrame({"y0": signal(), "y1": numbers()["d"] - signal()})


_WORDS = [
    "good",
    "bad",
    "great",
    "awful",
    "fine",
    "poor",
    "The",
    "can't",
    "won't",
    "naïve",
    "café",
    "über",
    "100",
    "42nd",
    "a",
    "I",
    "x_y",
    "e-mail",
    "delivery",
    "LATE",
    "never",
    "arrived",
    "thanks",
    "Straße",
    "ΣΊΣΥΦΟΣ",
    "日本語",
    "ok!!",
    "(really)",
    "price/value",
]


@functools.cache
def texts() -> pd.DataFrame:
    """Return 300 texts of odd words, with labels, and a number and a category beside each."""
    random = np.random.default_rng(3)
    rows = [" ".join(random.choice(_WORDS, random.integers(1, 12))) for _ in range(300)]
    frame = pd.DataFrame({"text": pd.Series(rows, dtype=object)})
    frame["stars"] = random.integers(1, 6, 300)
    frame["shop"] = pd.Series(random.choice(["web", "store"], 300), dtype=object)
    frame["liked"] = [int("good" in r or "great" in r or "thanks" in r) for r in rows]
    return frame


def two_numbered() -> pd.Series:
    """Return labels 0 and 1."""
    return (two() == "yes").astype(int)


def three_numbered() -> pd.Series:
    """Return labels 0, 1 and 2."""
    return three() // 10


def counts_above_zero() -> pd.Series:
    """Return a target of whole numbers above 0."""
    return counts() + 1
