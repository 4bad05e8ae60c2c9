from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import DECODERS, Inspection, Limits
from skrd4ad.regions import ScoringMask
from skrd4ad.services.inspection.inspect import image_row, inspect_images, mask_of, overlay_of, to_record, write_outputs
from skrd4ad.task import Task
from skrd4ad.types import Region
from skrd4ad.visualize import resize_map


@pytest.fixture
def part(tiny_data: Path) -> Path:
    return tiny_data / "machined_disc" / "test" / "dent" / "000.png"


def one(predictor: Predictor, source: Path | bytes, threshold: float | None = None) -> Inspection:
    (found,) = inspect_images(predictor, [("part", source)], threshold=threshold)
    return found


def test_score_map_and_verdict_are_the_models(predictor: Predictor, part: Path) -> None:
    calibration = predictor.info.calibration
    assert calibration is not None
    found, alone = one(predictor, part), predictor.predict(read_image(part))
    assert found.prediction is not None
    assert found.prediction.score == pytest.approx(alone.score, rel=1e-5)
    np.testing.assert_allclose(found.prediction.anomaly_map, alone.anomaly_map, rtol=1e-4)
    assert found.verdict == calibration.verdict(found.prediction.score)
    assert found.limits is not None and found.limits.reject == calibration.image_threshold


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_unreadable_image_keeps_its_place_and_the_rest_goes_on(predictor: Predictor, part: Path, batch: int) -> None:
    sources = [("a", part), ("b", b"no image"), ("c", part.read_bytes()), ("d", part.with_name("missing.png"))]
    found = list(inspect_images(predictor, sources, batch=batch))
    assert [i.name for i in found] == ["a", "b", "c", "d"]
    assert [i.error is None for i in found] == [True, False, True, False]
    assert found[1].error is not None
    assert found[1].error.startswith("b: not an image")
    assert (found[1].image, found[1].prediction, found[1].verdict) == (None, None, None)


def test_given_threshold_decides_strictly(predictor: Predictor, part: Path) -> None:
    first = one(predictor, part).prediction
    assert first is not None
    at, below = one(predictor, part, first.score), one(predictor, part, first.score - 1e-4)
    assert at.limits is not None
    assert (at.verdict, at.limits.reject, at.regions) == ("OK", first.score, ())
    assert (below.verdict, len(below.regions)) == ("NG", 1)


def test_threshold_that_is_no_number_is_refused_before_any_work(predictor: Predictor, part: Path) -> None:
    with pytest.raises(ConfigError, match="nan; allowed: any finite"):
        inspect_images(predictor, [("a", part)], threshold=float("nan"))


def test_images_are_read_a_few_batches_ahead(predictor: Predictor, part: Path) -> None:
    asked = []

    def sources() -> Iterator[tuple[str, Path]]:
        for number in range(100):
            asked.append(number)
            yield str(number), part

    found = inspect_images(predictor, sources(), batch=3)
    for number in range(40):
        assert next(found).name == str(number)
        # two batches are looked at, two are read or wait, and of one the results are being taken
        assert len(asked) <= number + 1 + 5 * 3


