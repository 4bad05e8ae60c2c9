"""What ``make soak`` compares finds planted faults; the sections themselves take minutes and run there."""

import json
from pathlib import Path
from shutil import copytree

from benchmarks.soaking import disk, journal
from benchmarks.soaking.journal import Figure, Journal
from skrd4ad.model_folder.first_look import first_look_folder
from skrd4ad.model_folder.folder import save_metrics
from skrd4ad.model_folder.info import CALIBRATION, CONFIG, METRICS, REFERENCE, WEIGHTS, ModelInfo
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
    noted.training()
    noted.epoch(4)
    assert len(noted.lost(info.folder)) == 3
    copytree(info.folder, info.folder.with_name("another"))  # the training has become a model
    assert len(noted.lost(info.folder)) == 2
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 5


def test_a_model_folder_that_cannot_be_read_is_found(info: ModelInfo) -> None:
    assert journal.broken_models() == []
    (info.folder / "config.json").write_text("{}")
    assert len(journal.broken_models()) == 1


def test_a_model_that_is_listed_before_its_training_is_complete_is_found(info: ModelInfo) -> None:
    save_metrics(info.folder, {"image_auroc": 1.0})
    first_look = Path(copytree(info.folder, first_look_folder(info.folder)))
    assert journal.half_listed(info.folder) == []
    assert journal.half_listed(first_look) == [f"{first_look} is listed without its badge as a first look"]
    values = json.loads((first_look / CONFIG).read_text())
    for folder, changed in ((first_look, {"first_look": True}), (info.folder, {"history": values["history"][:1]})):
        (folder / CONFIG).write_text(json.dumps(values | changed))
        (folder / METRICS).unlink()
    assert journal.half_listed(first_look) == []
    assert [each.rpartition("without ")[2] for each in journal.half_listed(info.folder)] == ["an epoch", "its figures"]
    for name in (CALIBRATION, REFERENCE):
        (first_look / name).unlink()
    assert len(journal.half_listed(first_look)) == 2
    (first_look / WEIGHTS).write_bytes(b"half")
    assert len(journal.half_listed(first_look)) == 1


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
