"""Data frames as samples: what can't be meant is said, by whatever library it was made."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from cannery.errors import SchemaError
from cannery.tables.frames import from_frame

TWICE = {
    "pandas": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "arrow": pa.table([[1], [2]], names=["a", "a"]),
}


@pytest.mark.parametrize("make", sorted(TWICE))
def test_two_columns_of_one_name_are_refused(make: str) -> None:
    """Which of them the model should see, nobody knows; the name is in the error."""
    with pytest.raises(SchemaError, match="'a'"):
        from_frame(TWICE[make])
