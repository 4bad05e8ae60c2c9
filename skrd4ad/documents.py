"""Documents on disk and in the database: dataclasses from plain JSON values and back, each checked in one place.

Types are strict: no text counts as a number, no number as text, every name must be known, every number finite. What is
wrong is named by file, field, value and what is allowed.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import msgspec
import numpy as np

from skrd4ad.errors import DocumentError, SkrdError
from skrd4ad.paths import read_regular

T = TypeVar("T")

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Squarable = Annotated[float, msgspec.Meta(ge=-1e100, le=1e100)]
"""Its square is finite, so that variances are."""
StoredSize = int | tuple[Positive, Positive]
"""A :data:`skrd4ad.types.ImageSize`; msgspec 0.23 does not support a bound of the whole number in this union."""

_WRONG = (msgspec.MsgspecError, SkrdError, ValueError, TypeError, OverflowError, RecursionError)
"""What building a value of a type can raise when the plain values do not fit."""
_NAMES: dict[object, str] = {
    float: "a number",
    int: "a whole number",
    str: "a text",
    bool: "true or false",
    NoneType: "null",
    Path: "a path",
    datetime: "a moment in ISO 8601",
    list: "a list",
    tuple: "a list",
    np.ndarray: "a list of numbers",
}
_SHOWN = 60


def read(path: Path, kind: type[T], *, format: int | None = None, ignore: Collection[str] = (), remedy: str = "") -> T:
    """The document in a JSON file; see :func:`decode`."""
    return decode(read_values(path, remedy=remedy), kind, what=str(path), format=format, ignore=ignore, remedy=remedy)


def decode(
    values: object,
    kind: type[T],
    *,
    what: str,
    format: int | None = None,
    ignore: Collection[str] = (),
    remedy: str = "",
) -> T:
    """A value of a type from its plain form; ``ignore`` are keys that are there for other readers only.

    Raises:
        DocumentError: a value is missing, unknown, of another type, out of range or not finite, or the format differs.
    """
    if isinstance(values, Mapping) and (format is not None or ignore):
        if format is not None and values.get("format") != format:
            raise DocumentError(
                f"{what} has the format {_shown(values.get('format'))}; this version reads {format}; a newer version "
                f"may have made it. {remedy}".rstrip()
            )
        values = {name: value for name, value in values.items() if name not in ("format", *ignore)}
    try:
        decoded = msgspec.convert(values, kind, dec_hook=_from_plain)
        problem = _unknown_or_infinite(values, decoded, "")
    except _WRONG as error:
        raise damaged(what, _first_misfit(values, kind, "") or str(error), remedy=remedy) from error
    if problem:
        raise damaged(what, problem, remedy=remedy)
    return decoded


def damaged(what: str, problem: str, *, remedy: str = "") -> DocumentError:
    """The error to raise for a document that has the right types and yet cannot be."""
    message = f"{what} is damaged: {problem.removesuffix('.')}. {remedy}".rstrip()
    # half a surrogate pair, which JSON can hold, could neither be logged nor shown
    return DocumentError(message.encode("utf-8", "backslashreplace").decode("utf-8"))


def read_values(path: Path, *, remedy: str = "") -> dict[str, Any]:
    """The plain object in a JSON file; ``remedy`` is what to do when it is damaged."""
    try:
        values = json.loads(read_regular(path).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DocumentError(f"{path} cannot be read: {error}. {remedy}".rstrip()) from error
    if not isinstance(values, dict):
        raise damaged(str(path), f"it holds {_shown(values)}; expected a JSON object", remedy=remedy)
    return values


def decode_known(values: object, kind: type[T], *, what: str, remedy: str = "") -> dict[str, Any]:
    """An object as it is, once the keys that a ``TypedDict`` names have the right types; others are left alone.

    Raises:
        DocumentError: it is no object, or a value is of another type, out of range or not finite.
    """
    if not isinstance(values, dict):
        raise damaged(what, f"it holds {_shown(values)}; expected a JSON object", remedy=remedy)
    known = {name: value for name, value in values.items() if name in kind.__annotations__}
    decode(known, kind, what=what, remedy=remedy)
    return values


def loads_or_text(text: str) -> Any:
    """The value that JSON stands for; the text itself where it is damaged, so that one row does not hide the others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def to_plain(value: object, *, infinite: Literal["refuse", "null"] = "refuse") -> Any:
    """Deep copy that JSON can hold: dataclasses and mappings become dicts, tuples and arrays lists, paths texts."""
    return _plain(value, "", infinite)


