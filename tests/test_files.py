from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from skrd4ad.documents import read_values
from skrd4ad.errors import CheckpointError
from skrd4ad.files import FileEntry, locked, write_json


def test_of_those_that_lock_a_folder_each_reads_what_the_one_before_wrote(tmp_path: Path) -> None:
    file = tmp_path / "count.json"
    write_json(file, {"count": 0})

    def add(_: int) -> None:
        with locked(tmp_path):
            write_json(file, {"count": read_values(file)["count"] + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(40)))
    assert read_values(file) == {"count": 40}


def test_a_lock_is_let_go_after_an_error_and_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    with locked(tmp_path):
        pass
    with pytest.raises(CheckpointError, match=r"There is no folder .*none"), locked(tmp_path / "none"):
        pass


def test_names_that_are_no_valid_text_survive_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": Path("odd\udc80.png")}, format=3)
    assert read_values(tmp_path / "a.json") == {"format": 3, "path": "odd\udc80.png"}


def test_a_file_entry_is_of_its_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    entry = FileEntry.of(tmp_path / "a")
    assert (entry.sha256[:8], entry.bytes) == ("ba7816bf", 3)
