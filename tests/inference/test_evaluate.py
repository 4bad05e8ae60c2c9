import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skrd4ad.documents import to_plain
from skrd4ad.errors import DataError, ImageError, TrainingCancelled
from skrd4ad.inference.evaluate import evaluate_model, score_samples
from skrd4ad.inference.maps import Maps
from skrd4ad.inference.predict import Predictor
from skrd4ad.metrics.ranking import auroc
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass

CONTRACT = {
    "image_auroc",
    "pixel_auroc",
    "aupro",
    "aupro_005",
    "aupro_paper",
    "image_ap",
    "image_f1_max",
    "pixel_ap",
    "pixel_f1_max",
    "by_defect",
    "n_good",
    "n_defect",
}
PIXEL = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupro_005", "aupro_paper")


def without_masks(data: DatasetClass) -> DatasetClass:
    return replace(data, samples=tuple(replace(s, mask_path=None) for s in data.samples))


def test_the_json_form_holds_the_keys_of_the_contract(predictor: Predictor, disc: DatasetClass) -> None:
    found = evaluate_model(predictor, disc)
    values = to_plain(found.metrics) | {"by_defect": to_plain(found.by_defect)}
    assert set(values) >= CONTRACT
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert (values["n_good"], values["n_defect"]) == (4, 8)
    assert all(0 <= values[name] <= 1 for name in CONTRACT - {"by_defect", "n_good", "n_defect"})
    assert found.test_selected is False
    assert found.protocol.startswith("Raw scores. AUPRO: pooled test set")
    assert found.protocol.endswith("Nothing was fitted on test images.")


def test_every_defect_type_is_measured_against_all_good_images(predictor: Predictor, disc: DatasetClass) -> None:
    found = evaluate_model(predictor, disc)
    assert tuple(found.by_defect) == disc.defect_types
    for name, metrics in found.by_defect.items():
        assert (metrics.n_good, metrics.n_defect) == (4, 2)
        chosen = np.array([s.label == 0 or s.defect_type == name for s in disc.test])
        assert metrics.image_auroc == auroc(found.data.labels[chosen], found.data.scores[chosen])


def test_scores_and_maps_are_in_the_order_of_the_samples(predictor: Predictor, disc: DatasetClass) -> None:
    order = np.random.default_rng(2).permutation(len(disc.test))
    shuffled = replace(disc, samples=tuple(disc.test[place] for place in order))
    plain, mixed = evaluate_model(predictor, disc), evaluate_model(predictor, shuffled)
    assert mixed.samples == shuffled.samples
    assert mixed.data.scores == pytest.approx(plain.data.scores[order], rel=1e-5)
    assert mixed.data.maps is not None
    assert plain.data.maps is not None
    assert mixed.data.maps == pytest.approx(plain.data.maps[order], abs=1e-5)
    assert np.array_equal(mixed.data.labels, plain.data.labels[order])


def test_more_images_than_a_batch_are_all_scored(predictor: Predictor, disc: DatasetClass) -> None:
    samples = disc.test * 3  # 36: two batches and a part
    seen: list[tuple[int, int]] = []
    found = score_samples(predictor, samples, task=Task(show=lambda at: seen.append((at.done, at.total))))
    assert found.scores == pytest.approx(np.tile(found.scores[: len(disc.test)], 3), rel=1e-5)
    assert np.array_equal(found.maps.max(axis=(1, 2)), found.scores)
    assert np.array_equal(found.verdict_scores, found.scores)
    assert seen == [(done, 36) for done in range(1, 37)]


def test_without_masks_only_the_image_metrics_are_there(predictor: Predictor, disc: DatasetClass) -> None:
    found = evaluate_model(predictor, without_masks(disc))
    with_masks = evaluate_model(predictor, disc)
    assert all(getattr(found.metrics, name) is None for name in PIXEL)
    assert found.metrics.image_auroc == with_masks.metrics.image_auroc
    assert found.data.masks is None


