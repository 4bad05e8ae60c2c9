"""What ``make soak`` compares finds planted faults; the sections themselves take minutes and run there."""

from pathlib import Path

from benchmarks.soaking import disk, journal
from benchmarks.soaking.journal import Figure, Journal
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.labelling import annotate
from tests.label_world import picture, put


def test_the_journal_finds_what_is_not_stored(info: ModelInfo, tmp_path: Path) -> None:
    image = put("part.png", picture(1))
    annotate.decide(image, "good", reviewer="Anna")
    noted = Journal(tmp_path / "journal.jsonl")
    noted.label(image.digest, "good", reviewer="Anna", drawn=False)
    assert noted.lost(info.folder) == []
    noted.label(image.digest, "unsure", reviewer="Anna", drawn=False)
    noted.calibration(77)
    noted.epoch(info.folder.parent, 4)
    assert len(noted.lost(info.folder)) == 3
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 4


def test_a_model_folder_that_cannot_be_read_is_found(info: ModelInfo) -> None:
    assert journal.broken_models() == []
    (info.folder / "config.json").write_text("{}")
    assert len(journal.broken_models()) == 1


def test_a_line_of_the_table_holds_without_problems_alone() -> None:
    assert journal.none_of("lost", []) == Figure("lost", "0", "0", True)
    assert journal.none_of("lost", ["a", "a"]) == Figure("lost", "2: a", "0", False)


def test_a_file_that_is_cut_off_is_found(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "whole.png").write_bytes(picture(1))
    assert disk.torn_files(tmp_path / "out") == []
    (tmp_path / "out" / "torn.png").write_bytes(picture(1)[:200])
    (tmp_path / "out" / "torn.json").write_text('{"score": 1')
    (tmp_path / "out.pdf").write_bytes(b"%PDF-1.7 and no end")
    assert len(disk.torn_files(tmp_path / "out")) == 3
