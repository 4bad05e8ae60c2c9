"""CSV: one row an image in ``labels.csv``, one row a decision in ``history.csv``.

A field that a spreadsheet would take for a formula begins with an apostrophe, which reading takes off again.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange import fields
from skrd4ad.services.labelling.exchange.records import Found, Labelled, MaskRef, Problem, Read, Said
from skrd4ad.services.labelling.exchange.sources import Bundle

LABELS, HISTORY = "labels.csv", "history.csv"
COLUMNS = (
    "file",
    "name",
    "sha256",
    "label",
    "defect_type",
    "mask",
    "split",
    "reviewer",
    "made_at",
    "comment",
    "revision",
    "dataset_split",
    "dataset_type",
    "score",
    "model",
)
"""``split`` is where the image stands in the export; the columns of the data set are what it said before."""
HISTORY_COLUMNS = (
    "sha256",
    "revision",
    "label",
    "defect_type",
    "mask",
    "reviewer",
    "made_at",
    "comment",
    "undoes",
)
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""What a spreadsheet may take for a formula, and what already has apostrophes before it."""
_NUMBERS = frozenset({"revision", "undoes", "score"})
Row = dict[str, str]


def label_row(each: Labelled, *, file: str, mask: str, model: str) -> Row:
    """Row of an image.

    Args:
        each: the image.
        file: where it is in the export.
        mask: where its mask is, or empty.
        model: model whose score is given.
    """
    item = each.item
    return {
        "file": file,
        "name": item.name,
        "sha256": item.digest,
        "label": item.label,
        "defect_type": item.defect_type or "",
        "mask": mask,
        "split": each.split or "",
        "reviewer": item.reviewer or "",
        "made_at": "" if item.decided_at is None else item.decided_at.isoformat(),
        "comment": item.comment,
        "revision": str(item.revision),
        "dataset_split": item.split or "",
        "dataset_type": item.known_type or "",
        "score": "" if item.score is None else repr(item.score),
        "model": "" if item.score is None else model,
    }


def history_rows(each: Labelled, masks: Mapping[str, str]) -> Iterator[Row]:
    """Rows of all decisions on an image; ``masks`` tells where each file of a mask is in the export."""
    for one in each.history:
        yield {
            "sha256": each.item.digest,
            "revision": str(one.revision),
            "label": one.label,
            "defect_type": one.defect_type or "",
            "mask": masks[one.mask] if isinstance(one.mask, str) else "",
            "reviewer": one.reviewer,
            "made_at": "" if one.made_at is None else one.made_at.isoformat(),
            "comment": one.comment,
            "undoes": "" if one.undoes is None else str(one.undoes),
        }


def table_bytes(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """A CSV file."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: text if name in _NUMBERS else _guarded(text) for name, text in row.items()})
    return stream.getvalue().encode()


def read_csv(bundle: Bundle, name: str) -> Read:
    """Images of a table of labels, with the history beside it when there is one.

    Raises:
        DataError: the table itself cannot be read; what is wrong with rows is listed as problems.
    """
    history = str(PurePosixPath(name).with_name(HISTORY))
    problems: list[Problem] = []
    histories = _histories(bundle, history, problems) if bundle.has(history) else {}
    found = []
    for place, row in _rows(bundle, name, needed=("label",), one_of=("file", "sha256")):
        try:
            found.append(_found(bundle, name, place, row, histories))
        except DataError as error:
            problems.append(Problem(place, str(error)))
    return Read(format="csv", found=tuple(found), problems=tuple(problems))


def _found(bundle: Bundle, table: str, where: str, row: Row, histories: Mapping[str, list[Said]]) -> Found:
    digest = fields.digest_of(row.get("sha256"))
    named = fields.text_of(row.get("file"), "file").strip()
    if not named and digest is None:
        raise DataError("it names neither a file nor a sha256")
    history = fields.require_history(tuple(histories.get(digest or "", ())))
    split = row["dataset_split"] if "dataset_split" in row else row.get("split")
    return Found(
        where=where,
        named=named or (digest or "")[:12],
        place=bundle.find(named, beside=table) if named else None,
        digest=digest,
        name=fields.text_of(row.get("name"), "name") or named.replace("\\", "/").rpartition("/")[2] or digest or "",
        said=fields.said_of(row, mask=_mask_of(bundle, table, row)),
        history=history,
        split=fields.split_of(split),
        known_type=fields.known_type_of(row.get("dataset_type")),
    )


def _histories(bundle: Bundle, name: str, problems: list[Problem]) -> dict[str, list[Said]]:
    """Decisions by the digest of their image, in the order of their revisions."""
    found: dict[str, list[Said]] = defaultdict(list)
    for where, row in _rows(bundle, name, needed=HISTORY_COLUMNS):
        try:
            digest = fields.digest_of(row["sha256"])
            if digest is None:
                raise DataError("it names no sha256")
            found[digest].append(fields.said_of(row, mask=_mask_of(bundle, name, row)))
        except DataError as error:
            problems.append(Problem(where, str(error)))
    for said in found.values():
        said.sort(key=lambda one: one.revision)
    return found


def _mask_of(bundle: Bundle, table: str, row: Row) -> MaskRef | None:
    named = fields.text_of(row.get("mask"), "mask").strip()
    if not named:
        return None
    place = bundle.find(named, beside=table)
    if place is None:
        raise DataError(f"the mask {named} is not there")
    return place


def _rows(bundle: Bundle, name: str, *, needed: Sequence[str], one_of: Sequence[str] = ()) -> Iterator[tuple[str, Row]]:
    """Rows that are not empty, each with what to call it; fields of all columns that have a name."""
    text = bundle.text(name)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)  # Excel writes semicolons where the comma is for decimals
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        missing = [column for column in needed if column not in columns]
        if missing or (one_of and not set(one_of) & set(columns)):
            wanted = [*needed, " or ".join(one_of)] if one_of else list(needed)
            raise DataError(
                f"{name} lacks columns: found {', '.join(columns) or 'none'}; needed: {', '.join(wanted)}. Its first "
                "row names the columns."
            )
        if len(set(columns)) < len(columns):
            raise DataError(f"{name} has two columns of one name: {', '.join(columns)}.")
        for row in reader:
            if any(row):
                values = dict(zip(columns, map(_unguarded, row), strict=False))
                yield f"{name}, line {reader.line_num}", values
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.line_num}: {error}. Save the table as CSV again.") from error


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