@pytest.mark.parametrize("label", [0, 1])
def test_a_test_set_of_one_class_has_no_ranking(predictor: Predictor, disc: DatasetClass, label: int) -> None:
    found = evaluate_model(predictor, replace(disc, samples=tuple(s for s in disc.test if s.label == label)))
    assert found.metrics.image_auroc is None
    assert found.metrics.n_good + found.metrics.n_defect == len(found.samples)
    json.dumps(to_plain(found.metrics), allow_nan=False)


def test_constant_maps_rank_like_a_coin(predictor: Predictor, disc: DatasetClass) -> None:
    class Constant(Predictor):
        def batch(self, images: Any) -> Maps:
            n = len(images)
            return Maps(
                levels=np.ones((n, 3, 64, 64), np.float32),
                maps=np.full((n, 64, 64), 3, np.float32),
                scores=np.full(n, 3, np.float32),
                embeddings=np.zeros((n, 320), np.float32),
            )

    found = evaluate_model(Constant(predictor.model, predictor.info), disc)
    assert found.metrics.image_auroc == pytest.approx(0.5)
    assert found.metrics.pixel_auroc == pytest.approx(0.5)
    json.dumps(to_plain(found.metrics), allow_nan=False)


def test_a_label_comes_from_the_folder_and_not_from_the_mask(
    predictor: Predictor, disc: DatasetClass, tmp_path: Path
) -> None:
    empty = tmp_path / "empty_mask.png"
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(empty)
    blanked = replace(disc, samples=tuple(replace(s, mask_path=empty) if s.label else s for s in disc.samples))
    found = evaluate_model(predictor, blanked)
    assert found.data.labels.tolist() == [s.label for s in disc.test]
    assert found.metrics.n_defect == 8
    assert found.metrics.image_auroc == evaluate_model(predictor, disc).metrics.image_auroc
    assert found.vanished == ()  # nothing was there to vanish


@pytest.mark.parametrize("outside", [False, True])
def test_a_mask_that_vanishes_at_the_models_size_is_reported(
    predictor: Predictor, disc: DatasetClass, tmp_path: Path, outside: bool
) -> None:
    speck = np.zeros((1024, 1024), np.uint8)
    speck[500, 500] = 255
    speck_path = tmp_path / "speck.png"
    Image.fromarray(speck).save(speck_path)
    defect = next(s for s in disc.test if s.label == 1)
    samples = tuple(replace(s, mask_path=speck_path) if s == defect else s for s in disc.samples)
    root = tmp_path if outside else disc.root
    found = evaluate_model(predictor, replace(disc, samples=samples, root=root))
    named = defect.path if outside else defect.path.relative_to(disc.root)
    assert found.vanished == (str(named),)
    assert found.vanished_regions == 1


def test_a_class_without_test_images_is_refused_with_what_is_needed(predictor: Predictor, disc: DatasetClass) -> None:
    with pytest.raises(DataError, match="no test images; evaluation needs images in test/good"):
        evaluate_model(predictor, replace(disc, samples=disc.train))


def test_an_unreadable_image_is_named(predictor: Predictor, disc: DatasetClass, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    samples = (*disc.test[1:], replace(disc.test[0], path=broken))
    with pytest.raises(ImageError, match=r"broken\.png"):
        evaluate_model(predictor, replace(disc, samples=samples))


def test_the_check_may_stop_an_evaluation(predictor: Predictor, disc: DatasetClass) -> None:
    def stop() -> None:
        raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        evaluate_model(predictor, disc, task=Task(check=stop))


def test_maps_and_masks_above_the_budget_give_the_same_figures(
    predictor: Predictor, disc: DatasetClass, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluate_model(predictor, disc)
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    monkeypatch.setenv("SKRD4AD_CACHE_MB", "0")
    found = evaluate_model(predictor, disc)
    assert isinstance(found.data.maps, np.memmap)
    assert isinstance(found.data.masks, np.memmap)
    assert found.metrics == expected.metrics
    assert found.by_defect == expected.by_defect
