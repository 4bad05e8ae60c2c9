"""Published data sets, each drawn in the exact layout of its authors."""

import json
from collections import Counter

import pytest

from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.data.masks import read_sample_mask
from skrd4ad.errors import LayoutError
from tests.data.published_trees import TREES, Tree

SPLIT = "realiad_jsons/realiad_jsons/audiojack.json"


def counts(cls):
    """Images to learn from, held out, good and defective ones to test on, and masks."""
    held_out = sum(s.held_out for s in cls.train)
    good = sum(s.label == 0 for s in cls.test)
    return len(cls.train) - held_out, held_out, good, len(cls.test) - good, sum(len(s.masks) for s in cls.samples)


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.layout)
def test_layout_is_found_and_read_as_published(tmp_path, tree: Tree):
    root = tree.draw(tmp_path)
    named = find_classes(root, layout=tree.layout)
    assert {cls.name: counts(cls) for cls in named} == tree.counts
    if tree.found:
        assert find_classes(root) == named
    report = examine(named, image_size=64)
    assert [f.code for f in report.findings if f.severity == "error"] == []
    assert {f.code for f in report.findings if f.severity == "warning"} <= {"few-train", *tree.warnings}


def drawn(name, root):
    return next(tree for tree in TREES if tree.layout == name).draw(root)


def test_loco_unites_masks_and_names_its_types_of_defect(tmp_path):
    (cls,) = find_classes(drawn("mvtec-loco", tmp_path))
    assert cls.defect_types == ("logical_anomalies", "structural_anomalies")
    two = next(s for s in cls.samples if len(s.masks) == 2)
    reading = read_sample_mask(two)
    assert set(reading.classes) == {"missing_bolt", "extra_bolt"}
    assert int(reading.defect.sum()) == 2 * 36


def test_damaged_defects_config_is_refused(tmp_path):
    root = drawn("mvtec-loco", tmp_path)
    next(root.rglob("defects_config.json")).write_text(json.dumps([{"defect_name": "x"}]))
    with pytest.raises(LayoutError, match="pixel_value"):
        find_classes(root)


def test_private_images_of_ad2_are_named_with_what_to_do(tmp_path):
    (cls,) = find_classes(drawn("mvtec-ad2", tmp_path))
    (remark,) = [r for r in cls.remarks if r.code == "private-test"]
    assert len(remark.paths) == 4 and "--ad2-submission" in remark.message


def test_channels_beside_rgb_are_named_and_not_read(tmp_path):
    (cls,) = find_classes(drawn("mvtec-3d", tmp_path))
    assert {s.path.parent.name for s in cls.samples} == {"rgb"}
    (finding,) = [f for f in examine([cls], image_size=64).findings if f.code == "other-channels"]
    assert finding.severity == "note" and finding.count == 12


def test_real_iad_names_its_views(tmp_path):
    (cls,) = find_classes(drawn("real-iad", tmp_path))
    assert "C1, C2" in cls.note
    assert Counter(s.defect_type for s in cls.test) == {"good": 2, "HS": 4}


def test_kolektor_sdd_keeps_each_item_on_one_side(tmp_path):
    (cls,) = find_classes(drawn("kolektor-sdd", tmp_path))
    sides = {
        split: {s.path.parent for s in cls.samples if s.split == split and s.label == 0} for split in ("train", "test")
    }
    assert not sides["train"] & sides["test"]


def test_defects_in_the_train_part_of_a_published_set_are_named_and_not_used(tmp_path):
    (cls,) = find_classes(drawn("kolektor-sdd2", tmp_path))
    (remark,) = [r for r in cls.remarks if r.code == "train-defects"]
    assert remark.message == "2 defects in train: not used; training takes good parts only."


@pytest.mark.parametrize(
    "damage", ['{"meta": {}}', "no json", '{"meta": {"normal_class": "OK"}, "train": [{}], "test": []}']
)
def test_damaged_split_of_real_iad_is_refused(tmp_path, damage):
    root = drawn("real-iad", tmp_path)
    (root / SPLIT).write_text(damage)
    with pytest.raises(LayoutError, match=r"meta\.normal_class"):
        find_classes(root, layout="real-iad")


def test_split_of_real_iad_that_leads_out_of_its_folder_is_refused(tmp_path):
    root = drawn("real-iad", tmp_path)
    path = root / SPLIT
    path.write_text(path.read_text().replace("OK/S0001/", "../../../"))
    with pytest.raises(LayoutError, match="is no path inside"):
        find_classes(root, layout="real-iad")
