"""Turns values into what JSON can hold, where they enter the database."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np

from skrd4ad.errors import StorageError


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Deep copy of ``values`` that JSON can hold: numpy numbers become Python's, paths text, tuples lists.

    Numbers that are not finite become None, as JSON has no word for them.

    Raises:
        StorageError: a value has no JSON form; the message says where it is.
    """
    return {key: _plain(value, key) for key, value in _text_keys(values, "the top level").items()}


def _plain(value: object, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{where}.{key}") for key, item in _text_keys(value, where).items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    raise StorageError(
        f"The value at {where} is a {type(value).__name__}; only text, numbers, true/false, none, paths, lists and "
        "mappings of them can be stored."
    )


def _text_keys(values: Mapping[Any, Any], where: str) -> Mapping[str, Any]:
    if wrong := [key for key in values if not isinstance(key, str)]:
        raise StorageError(f"The keys {wrong!r} at {where} are not text; only text keys can be stored.")
    return values
