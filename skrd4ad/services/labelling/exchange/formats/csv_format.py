"""CSV: one row an image in ``labels.csv``, one row a revision in ``history.csv``.

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
from skrd4ad.services.labelling.exchange.records import (
    ExportImage,
    ImportEntry,
    MaskSource,
    ParsedLabels,
    Problem,
    exported_values,
)
from skrd4ad.services.labelling.exchange.sources import Bundle
from skrd4ad.storage.annotations import Revision

LABELS, HISTORY = "labels.csv", "history.csv"
COLUMNS = (
    *("file", "name", "sha256", "label", "defect_type", "mask", "split", "reviewer", "made_at", "comment", "revision"),
    *("dataset_split", "dataset_type", "score", "model"),
)
"""``split`` is where the image stands in the export; the columns of the data set are what it said before."""
HISTORY_COLUMNS = ("sha256", "revision", "label", "defect_type", "mask", "reviewer", "made_at", "comment", "undoes")
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""What a spreadsheet may take for a formula, and what already has apostrophes before it."""
_NUMBERS = frozenset({"revision", "undoes", "score"})
Row = dict[str, str]


def label_row(image: ExportImage, *, file: str, mask: str, model: str) -> dict[str, object]:
    """Row of an image; ``mask`` is where its mask is, or empty, ``model`` the digest of the model of its score."""
    item = image.item
    values = exported_values(item.latest, mask)
    del values["undoes"]
    return {
        **values,
        "file": file,
        "name": item.name,
        "sha256": item.digest,
        "split": image.split,
        "dataset_split": item.split,
        "dataset_type": item.known_type,
        "score": item.score,
        "model": None if item.score is None else model,
    }


def history_rows(image: ExportImage, masks: Mapping[str, str]) -> Iterator[dict[str, object]]:
    """Rows of all revisions of an image; ``masks`` tells where each stored mask is in the export."""
    for revision in image.history:
        values = exported_values(revision, masks[revision.mask_file] if revision.mask_file else None)
        yield {"sha256": image.item.digest, **values}


def table_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """A CSV file; None is an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: value if name in _NUMBERS else _guarded(value) for name, value in row.items()})
    return stream.getvalue().encode()


def read_csv(bundle: Bundle, name: str) -> ParsedLabels:
    """Images of a table of labels, with the history beside it; what is wrong with rows is listed as problems."""
    problems: list[Problem] = []
    masks: dict[str, MaskSource] = {}
    histories: dict[str, list[Revision]] = defaultdict(list)
    history = str(PurePosixPath(name).with_name(HISTORY))
    for where, row in _rows(bundle, history, needed=HISTORY_COLUMNS) if bundle.find(history) else ():
        try:
            digest = fields.digest_of(row["sha256"])
            if not digest:
                raise DataError("it names no sha256")
            histories[digest].append(fields.revision_of(row, mask=_mask_of(bundle, history, row, masks)))
        except DataError as error:
            problems.append(Problem(where, str(error)))
    for revisions in histories.values():
        revisions.sort(key=lambda revision: revision.number)
    entries = []
    for where, row in _rows(bundle, name, needed=("label",), one_of=("file", "sha256")):
        try:
            entries.append(_entry(bundle, name, where, row, _mask_of(bundle, name, row, masks), histories))
        except DataError as error:
            problems.append(Problem(where, str(error)))
    return ParsedLabels(format="csv", entries=tuple(entries), masks=masks, problems=tuple(problems))


def _entry(
    bundle: Bundle, table: str, where: str, row: Row, mask: str | None, histories: Mapping[str, Sequence[Revision]]
) -> ImportEntry:
    digest = fields.digest_of(row.get("sha256"))
    named = fields.text_of(row.get("file"), "file").strip()
    if not named and not digest:
        raise DataError("it names neither a file nor a sha256")
    return ImportEntry(
        where=where,
        named=named or digest[:12],
        location=bundle.find(named, beside=table) if named else None,
        digest=digest,
        name=fields.text_of(row.get("name"), "name") or named.replace("\\", "/").rpartition("/")[2] or digest,
        latest=fields.revision_of(row, mask=mask),
        history=fields.complete_history(histories.get(digest, ())),
        split=fields.split_of(row["dataset_split"] if "dataset_split" in row else row.get("split")),
        known_type=fields.known_type_of(row.get("dataset_type")),
    )


def _mask_of(bundle: Bundle, table: str, row: Row, masks: dict[str, MaskSource]) -> str | None:
    """Name of the mask of a row, which is added to ``masks``."""
    named = fields.text_of(row.get("mask"), "mask").strip()
    if not named:
        return None
    location = bundle.find(named, beside=table)
    if location is None:
        raise DataError(f"the mask {named} is not there")
    masks[str(location)] = location
    return str(location)


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


def _guarded(value: object) -> str:
    text = "" if value is None else str(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _unguarded(text: str) -> str:
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
