import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.cli import main
from skrd4ad.data.images.read import read_image
from skrd4ad.services.inspection.inspect import png_bytes

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def part(tiny_data: Path) -> Path:
    return tiny_data / "machined_disc" / "test" / "dent" / "000.png"


def zip_of(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_images_of_a_zip_file_are_inspected_and_unsafe_ones_reported(
    tiny_model: tuple[Path, Path], part: Path, tmp_path: Path, as_json: Run
) -> None:
    content = part.read_bytes()
    file = zip_of(
        tmp_path / "parts.zip",
        **{
            "a/1.png": content,
            "../../evil.png": content,
            "a/1.jpg": b"no image",
            "b/1.png": content,
            "readme.txt": b"x",
        },
    )
    out = tmp_path / "out"
    code, document = as_json("predict", "--model", tiny_model[0], part, "--zip", file, "--out", out)
    assert code == 1
    rows = document["images"]
    assert [row["path"] for row in rows] == [
        str(part),
        *(f"{file}/{name}" for name in ("a/1.png", "../../evil.png", "a/1.jpg", "b/1.png")),
    ]
    assert [row["error"] is None for row in rows] == [True, True, False, False, True]
    assert "outside" in rows[2]["error"]
    assert rows[1]["score"] == pytest.approx(rows[0]["score"], rel=1e-4)
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*_map.npy"))
    assert written == ["000_map.npy", "parts/a/1_map.npy", "parts/b/1_map.npy"]
    assert not list(tmp_path.parent.glob("evil*"))


def test_nothing_to_inspect_is_wrong_use(tiny_model: tuple[Path, Path], tmp_path: Path, as_json: Run) -> None:
    empty = zip_of(tmp_path / "e.zip", **{"readme.txt": b"x"})
    for inputs in ([], ["--zip", empty]):
        code, document = as_json("predict", "--model", tiny_model[0], *inputs, "--out", tmp_path / "o")
        assert code == 2
        assert "nothing to inspect" in document["error"]


def test_tiled_view_is_told_in_the_document_and_to_people(
    tiny_model: tuple[Path, Path], part: Path, tmp_path: Path, as_json: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png_bytes(np.tile(read_image(part), (2, 3, 1))))
    arguments = ["predict", "--model", tiny_model[0], large, "--out", tmp_path / "o", "--tiled", "on"]
    _, document = as_json(*arguments)
    assert document["images"][0]["view"].startswith("tiled 4x3 at 1:1")
    assert np.load(document["images"][0]["files"]["map"]).shape == (128, 192)
    main([str(each) for each in arguments])
    assert "tiled 4x3 at 1:1" in capsys.readouterr().out
    _, document = as_json(*arguments[:-1], "off")
    assert document["images"][0]["view"] == "resized whole"


def test_refusal_is_told_to_people(
    tiny_model: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    black = tmp_path / "black.png"
    black.write_bytes(png_bytes(np.zeros((64, 64, 3), np.uint8)))
    assert main(["predict", "--model", str(tiny_model[0]), str(black), "--out", str(tmp_path / "o")]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("CANNOT JUDGE ") and "cannot judge: under-exposed" in printed


def test_every_image_is_counted_once_and_one_that_is_not_judged_shows_in_the_exit_code(
    tiny_model: tuple[Path, Path], part: Path, tmp_path: Path, as_json: Run
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    shutil.copy(part, folder / "part.png")
    arguments = ["predict", "--model", tiny_model[0], folder, "--out", tmp_path / "o", "--threshold", "1e9"]
    code, document = as_json(*arguments)
    assert (code, document["counts"]["OK"], sum(document["counts"].values())) == (0, 1, 1)
    (folder / "black.png").write_bytes(png_bytes(np.zeros((64, 64, 3), np.uint8)))
    (folder / "text.png").write_text("no image")
    code, document = as_json(*arguments)
    assert code == 1
    assert document["counts"] == {"NG": 0, "REVIEW": 0, "OK": 1, "CANNOT JUDGE": 1, "NO LIMIT": 0, "UNREADABLE": 1}
    assert sorted(str(image["verdict"]) for image in document["images"]) == ["CANNOT JUDGE", "None", "OK"]


def test_scale_gives_regions_in_millimetres(
    tiny_model: tuple[Path, Path], part: Path, tmp_path: Path, as_json: Run
) -> None:
    arguments = ["predict", "--model", tiny_model[0], part, "--out", tmp_path / "o", "--threshold", "0"]
    _, document = as_json(*arguments, "--mm-per-pixel", "0.1")
    (region,) = document["images"][0]["regions"]
    assert region["area_mm2"] == pytest.approx(region["area"] * 0.01)
    assert region["box_mm"] == pytest.approx([0, 0, 6.4, 6.4])
    for wrong in ("0", "-1", "nan", "wide"):
        assert as_json(*arguments, f"--mm-per-pixel={wrong}")[0] == 2
