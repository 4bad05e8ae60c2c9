"""Which photograph is of which part: from folders, or from a table."""

import csv
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.data.images.read import is_hidden, is_image, natural_key
from skrd4ad.documents import Squarable
from skrd4ad.errors import DataError
from skrd4ad.metrics.escapes import Truth

NEEDED = ("file", "part")
OPTIONAL = ("operator", "camera", "round", "truth", "reference")
ONE_SETTING = "one setting"
MOST_BYTES = 16 * 2**20
MOST_IMAGES = 100_000
TRUTHS: Mapping[str, Truth] = {"good": "good", "ok": "good", "defect": "defect", "ng": "defect"}
HOW = (
    "Give a folder with one folder of images a part (below folders good and defect, where the truth is known), or a "
    f"CSV table with the columns {' and '.join(NEEDED)}, and as wanted {', '.join(OPTIONAL)}."
)


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One measurement of a part."""

    file: Path
    part: str
    setting: str = ONE_SETTING
    """Operator and camera."""
    round: str = ""
    """Shift or day; empty when it is not known."""
    truth: Truth | None = None
    reference: Squarable | None = None
    """Score that the part should have, for the bias."""


def read_design(source: Path) -> tuple[Photograph, ...]:
    """The photographs of a study, in the order of the table, or of the folders.

    Raises:
        DataError: there is no such study, or a line of the table cannot be used; every such line is named.
    """
    photographs = tuple(_from_folders(source)) if source.is_dir() else _from_table(source)
    if not photographs:
        raise DataError(f"{source} has no images of parts. {HOW}")
    if len(photographs) > MOST_IMAGES:
        raise DataError(f"{source} has {len(photographs)} images; a study takes {MOST_IMAGES} at most. Split it.")
    truths: dict[str, Truth | None] = {}
    for each in photographs:
        if truths.setdefault(each.part, each.truth) != each.truth:
            raise DataError(f"Part {each.part} is called both good and defect, or not always; give it one truth.")
    return photographs


def tables_in(folder: Path) -> list[Path]:
    """The CSV tables in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and not is_hidden(path))


def _from_folders(source: Path) -> Iterator[Photograph]:
    for folder in _folders(source):
        truth = TRUTHS.get(folder.name.lower())
        parts = _folders(folder) if truth else [folder]
        for part in parts:
            images = (path for path in part.iterdir() if is_image(path) and not is_hidden(path))
            name = f"{folder.name}/{part.name}" if truth else part.name
            yield from (Photograph(file=file, part=name, truth=truth) for file in sorted(images, key=natural_key))


def _folders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir() and not is_hidden(path)), key=natural_key)


def _from_table(table: Path) -> tuple[Photograph, ...]:
    if not table.is_file():
        raise DataError(f"There is no study at {table}. {HOW}")
    if table.stat().st_size > MOST_BYTES:
        raise DataError(f"{table} has more than {MOST_BYTES >> 20} MB; a table of a study is smaller. {HOW}")
    try:
        text = table.read_text("utf-8-sig")
        separator = ";" if ";" in text.partition("\n")[0] else ","
        lines = list(csv.DictReader(text.splitlines(), delimiter=separator, restkey="", strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table} is no CSV table in UTF-8 ({error}). {HOW}") from error
    columns = set(lines[0]) if lines else set()
    if missing := [name for name in NEEDED if name not in columns]:
        raise DataError(f"{table} has no column {' and no column '.join(missing)}. {HOW}")
    if strange := sorted(columns - {*NEEDED, *OPTIONAL}):
        raise DataError(f"{table} has columns that mean nothing here: {', '.join(strange) or 'without a name'}. {HOW}")
    problems: list[str] = []
    photographs = []
    for number, line in enumerate(lines, start=2):
        values = {name: (value or "").strip() for name, value in line.items()}
        try:
            photographs.append(_photograph(values, table.parent))
        except DataError as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = f" and {len(problems) - 5} more lines" if len(problems) > 5 else ""
        raise DataError(f"{table} cannot be used: {'; '.join(problems[:5])}{more}.")
    return tuple(photographs)


def _photograph(values: Mapping[str, str], folder: Path) -> Photograph:
    for name in NEEDED:
        if not values[name]:
            raise DataError(f"no {name}")
    truth, reference = values.get("truth", "").lower(), values.get("reference", "")
    if truth and truth not in TRUTHS:
        raise DataError(f"truth is {truth!r}; allowed: {', '.join(TRUTHS)}, or nothing")
    try:
        score = float(reference) if reference else None
    except ValueError:
        score = math.nan
    if score is not None and not abs(score) <= 1e100:
        raise DataError(f"reference is {reference!r}; allowed: a number up to 1e100, or nothing")
    setting = ", ".join(filter(None, (values.get("operator"), values.get("camera"))))
    return Photograph(
        file=Path(os.path.normpath(folder / values["file"])),
        part=values["part"],
        setting=setting or ONE_SETTING,
        round=values.get("round", ""),
        truth=TRUTHS.get(truth),
        reference=score,
    )
