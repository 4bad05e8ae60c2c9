import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from skrd4ad.errors import DataError
from skrd4ad.inference.predictions import limits_of
from skrd4ad.model_folder.folder import CALIBRATION, save_calibration
from skrd4ad.regions import score_under
from skrd4ad.services.evaluation.operating_points import findings, open_image
from tests.evaluation_world import EvaluationWorld, worse_copy


def with_limits(world: EvaluationWorld, *, review: float | None, reject: float) -> None:
    current = world.info().calibration
    assert current is not None
    save_calibration(
        world.first,
        replace(current, image_threshold=reject, review_threshold=review, pixel_threshold=review or reject),
    )


def test_every_verdict_is_that_of_the_inspection(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    low, high = np.quantile(stored.scores, [0.3, 0.6]).tolist()
    with_limits(evaluated, review=low, reject=high)
    calibration, why = stored.limits()
    assert calibration is not None and why == ""
    found = findings(stored, calibration)
    limits = limits_of(evaluated.info())
    assert limits is not None
    expected = [limits.verdict(score_under(np.array(plane), limits.mask)) for plane in stored.maps()]
    for cell in found.confusion:
        for place in cell.indices:
            assert expected[place] == cell.verdict
            assert stored.images[place].label == (cell.truth == "defect")
    assert sum(cell.count for cell in found.confusion) == 12
    assert {cell.verdict for cell in found.confusion if cell.count} == {"OK", "REVIEW", "NG"}
    assert found.calibration == evaluated.info().calibration
    above = stored.scores > high
    assert found.image_point.recall == above[stored.labels == 1].mean()
    assert found.review_point is not None and found.review_point.threshold == low
    assert found.notes == ()


def test_groups_by_type_and_size_hold_the_same_images(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    with_limits(evaluated, review=None, reject=float(np.median(stored.scores)))
    found = findings(stored, stored.limits()[0])
    assert [group.name for group in found.by_type] == sorted({i.defect_type for i in stored.images if i.label})
    for group in found.by_type:
        assert {stored.images[place].defect_type for place in group.indices} == {group.name}
    by_type = sorted(place for group in found.by_type for place in group.escaped)
    by_size = sorted(place for group in found.by_size.groups for place in group.escaped)
    escapes = next(cell for cell in found.confusion if (cell.truth, cell.verdict) == ("defect", "OK"))
    assert by_type == by_size == sorted(escapes.indices)
    for group in found.by_size.groups:
        assert all(group.sizes[0] <= stored.images[place].mask_area <= group.sizes[1] for place in group.indices)


def test_the_pixel_point_counts_the_pixels_above_the_limit(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    with_limits(evaluated, review=None, reject=float(np.median(stored.scores)))
    found = findings(stored, stored.limits()[0])
    data = stored.evaluation_set()
    above = data.maps > found.calibration.pixel_threshold
    assert found.pixel_point.recall == above[data.masks].mean()
    assert found.pixel_point.false_positive_rate == above[~data.masks].mean()


def test_what_a_reader_must_know_is_said(evaluated: EvaluationWorld) -> None:
    calibration = evaluated.info().calibration
    save_calibration(evaluated.first, replace(calibration, test_fitted=True))
    stored = evaluated.stored()
    assert "test-fitted" in findings(stored, stored.limits()[0]).notes[0]
    small = replace(stored, summary=replace(stored.summary, min_area=12))
    assert "12 pixels of the map" in findings(small, calibration).notes[0]


def test_scores_are_judged_by_no_limits_that_do_not_fit_them(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    calibration = evaluated.info().calibration
    save_calibration(evaluated.first, replace(calibration, min_area=9))
    assert "Evaluate again" in stored.limits()[1]
    (evaluated.first / CALIBRATION).unlink()
    assert "no limits yet" in stored.limits()[1]
    shutil.rmtree(evaluated.first)
    assert "no model folder" in stored.limits()[1]
    worse_copy(evaluated.second, evaluated.first)
    found, why = stored.limits()
    assert found is None and "another model" in why


def test_an_image_opens_with_its_map_and_mask(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    for place in (0, 11):
        opened = open_image(stored, place)
        assert np.array_equal(opened.image, np.asarray(Image.open(stored.images[place].path).convert("RGB")))
        assert opened.anomaly_map.max() == stored.scores[place]
        assert opened.mask.any() == bool(stored.images[place].label)
        assert opened.warning == ""
    with pytest.raises(DataError, match="images 0 to 11"):
        open_image(stored, 12)
    with pytest.raises(DataError, match="no image -1"):
        open_image(stored, -1)


def test_an_image_that_changed_opens_with_a_warning_and_one_that_is_gone_does_not(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(stored.images[0].path)
    opened = open_image(stored, 0)
    assert opened.image.shape == (20, 30, 3)
    assert "changed since" in opened.warning
    stored.images[1].path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        open_image(stored, 1)


def test_no_image_outside_the_data_roots_opens(evaluated: EvaluationWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = evaluated.stored()
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(evaluated.root / "home"))
    with pytest.raises(DataError, match="outside the folders"):
        open_image(stored, 0)