def test_large_images_make_smaller_batches(predictor: Predictor, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skrd4ad.inference.predictions.PIXELS_AT_ONCE", 2 * 64 * 64)
    decoded = []

    def reading(source: Path, *, name: str, levels: None) -> NDArray[np.uint8]:
        decoded.append(name)
        return read_image(source, name=name)

    monkeypatch.setattr("skrd4ad.inference.predictions.read_image", reading)
    found = inspect_images(predictor, ((str(number), part) for number in range(100)), batch=50)
    for number in range(20):
        assert next(found).name == str(number)
        # batches of two: two that are looked at, one that is made, one that waits, and one image more a decoder
        assert len(decoded) <= number + 1 + 4 * 2 + DECODERS
    assert len(list(found)) == 80


def test_check_may_stop_it(predictor: Predictor, part: Path) -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(inspect_images(predictor, [("a", part)], task=Task(check=check)))


def test_regions_are_scaled_to_the_image(predictor: Predictor, part: Path, tmp_path: Path) -> None:
    large = cv2.resize(
        read_image(part), (192, 128), interpolation=cv2.INTER_LINEAR
    )  # three times as wide, twice as high
    Image.fromarray(large).save(tmp_path / "large.png")
    prediction = one(predictor, tmp_path / "large.png").prediction
    assert prediction is not None
    limit = float(np.quantile(prediction.anomaly_map, 0.7))
    found = one(predictor, tmp_path / "large.png", limit)
    blown_up = np.kron(prediction.anomaly_map, np.ones((2, 3)))
    count, _, stats, centroids = cv2.connectedComponentsWithStats((blown_up > limit).astype(np.uint8), connectivity=8)
    expected = {
        (*map(int, (x, y, x + w, y + h)), int(area), round(float(cx), 4), round(float(cy), 4))
        for (x, y, w, h, area), (cx, cy) in zip(stats[1:count], centroids[1:], strict=True)
    }
    got = {(*r.box, r.area, round(r.centroid[0], 4), round(r.centroid[1], 4)) for r in found.regions}
    assert got == expected
    assert found.regions[0].peak == pytest.approx(prediction.score)


def test_written_files_hold_the_map_the_overlay_and_the_mask(predictor: Predictor, part: Path, tmp_path: Path) -> None:
    prediction = one(predictor, part).prediction
    assert prediction is not None
    found = one(predictor, part, float(np.median(prediction.anomaly_map)))
    files = write_outputs(found, tmp_path / "new", name="sub/x")
    assert {kind: path.name for kind, path in files.items()} == {
        "map": "x_map.npy",
        "overlay": "x_overlay.png",
        "mask": "x_mask.png",
    }
    assert files["map"].parent == tmp_path / "new" / "sub"
    stored = np.load(files["map"])
    assert stored.dtype == np.float32
    assert found.prediction is not None
    np.testing.assert_array_equal(stored, found.prediction.anomaly_map)
    np.testing.assert_array_equal(read_image(files["overlay"]), overlay_of(found))
    mask = np.asarray(Image.open(files["mask"]))
    resized = resize_map(stored, height=64, width=64)
    assert found.limits is not None
    np.testing.assert_array_equal(mask, (resized > found.limits.pixel) * 255)
    assert 0 < (mask > 0).mean() < 1


def test_without_a_threshold_there_is_a_map_and_an_overlay_but_no_verdict(
    predictor: Predictor, part: Path, tmp_path: Path
) -> None:
    bare = Predictor(predictor.model, predictor.info.__class__(**{**vars(predictor.info), "calibration": None}))
    found = one(bare, part)
    assert (found.verdict, found.limits, found.regions, mask_of(found)) == (None, None, (), None)
    assert set(write_outputs(found, tmp_path, name="x")) == {"map", "overlay"}
    assert (read_image(tmp_path / "x_overlay.png") != read_image(part)).any()
    assert one(bare, part, 0.1).verdict == "NG"


def test_results_that_cannot_be_written_are_an_error_in_words(predictor: Predictor, part: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_outputs(one(predictor, part), tmp_path / "file", name="x")


def test_unreadable_image_has_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.png could not be read"):
        write_outputs(Inspection(name="x.png", error="cut short"), tmp_path, name="x")


def test_records_and_rows() -> None:
    regions = (
        Region(area=4, peak=3.0, mean=2.5, box=(1, 2, 3, 4), centroid=(1.5, 2.5)),
        Region(area=1, peak=2.0, mean=2.0, box=(7, 8, 8, 9), centroid=(7.0, 8.0)),
    )
    limits = Limits(reject=1.5, review=None, pixel=1.5, heat_top=3.0, mask=ScoringMask(), calibration=None)
    found = Inspection(name="a.png", verdict="NG", limits=limits, regions=regions)
    record = to_record(found)
    assert record["regions"][0] == {"area": 4, "peak": 3.0, "mean": 2.5, "box": (1, 2, 3, 4), "centroid": (1.5, 2.5)}
    assert {k: record[k] for k in ("path", "verdict", "threshold", "score", "error")} == {
        "path": "a.png",
        "verdict": "NG",
        "threshold": 1.5,
        "score": None,
        "error": None,
    }
    assert (image_row(found)["regions"], image_row(found)["area"]) == (2, 5)