def is_moment(text: str) -> bool:
    """Whether a text is a moment in ISO 8601 with its time zone, as documents hold it."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _plain(value: Any, path: str, infinite: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value) and infinite == "refuse":
            raise DocumentError(f"The value at {path} is {value}; only finite numbers can be stored.")
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray):
        return _plain(value.tolist(), path, infinite)
    if is_dataclass(value) and not isinstance(value, type):
        value = _fields_of(value)
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise DocumentError(
                f"The keys {wrong!r} at {path or 'the top level'} are not text; only text keys can be stored."
            )
        return {key: _plain(each, _below(path, key), infinite) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{path}[{index}]", infinite) for index, each in enumerate(value)]
    raise DocumentError(
        f"The value at {path} is a {type(value).__name__}; only text, numbers, true/false, none, paths, lists, "
        "mappings and dataclasses of them can be stored."
    )


def _from_plain(kind: Any, value: Any) -> Any:
    """Values of the types that msgspec does not build by itself."""
    if kind is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    if get_origin(kind) is np.ndarray:
        (dtype,) = get_args(get_args(kind)[1])
        return np.array(msgspec.convert(value, list[float]), dtype)
    raise ValueError(f"{_shown(value)} is not {_allowed(kind)}")


def _unknown_or_infinite(values: Any, decoded: Any, path: str) -> str:
    """The first key that the type does not have, or number that is not finite, in words; empty when there is none."""
    if isinstance(values, float) and not math.isfinite(values):
        return f"{path} is {values}; allowed: a finite number"
    if isinstance(values, dict):
        known = decoded if isinstance(decoded, dict) else _fields_of(decoded)
        if unknown := [str(name) for name in values if name not in known]:
            return f"{_below(path, ', '.join(unknown))}: unknown; allowed: {', '.join(known) or 'nothing'}"
        children = ((value, known[name], _below(path, name)) for name, value in values.items())
        return next(filter(None, (_unknown_or_infinite(*child) for child in children)), "")
    if isinstance(values, list):
        others = decoded if isinstance(decoded, list | tuple) else values
        pairs = enumerate(zip(values, others, strict=True))
        return next(filter(None, (_unknown_or_infinite(a, b, f"{path}[{index}]") for index, (a, b) in pairs)), "")
    return ""


def _fields_of(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _first_misfit(value: Any, kind: Any, path: str) -> str:
    """The innermost value that does not fit its type, in words; empty when only values together do not fit."""
    kind = _without_null(kind)
    children = list(_children(value, kind, path))
    for each, of_kind, at in children:
        if each is msgspec.UNSET:
            return f"{at} is missing; needed: {_allowed(of_kind)}"
        if not _fits(each, of_kind):
            return _first_misfit(each, of_kind, at)
    if children and (is_dataclass(kind) or _origin(kind) in (list, tuple, dict, Mapping)):
        return ""  # each part fits: the reason is in the error itself
    return f"{path or 'it'} is {_shown(value)}; allowed: {_allowed(kind)}"


def _children(value: Any, kind: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Parts of a value with their types and paths; a part that must be there and is not is ``UNSET``."""
    origin, arguments = _origin(kind), get_args(kind)
    if isinstance(value, dict) and (is_dataclass(kind) or hasattr(kind, "__required_keys__")):
        described = cast(msgspec.inspect.DataclassType, msgspec.inspect.type_info(kind))
        required = {each.name for each in described.fields if each.required}
        for name, of_kind in get_type_hints(kind, include_extras=True).items():
            if name in value or name in required:
                yield value.get(name, msgspec.UNSET), of_kind, _below(path, name)
    elif isinstance(value, dict) and len(arguments) == 2:
        for name, each in value.items():
            yield name, arguments[0], f"the key {name!r} in {path or 'it'}"
            yield each, arguments[1], _below(path, name)
    elif isinstance(value, list) and origin in (list, tuple) and arguments:
        if origin is list or arguments[-1] is ...:
            arguments = (arguments[0],) * len(value)
        if len(arguments) == len(value):
            yield from ((value[i], of_kind, f"{path}[{i}]") for i, of_kind in enumerate(arguments))


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind, dec_hook=_from_plain)
    except _WRONG:
        return False
    return True


def _allowed(kind: Any) -> str:
    """A type in words, such as "a whole number from 1" or "'NG', 'OK' or 'REVIEW'"."""
    if get_origin(kind) is Annotated:
        base, *metas = get_args(kind)
        limits = {word: getattr(meta, name, None) for meta in metas for name, word in _LIMITS.items()}
        return " ".join([_allowed(base), *(f"{word} {limit}" for word, limit in limits.items() if limit is not None)])
    if get_origin(kind) is Literal:
        return _any_of([repr(each) for each in get_args(kind)])
    if get_origin(kind) in (Union, UnionType):
        return _any_of([_allowed(each) for each in get_args(kind)])
    if _origin(kind) is tuple and ... not in get_args(kind):
        return f"a list of {len(get_args(kind))}"
    return _NAMES.get(_origin(kind), "an object")


_LIMITS = {"ge": "from", "gt": "above", "le": "up to", "lt": "below"}


def _any_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _origin(kind: Any) -> Any:
    return get_origin(kind) or kind


def _without_null(kind: Any) -> Any:
    """The type of an optional value, where there is only one besides null."""
    rest = [each for each in get_args(kind) if each is not NoneType]
    return rest[0] if get_origin(kind) in (Union, UnionType) and len(rest) == 1 else kind


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _shown(value: object) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
