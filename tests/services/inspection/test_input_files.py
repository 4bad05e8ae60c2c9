from pathlib import Path

import pytest

from skrd4ad.errors import ConfigError
from skrd4ad.services.inspection.input_files import expand_inputs, output_names


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_folders_are_searched_for_images_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "2.JPG", "b/1.tiff", "notes.txt", ".hidden.png", ".git/3.png", "a/1.webp")
    found = [str(p.relative_to(tmp_path)) for p in expand_inputs([tmp_path])]
    assert found == ["2.JPG", "10.png", "a/1.webp", "b/1.tiff"]


def test_what_is_named_stays_and_stands_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "notes.txt", "empty/notes.txt")
    named = [tmp_path / "a" / "1.png", tmp_path / "notes.txt", tmp_path / "missing.png", tmp_path / "empty"]
    assert expand_inputs([*named, tmp_path / "a"]) == named


def test_results_in_an_input_folder_are_not_taken_for_images(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "out/1_overlay.png")
    assert expand_inputs([tmp_path], leave_out=tmp_path / "out") == [tmp_path / "1.png"]
    with pytest.raises(ConfigError, match="one of the inputs"):
        expand_inputs([tmp_path / "out"], leave_out=tmp_path / "x" / ".." / "out")


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["a/1.png", "b/2.png"], ["1", "2"]),
        (["a/1.png", "b/1.png", "2.png"], ["a/1", "b/1", "2"]),
        (["a/1.png", "a/1.jpg", "a/1.bmp"], ["1", "1-2", "1-3"]),
        (["a/x.png", "a/X.png"], ["x", "X-2"]),
        (["1-2.png", "1.png", "1.jpg"], ["1-2", "1", "1-3"]),
        ([f"{'é' * 120}{end}.png" for end in "ab"], ["é" * 100, f"{'é' * 100}-2"]),
        ([], []),
    ],
)
def test_no_two_results_have_one_name(tmp_path: Path, files: list[str], names: list[str]) -> None:
    touch(tmp_path, *files)
    assert output_names([tmp_path / file for file in files]) == names


def test_a_missing_file_does_not_move_the_results_of_others(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.png", "in/b/1.png")
    paths = [tmp_path / "in/a/1.png", tmp_path / "in/b/1.png", tmp_path / "elsewhere" / "1.png"]
    assert output_names(paths) == ["a/1", "b/1", "1"]
