import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.documents import Positive, decode, is_moment, read, read_values, to_plain
from skrd4ad.errors import ConfigError, DocumentError


@dataclass(frozen=True, kw_only=True)
class Range:
    low: float
    side: Literal["left", "right"] = "left"

    def __post_init__(self) -> None:
        if self.low < 0:
            raise ConfigError(f"low is {self.low}; allowed: 0 or more.")


@dataclass(frozen=True, kw_only=True)
class Document:
    name: str
    share: float | None = 0.5
    place: Path | None = None
    pairs: tuple[tuple[str, int], ...] = ()
    ranges: dict[str, Range] = field(default_factory=dict)
    curve: NDArray[np.float64] | None = None
    anything: dict[str, Any] = field(default_factory=dict)
    kinds: Mapping[Literal["new", "old"], Positive] = field(default_factory=dict)
    label: Annotated[int, msgspec.Meta(ge=0, le=1)] = 0


def test_a_document_and_back_is_the_same(tmp_path: Path) -> None:
    document = Document(
        name="ä",
        share=None,
        place=Path("a/b"),
        pairs=(("x", 1),),
        ranges={"r": Range(low=1.5, side="right")},
        anything={"deep": [1, {"x": None}]},
        kinds={"new": 2},
        label=1,
    )
    plain = to_plain(document)
    assert plain["place"] == "a/b"
    assert plain["pairs"] == [["x", 1]]
    assert plain["ranges"] == {"r": {"low": 1.5, "side": "right"}}
    (tmp_path / "file.json").write_text(json.dumps({"format": 3, "for_others": 1, **plain}))
    assert read(tmp_path / "file.json", Document, format=3, ignore=("for_others",)) == document


def test_arrays_are_lists_of_numbers() -> None:
    curve = decode({"name": "x", "curve": [0, 0.25]}, Document, what="it").curve
    assert curve is not None
    assert (curve.dtype, curve.tolist()) == (np.float64, [0.0, 0.25])
    assert to_plain({"curve": curve, "n": np.int64(3), "flag": np.bool_(True)}) == {
        "curve": [0.0, 0.25],
        "n": 3,
        "flag": True,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": None}, "name is null; allowed: a text"),
        ({"share": "0.5"}, "share is '0.5'; allowed: a number"),
        ({"share": True}, "share is True; allowed: a number"),
        ({"share": math.nan}, "share is nan; allowed: a finite number"),
        ({"share": 10**400}, "share is 1000"),
        ({"place": 3}, "place is 3; allowed: a path"),
        ({"place": "a\0"}, r"place is 'a\x00'; allowed: a path"),
        ({"pairs": [["x", 1], ["y"]]}, "pairs[1] is ['y']; allowed: a list of 2"),
        ({"pairs": [["x", 1.5]]}, "pairs[0][1] is 1.5; allowed: a whole number"),
        ({"ranges": {"r": {}}}, "ranges.r.low is missing; needed: a number"),
        ({"ranges": {"q": {"low": 1}, "r": {"low": []}}}, "ranges.r.low is []; allowed: a number"),
        ({"ranges": {"r": {"low": 1, "side": "up"}}}, "ranges.r.side is 'up'; allowed: 'left' or 'right'"),
        ({"ranges": {"r": {"low": 1, "odd": 2, "odder": 3}}}, "ranges.r.odd, odder: unknown; allowed: low, side"),
        ({"ranges": {"r": {"low": -1}}}, "low is -1.0; allowed: 0 or more"),
        ({"ranges": []}, "ranges is []; allowed: an object"),
        ({"curve": [1, None]}, "curve is [1, None]; allowed: a list of numbers"),
        ({"anything": {"deep": [1, -math.inf]}}, "anything.deep[1] is -inf; allowed: a finite number"),
        ({"kinds": {"odd": 1}}, "the key 'odd' in kinds is 'odd'; allowed: 'new' or 'old'"),
        ({"kinds": {"new": 0}}, "kinds.new is 0; allowed: a whole number from 1"),
        ({"label": 2}, "label is 2; allowed: a whole number from 0 up to 1"),
        ({"odd": 1}, "odd: unknown; allowed: name, share"),
        ({"\udc80": 1}, "The file is damaged"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentError) as error:
        decode({"name": "x", **change}, Document, what="The file", remedy="Write it anew.")
    assert words in str(error.value)
    assert str(error.value).startswith("The file is damaged: ")
    assert str(error.value).endswith(". Write it anew.")


@pytest.mark.parametrize("values", [None, 3, [], "text", {}])
def test_something_else_is_no_document(values: object) -> None:
    with pytest.raises(DocumentError, match="The file is damaged"):
        decode(values, Document, what="The file", format=None)


@pytest.mark.parametrize("values", [{"name": "x"}, {"name": "x", "format": 2}, {"name": "x", "format": "1"}])
def test_another_format_is_named(values: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match=r"has the format .*; this version reads 1"):
        decode(values, Document, what="The file", format=1)


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\udcff"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DocumentError, match=r"file\.json"):
        read_values(tmp_path / "file.json")
    with pytest.raises(DocumentError, match=r"cannot be read: .*none\.json'\. Make it anew\.$"):
        read_values(tmp_path / "none.json", remedy="Make it anew.")


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
        (np.array([1.0, math.nan]), [1.0, None]),
        (Path("a/b"), "a/b"),
        ((1, (2, "x")), [1, [2, "x"]]),
        ({"a": {"b": [np.float64(0.25)]}}, {"a": {"b": [0.25]}}),
    ],
)
def test_values_become_what_json_can_hold(value: Any, stored: Any) -> None:
    result = to_plain({"key": value}, infinite="null")
    assert result == {"key": stored}
    assert type(result["key"]) is type(stored)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_the_plain_form_is_a_copy() -> None:
    inner = [1]
    result = to_plain({"a": inner})
    inner.append(2)
    assert result == {"a": [1]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": {"b": [0, {1, 2}]}}, r"The value at a\.b\[1\] is a set"),
        ({"a": {1: 2}}, r"The keys \[1\] at a are not text"),
        ({1: 2}, r"The keys \[1\] at the top level"),
        ({"a": [0.0, math.inf]}, r"The value at a\[1\] is inf; only finite numbers"),
    ],
)
def test_other_values_are_refused_with_their_place(values: Any, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        to_plain(values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2026-11-20T08:30:00+00:00", True), ("2026-02-31T08:30:00+00:00", False), ("2026-11-20T08:30:00", False)],
)
def test_a_moment_has_a_time_zone(text: str, expected: bool) -> None:
    assert is_moment(text) is expected
