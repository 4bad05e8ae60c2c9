from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import Inspection
from skrd4ad.model_folder.info import REFERENCE
from skrd4ad.services.inspection.inspect import inspect_images, mask_of, overlay_of, png_bytes, to_record

RGB = NDArray[np.uint8]


@pytest.fixture
def part(tiny_data: Path) -> RGB:
    return read_image(tiny_data / "machined_disc" / "test" / "good" / "000.png")


def inspect(
    predictor: Predictor, *images: RGB, tiling: str = "auto", threshold: float | None = None
) -> list[Inspection]:
    sources = [(str(number), png_bytes(image)) for number, image in enumerate(images)]
    return list(inspect_images(predictor, sources, tiling=tiling, threshold=threshold))  # type: ignore[arg-type]


def view_of(found: Inspection) -> str:
    assert found.prediction is not None
    return found.prediction.view


def test_a_part_like_those_of_the_training_is_seen_whole_and_judged(predictor: Predictor, part: RGB) -> None:
    (found,) = inspect(predictor, part)
    assert (view_of(found), found.refusal) == ("resized whole", None)
    assert found.verdict is not None


def test_an_image_that_is_refused_cannot_be_judged_and_says_why(predictor: Predictor, part: RGB) -> None:
    (found,) = inspect(predictor, cv2.GaussianBlur(part, (0, 0), 4).astype(np.uint8))
    assert found.refusal is not None
    assert found.refusal.startswith("cannot judge: ")
    assert "out of focus" in found.refusal
    assert (found.verdict, found.outcome) == ("CANNOT JUDGE", "CANNOT JUDGE")
    assert to_record(found)["refusal"] == found.refusal and to_record(found)["verdict"] == "CANNOT JUDGE"


def test_large_and_small_images_keep_their_order(predictor: Predictor, part: RGB) -> None:
    large = cv2.resize(part, (160, 112)).astype(np.uint8)
    found = inspect(predictor, part, large, part, tiling="on")
    assert [view_of(each) for each in found] == ["tiled 1x1 at 1:1", "tiled 3x2 at 1:1", "tiled 1x1 at 1:1"]
    first, middle, last = (each.prediction for each in found)
    assert first is not None and middle is not None and last is not None
    np.testing.assert_array_equal(first.anomaly_map, last.anomaly_map)
    assert middle.anomaly_map.shape == (112, 160)


def test_a_tiled_image_has_regions_mask_and_overlay_at_its_own_size(predictor: Predictor, part: RGB) -> None:
    large = np.tile(part, (2, 3, 1))
    plane = inspect(predictor, large, tiling="on")[0].prediction
    assert plane is not None
    limit = float(np.quantile(plane.anomaly_map, 0.95))
    (found,) = inspect(predictor, large, tiling="on", threshold=limit)
    mask = mask_of(found)
    assert mask is not None
    np.testing.assert_array_equal(mask > 0, plane.anomaly_map > limit)
    assert overlay_of(found).shape == large.shape
    assert sum(region.area for region in found.regions) == (mask > 0).sum()


def test_an_older_model_without_reference_still_inspects(
    predictor: Predictor, part: RGB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skrd4ad.inference.predictions.read_reference", lambda _: None)
    (found,) = inspect(predictor, np.zeros_like(part))
    assert (found.refusal, view_of(found)) == (None, "resized whole")


def test_the_model_folder_holds_the_reference(predictor: Predictor) -> None:
    assert (predictor.info.folder / REFERENCE).is_file()


def test_a_source_that_could_not_be_had_keeps_its_place(predictor: Predictor, part: RGB) -> None:
    sources = [("a", png_bytes(part)), ("b", ImageError("b: encrypted.")), ("c", png_bytes(part))]
    found = list(inspect_images(predictor, sources))
    assert [each.error for each in found] == [None, "b: encrypted.", None]


def test_unknown_tiling_is_refused_before_any_work(predictor: Predictor) -> None:
    with pytest.raises(ConfigError, match="auto, on, off"):
        inspect_images(predictor, [], tiling="yes")  # type: ignore[arg-type]


def test_regions_in_millimetres(predictor: Predictor, part: RGB) -> None:
    (found,) = inspect(predictor, part, threshold=0.0)
    plain, scaled = to_record(found)["regions"][0], to_record(found, mm_per_pixel=0.5)["regions"][0]
    assert "area_mm2" not in plain
    assert scaled["area_mm2"] == pytest.approx(plain["area"] / 4)
    assert scaled["box_mm"] == pytest.approx([edge / 2 for edge in plain["box"]])
    assert scaled["centroid_mm"] == pytest.approx([place / 2 for place in plain["centroid"]])
    line_scan = to_record(found, mm_per_pixel=(0.5, 0.1))["regions"][0]
    assert line_scan["area_mm2"] == pytest.approx(plain["area"] / 20)
    assert line_scan["box_mm"] == pytest.approx(
        [edge * mm for edge, mm in zip(plain["box"], (0.5, 0.1) * 2, strict=True)]
    )
    assert line_scan["centroid_mm"] == pytest.approx([plain["centroid"][0] / 2, plain["centroid"][1] / 10])
    for wrong in (0.0, (0.5, 0.0)):
        with pytest.raises(ConfigError, match="above 0"):
            to_record(found, mm_per_pixel=wrong)
