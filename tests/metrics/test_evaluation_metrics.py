"""All metrics of a test set: which images enter which figure."""

import json
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from sklearn import metrics as reference

from skrd4ad.errors import DataError
from skrd4ad.metrics.aupro import aupro, pool_pixels
from skrd4ad.metrics.aupro_paper import aupro_paper_protocol
from skrd4ad.metrics.evaluation import Metrics, by_defect_type, evaluate
from skrd4ad.types import EvaluationSet

PIXEL_FIGURES = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "aupro", "aupro_005", "aupro_paper")
TYPES = ("good", "scratch", "good", "hole", "scratch", "good", "hole")


@pytest.fixture
def data() -> EvaluationSet:
    """Three good images, two scratches, two holes of which the second has no mask."""
    rng = np.random.default_rng(5)
    labels = np.array([int(name != "good") for name in TYPES], np.int64)
    masks = np.zeros((7, 20, 20), bool)
    masks[1, 3:6, 2:15] = masks[3, 8:12, 8:12] = masks[4, 1, :] = masks[4, 15:17, 4:9] = True
    maps = (rng.normal(size=masks.shape) + 1.5 * masks).astype(np.float32)
    return EvaluationSet(
        labels=labels,
        scores=(labels + rng.normal(size=7)).astype(np.float32),
        defect_types=TYPES,
        maps=maps,
        masks=masks,
        has_mask=np.array([True] * 6 + [False]),
    )


def test_every_figure_is_that_of_its_own_function(data):
    metrics = evaluate(data)
    maps, masks = data.maps[:6], data.masks[:6]
    assert metrics.image_auroc == pytest.approx(reference.roc_auc_score(data.labels, data.scores))
    assert metrics.image_ap == pytest.approx(reference.average_precision_score(data.labels, data.scores))
    f1 = max(reference.f1_score(data.labels, data.scores >= t) for t in data.scores)
    assert metrics.image_f1_max == pytest.approx(f1)
    assert metrics.pixel_auroc == pytest.approx(reference.roc_auc_score(masks.ravel(), maps.ravel()))
    assert metrics.pixel_ap == pytest.approx(reference.average_precision_score(masks.ravel(), maps.ravel()))
    precision, recall, _ = reference.precision_recall_curve(masks.ravel(), maps.ravel())
    assert metrics.pixel_f1_max == pytest.approx(np.max(2 * precision * recall / (precision + recall)))
    pool = pool_pixels(maps, masks)
    assert metrics.aupro == aupro(pool, fpr_limit=0.3)
    assert metrics.aupro_005 == aupro(pool, fpr_limit=0.05)
    assert metrics.aupro_paper == aupro_paper_protocol(maps, masks)
    assert len({metrics.aupro, metrics.aupro_005, metrics.aupro_paper}) == 3


def test_images_masks_and_regions_are_counted(data):
    metrics = evaluate(data)
    assert (metrics.n_good, metrics.n_defect, metrics.n_masks, metrics.n_regions) == (3, 4, 3, 4)


def test_each_defect_type_is_measured_against_all_good_images(data):
    types = by_defect_type(data)
    assert list(types) == ["hole", "scratch"]
    keep = [0, 2, 5, 1, 4]
    expected = EvaluationSet(
        labels=data.labels[keep],
        scores=data.scores[keep],
        defect_types=tuple(TYPES[i] for i in keep),
        maps=data.maps[keep],
        masks=data.masks[keep],
        has_mask=data.has_mask[keep],
    )
    assert asdict(types["scratch"]) == pytest.approx(asdict(evaluate(expected)))
    assert (types["hole"].n_good, types["hole"].n_defect, types["hole"].n_masks) == (3, 2, 1)


def test_a_defect_whose_folder_is_called_good_by_mistake_does_not_double_the_good_images(data):
    odd = replace(data, defect_types=("good", "good", *TYPES[2:]))
    assert by_defect_type(odd)["good"].n_good == 3
    assert by_defect_type(odd)["good"].n_defect == 1


@pytest.mark.parametrize("missing", ["maps", "masks", "flags"])
def test_without_maps_or_masks_only_image_figures_remain(data, missing):
    change = {"has_mask": data.labels == 0} if missing == "flags" else {missing: None}
    metrics = evaluate(replace(data, **change))
    assert all(getattr(metrics, name) is None for name in PIXEL_FIGURES)
    assert metrics.image_auroc == evaluate(data).image_auroc
    assert (metrics.n_masks, metrics.n_regions) == (3 if missing == "maps" else 0, 0)


def test_flags_may_be_absent_when_there_are_no_masks(data):
    bare = EvaluationSet(labels=data.labels, scores=data.scores, defect_types=data.defect_types)
    assert evaluate(bare).n_masks == 0
    assert set(by_defect_type(bare)) == {"hole", "scratch"}


@pytest.mark.parametrize("label", [0, 1])
def test_a_test_set_of_one_class_gives_none_and_no_error(data, label):
    keep = np.flatnonzero(data.labels == label)
    one = EvaluationSet(
        labels=data.labels[keep],
        scores=data.scores[keep],
        defect_types=tuple(TYPES[i] for i in keep),
        maps=data.maps[keep],
        masks=data.masks[keep],
        has_mask=data.has_mask[keep],
    )
    metrics = evaluate(one)
    assert (metrics.image_auroc, metrics.image_ap, metrics.image_f1_max) == (None, None, None)
    assert (metrics.aupro is None) == (label == 0)
    assert len(by_defect_type(one)) == 2 * label


def test_an_empty_test_set_gives_none(data):
    empty = EvaluationSet(labels=np.zeros(0, np.int64), scores=np.zeros(0, np.float32), defect_types=())
    assert evaluate(empty).image_auroc is None
    assert by_defect_type(empty) == {}


def test_constant_maps_are_measured(data):
    metrics = evaluate(replace(data, maps=np.ones_like(data.maps)))
    assert metrics.pixel_auroc == 0.5
    assert metrics.aupro == pytest.approx(0.15)
    assert metrics.aupro_paper is None


def test_a_mask_that_vanished_leaves_its_image_in_the_pool_without_a_region(data):
    masks = data.masks.copy()
    masks[3] = False
    metrics = evaluate(replace(data, masks=masks))
    assert (metrics.n_masks, metrics.n_regions) == (3, 3)


def test_the_dictionary_is_json_and_holds_every_field(data):
    values = asdict(evaluate(data))
    assert list(values) == [f.name for f in fields(Metrics)]
    assert json.loads(json.dumps(values)) == values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(6, np.float32)}, "7 labels but 6 scores"),
        ({"defect_types": ("good",)}, "1 defect types"),
        ({"maps": np.zeros((2, 20, 20), np.float32)}, "2 maps"),
        ({"has_mask": np.zeros(0, bool)}, "0 flags of labelled pixels"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(data, change, message):
    for measure in (evaluate, by_defect_type):
        with pytest.raises(DataError, match=message):
            measure(replace(data, **change))
