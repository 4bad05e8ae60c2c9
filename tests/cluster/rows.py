"""What was scored, and what ``predict`` says of the same images."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def rows_of(out: Path) -> list[dict[str, Any]]:
    """All rows in the order of the files."""
    return [row for file in sorted((out / "scores").iterdir()) for row in pq.read_table(file).to_pylist()]


def expected_rows(document: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Rows of the images of a folder, from the document of ``predict --json``."""
    rows = []
    for entry in document["images"]:
        row = {name: value for name, value in entry.items() if name != "files"}
        rows.append({"id": Path(entry["path"]).relative_to(folder).as_posix(), **row})
    return sorted(rows, key=lambda row: row["id"].encode())
