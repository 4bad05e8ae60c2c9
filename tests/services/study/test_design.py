from pathlib import Path

import pytest

from skrd4ad.errors import DataError
from skrd4ad.services.study.design import ONE_SETTING, read_design


def write(folder: Path, *lines: str) -> Path:
    table = folder / "study.csv"
    table.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")
    return table


def test_a_table_names_part_setting_round_truth_and_reference(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "file;part;operator;camera;round;truth;reference",
        "a.png;7;Anna;left;Monday;NG;41.5",
        "deep/b.png;8;;;;;",
    )
    first, second = read_design(table)
    assert (first.file, first.part, first.setting) == (tmp_path / "a.png", "7", "Anna, left")
    assert (first.round, first.truth, first.reference) == ("Monday", "defect", 41.5)
    assert (second.file, second.setting, second.truth) == (tmp_path / "deep" / "b.png", ONE_SETTING, None)


def test_folders_are_parts_below_what_they_are(tmp_path: Path) -> None:
    for name in ("good/1/b.png", "good/1/a.png", "defect/1/a.png", "good/2/a.png", "good/2/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [(each.part, each.truth, each.file.name) for each in read_design(tmp_path)]
    assert found == [
        ("defect/1", "defect", "a.png"),
        ("good/1", "good", "a.png"),
        ("good/1", "good", "b.png"),
        ("good/2", "good", "a.png"),
    ]
    assert {each.part for each in read_design(tmp_path / "good")} == {"1", "2"}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,operator", "a.png,Anna"], "no column part"),
        (["file,part,colour", "a.png,1,red"], "mean nothing here: colour"),
        (["file,part,truth", "a.png,1,maybe", "b.png,,good"], "line 2: truth is 'maybe'.*line 3: no part"),
        (["file,part,reference", "a.png,1,nan"], "line 2: reference is 'nan'"),
        (["file,part,truth", "a.png,1,good", "b.png,1,defect"], "Part 1 is called both"),
        (["file,part"], "no column file and no column part"),
        (["file,part", 'a.png,"1'], "is no CSV table"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_design(write(tmp_path, *lines))


def test_what_is_no_study_says_what_one_is(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(DataError, match="Give a folder with one folder of images a part"):
            read_design(source)
