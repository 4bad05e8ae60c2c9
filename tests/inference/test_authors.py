"""Metrics as the authors of a data set define them, beside this program's own."""

from dataclasses import replace

import numpy as np
import pytest

from skrd4ad.data.dataset import load_masks
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.inference.authors import AUPRO_005, SEG_F1, SPRO, authors_metrics, seg_f1
from skrd4ad.metrics.evaluation import by_mask_class, evaluate
from skrd4ad.metrics.spro import SaturatedRegion, au_spro
from skrd4ad.model_folder.calibration import calibrate
from skrd4ad.types import EvaluationSet
from tests.data.published_trees import SIDE, TREES


@pytest.fixture
def measured(tmp_path):
    """``measured("mvtec-loco")``: class, samples and an evaluation set with drawn maps."""

    def make(layout, **hints):
        tree = next(tree for tree in TREES if tree.layout == layout)
        told = "&".join(f"{name}={value}" for name, value in hints.items())
        (data,) = find_classes(tree.draw(tmp_path), layout=f"{layout}?{told}" if told else layout)
        masks = load_masks(data.test, SIDE)
        maps = np.random.default_rng(1).random((len(data.test), SIDE, SIDE)).astype(np.float32)
        maps += np.float32(0.4) * masks.masks
        collected = EvaluationSet(
            labels=np.array([s.label for s in data.test]),
            scores=maps.max(axis=(1, 2)),
            defect_types=tuple(s.defect_type for s in data.test),
            maps=maps,
            masks=masks.masks,
            has_mask=masks.has_mask,
            ignored=masks.ignored,
            mask_classes=masks.classes,
            class_of=masks.class_of,
        )
        return data, collected

    return make


def test_ad2_has_seg_f1_at_the_limit_of_good_images_and_aupro_005(measured):
    data, collected = measured("mvtec-ad2")
    calibration = replace(calibrate([0.9, 1.0, 1.1], data="3 images", who="test"), pixel_threshold=1.1)
    metrics = evaluate(collected)
    found = authors_metrics(data, data.test, collected, metrics, calibration=calibration)
    marked, defect = collected.maps > 1.1, collected.masks
    true_positive = (marked & defect).sum()
    f1 = 2 * true_positive / (2 * true_positive + (marked & ~defect).sum() + (~marked & defect).sum())
    assert found == {SEG_F1: pytest.approx(f1), AUPRO_005: metrics.aupro_005}
    # a limit that was chosen on test images is none of good images
    fitted = replace(calibration, test_fitted=True)
    assert set(authors_metrics(data, data.test, collected, metrics, calibration=fitted)) == {AUPRO_005}
    assert seg_f1(collected, threshold=9.0) == 0.0


def test_loco_has_the_saturated_overlap_of_both_kinds_and_their_mean(measured):
    data, collected = measured("mvtec-loco")
    found = authors_metrics(data, data.test, collected, evaluate(collected), calibration=None)
    expected = {}
    for kind, title in (("logical_anomalies", "logical"), ("structural_anomalies", "structural")):
        regions = []
        for index, sample in enumerate(data.test):
            for path in sample.masks if sample.defect_type == kind else ():
                at, saturation = (40, 18.0) if path.name == "001.png" else (10, 20.0)  # half of 36 pixels; 20 pixels
                mask = np.zeros((SIDE, SIDE), bool)
                mask[at : at + 6, at : at + 6] = True
                regions.append(SaturatedRegion(index, mask, saturation))
        labelled = (collected.labels == 0) | (np.array(collected.defect_types) == kind)
        expected[title] = au_spro(collected.maps, collected.masks, regions, labelled=labelled)
    assert found == {
        SPRO.format(", mean of both"): pytest.approx(np.mean(list(expected.values()))),
        **{SPRO.format(f", {title}"): pytest.approx(value) for title, value in expected.items()},
    }


def test_other_layouts_have_none(measured):
    data, collected = measured("mvtec")
    assert authors_metrics(data, data.test, collected, evaluate(collected), calibration=None) == {}


def test_classes_of_masks_are_measured_without_each_other(measured):
    data, collected = measured("mvtec-loco")
    assert set(collected.mask_classes) == {"missing_bolt", "extra_bolt"}
    found = by_mask_class(collected)
    extra = found["extra_bolt"]
    assert (extra.n_defect, extra.n_masks, extra.n_regions) == (1, 1, 1)
    # the only image with an extra bolt has a missing one too, whose pixels are neither good nor defect here
    index = next(i for i, s in enumerate(data.test) if len(s.masks) == 2)
    own = collected.class_of[index] == 1 + collected.mask_classes.index("extra_bolt")
    other = collected.masks[index] & ~own
    good = collected.maps[collected.labels == 0].ravel()
    negatives = np.concatenate([good, collected.maps[index][~own & ~other]])
    positives = collected.maps[index][own]
    auroc = (positives[:, None] > negatives).mean() + 0.5 * (positives[:, None] == negatives).mean()
    assert extra.pixel_auroc == pytest.approx(auroc)


def test_pixels_that_masks_ignore_enter_no_metric(measured):
    data, collected = measured("mvtec-loco", mask_values="254%3Dignore")
    index = next(i for i, s in enumerate(data.test) if len(s.masks) == 2)
    assert collected.ignored is not None and collected.ignored.sum() == collected.ignored[index].sum() == 36
    changed = collected.maps.copy()
    changed[collected.ignored] = 50.0
    assert evaluate(replace(collected, maps=changed)) == evaluate(collected)
