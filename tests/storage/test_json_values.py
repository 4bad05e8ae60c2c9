import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.errors import StorageError
from skrd4ad.storage.json_values import plain


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (True, True),
        (None, None),
        (math.nan, None),
        (np.float32("inf"), None),
        (Path("a/b"), "a/b"),
        ((1, (2, "x")), [1, [2, "x"]]),
        ({"a": {"b": [np.float64(0.25)]}}, {"a": {"b": [0.25]}}),
    ],
)
def test_values_become_what_json_can_hold(value: Any, stored: Any) -> None:
    result = plain({"key": value})
    assert result == {"key": stored}
    assert type(result["key"]) is type(stored)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_result_is_a_copy() -> None:
    inner = [1]
    result = plain({"a": inner})
    inner.append(2)
    assert result == {"a": [1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": {"b": [0, {1, 2}]}}, r"The value at a\.b\[1\] is a set"),
        ({"a": np.zeros(2)}, "The value at a is a ndarray"),
        ({"a": {1: 2}}, r"The keys \[1\] at a are not text"),
        ({1: 2}, r"The keys \[1\] at the top level"),
    ],
)
def test_other_values_are_refused_with_their_place(values: Any, message: str) -> None:
    with pytest.raises(StorageError, match=message):
        plain(values)
