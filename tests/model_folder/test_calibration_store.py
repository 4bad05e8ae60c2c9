import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.errors import CheckpointError
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.metrics.evaluation import evaluate
from skrd4ad.model_folder.calibration import Calibration, calibrate
from skrd4ad.model_folder.folder import (
    CALIBRATION,
    CARD,
    read_history,
    read_info,
    save_calibration,
    save_metrics,
    use_version,
)
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.types import DatasetClass

OTHER = calibrate([0.4, 0.5], data="2 good images given", who="A. Mason")


def stored(info: ModelInfo) -> Calibration:
    assert info.calibration is not None
    return info.calibration


def test_training_makes_the_first_version(trained: ModelInfo) -> None:
    first = stored(trained)
    assert (first.version, first.who, first.method) == (1, "training", "split-conformal")
    assert first.data == "3 held-out good images of training"
    assert trained.calibration_versions == 1
    assert json.loads((trained.folder / CALIBRATION).read_text())["format"] == 2


def test_a_stored_calibration_is_current_and_the_others_stay(trained: ModelInfo) -> None:
    info = save_calibration(trained.folder, OTHER)
    again = read_info(trained.folder)
    assert stored(info) == stored(again) == replace(OTHER, version=2)
    assert (info.calibration_versions, again.calibration_versions) == (2, 2)
    history = read_history(trained.folder)
    assert history is not None
    assert history.versions == (stored(trained), stored(info))
    card = (trained.folder / CARD).read_text()
    assert "Version 2 of 2" in card
    assert "by A. Mason" in card


def test_an_earlier_version_can_be_used_again(trained: ModelInfo) -> None:
    save_calibration(trained.folder, OTHER)
    info = use_version(trained.folder, 1)
    assert stored(info) == stored(read_info(trained.folder)) == stored(trained)
    assert "Version 1 of 2" in (trained.folder / CARD).read_text()
    assert stored(save_calibration(trained.folder, OTHER)).version == 3
    before = (trained.folder / CALIBRATION).read_bytes()
    with pytest.raises(CheckpointError, match="no version 9"):
        use_version(trained.folder, 9)
    assert (trained.folder / CALIBRATION).read_bytes() == before


def test_a_model_without_calibration_gets_its_first(trained: ModelInfo) -> None:
    (trained.folder / CALIBRATION).unlink()
    bare = read_info(trained.folder)
    assert (bare.calibration, bare.calibration_versions) == (None, 0)
    with pytest.raises(CheckpointError, match="no calibration yet"):
        use_version(trained.folder, 1)
    assert stored(save_calibration(trained.folder, replace(OTHER, version=7))).version == 1


def test_every_version_keeps_its_own_mask(trained: ModelInfo) -> None:
    first = save_calibration(trained.folder, OTHER, ignore_mask=np.eye(5, dtype=bool))
    second = save_calibration(trained.folder, OTHER, ignore_mask=np.ones((3, 2), bool))
    third = save_calibration(trained.folder, replace(OTHER, ignore=stored(first).ignore))
    names = [stored(info).ignore for info in (first, second, third)]
    assert names == ["ignore-2.png", "ignore-3.png", "ignore-2.png"]
    assert all((trained.folder / str(name)).is_file() for name in names)


def test_a_mask_that_is_not_there_and_a_region_larger_than_the_map_are_refused(trained: ModelInfo) -> None:
    before = (trained.folder / CALIBRATION).read_bytes()
    with pytest.raises(CheckpointError, match=r"no gone\.png"):
        save_calibration(trained.folder, replace(OTHER, ignore="gone.png"))
    with pytest.raises(CheckpointError, match="the map has only 4096"):
        save_calibration(trained.folder, replace(OTHER, min_area=4097))
    assert (trained.folder / CALIBRATION).read_bytes() == before


def test_calibrations_stored_at_the_same_time_are_all_kept(trained: ModelInfo) -> None:
    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(lambda n: save_calibration(trained.folder, replace(OTHER, note=str(n))), range(8)))
    assert sorted(stored(info).version for info in infos) == list(range(2, 10))
    history = read_history(trained.folder)
    assert history is not None
    assert sorted(each.note for each in history.versions[1:]) == [str(n) for n in range(8)]


def test_metrics_leave_the_history_alone(trained: ModelInfo) -> None:
    save_calibration(trained.folder, OTHER)
    info = save_metrics(trained.folder, {"n_good": 1, "n_defect": 1, "protocol": "tests"})
    assert (stored(info).version, info.calibration_versions) == (2, 2)


def test_a_test_fitted_calibration_carries_its_badge_on_the_card(trained: ModelInfo) -> None:
    save_calibration(trained.folder, replace(OTHER, test_fitted=True, review_threshold=0.1, min_area=4))
    card = (trained.folder / CARD).read_text()
    assert "**Test-fitted:" in card
    assert "for REVIEW above 0.1" in card
    assert "fewer than 4 pixels" in card


def test_no_model_folder_is_refused(trained: ModelInfo) -> None:
    with pytest.raises(CheckpointError, match="There is no folder"):
        save_calibration(trained.folder / "missing", OTHER)


def test_ignored_pixels_enter_no_figure_of_an_evaluation(trained: ModelInfo, disc: DatasetClass) -> None:
    plain = evaluate_model(Predictor.load(trained.folder), disc)
    ignored = np.zeros((64, 64), bool)
    ignored[:, :32] = True
    save_calibration(trained.folder, OTHER, ignore_mask=ignored)
    found = evaluate_model(Predictor.load(trained.folder), disc)
    assert plain.data.maps is not None and found.data.maps is not None
    assert not found.data.maps[:, :, :32].any()
    np.testing.assert_allclose(found.data.maps[:, :, 32:], plain.data.maps[:, :, 32:], rtol=1e-4)
    np.testing.assert_array_equal(found.data.scores, found.data.maps[:, :, 32:].max(axis=(1, 2)))
    # the same as if the images ended where the ignored pixels begin
    cropped = replace(
        plain.data,
        maps=np.ascontiguousarray(plain.data.maps[:, :, 32:]),
        masks=None if plain.data.masks is None else np.ascontiguousarray(plain.data.masks[:, :, 32:]),
    )
    expected = evaluate(cropped)
    for name in ("pixel_auroc", "pixel_ap", "aupro", "aupro_005", "aupro_paper", "n_regions"):
        assert getattr(found.metrics, name) == pytest.approx(getattr(expected, name), rel=1e-3), name
    assert found.calibration == 2
    assert "calibration version 2 ignores" in found.protocol
    assert plain.protocol.startswith("Raw scores. AUPRO")
