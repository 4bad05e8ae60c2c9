"""Each section of ``make soak`` at its smallest, so that the program stays able to find what it looks for."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soaking import disk, journal
from benchmarks.soaking.journal import Figure, Journal
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.labelling import annotate
from tests.label_world import picture, put
from tests.limits import LONG

ROOT = Path(__file__).parents[1]
SMALLEST = {
    "kills": ["--kills=3"],
    "sessions": ["--sessions=1", "--minutes=0.05"],
    "inspections": ["--inspections=3"],
    "processes": ["--decisions=4"],
    "server": ["--restarts=1"],
    "disk": ["--writes=3"],
}


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("section", SMALLEST)
def test_a_section_runs_and_its_figures_hold(section: str) -> None:
    # in a process of its own: a thread can have one Playwright only
    command = [sys.executable, "-m", "benchmarks.soak", "--only", section, *SMALLEST[section]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * LONG)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"| {section} |") >= 5


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
