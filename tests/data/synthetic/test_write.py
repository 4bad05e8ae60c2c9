"""The synthetic classes: exact masks, the same images everywhere, and a folder that is never half written."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from skrd4ad.data.synthetic import write as synthetic
from skrd4ad.data.synthetic.write import SYNTHETIC_CLASSES, TOLERANCE, render, synthetic_classes, write_synthetic
from skrd4ad.errors import DataError
from skrd4ad.task import QUIET, Task

SIZE = 128
GOLDEN = Path(__file__).parents[2] / "golden" / "synthetic.txt"
"""Files of a small set and the beginnings of their SHA-256."""
EVERY_DEFECT = [(name, defect) for name, defects in SYNTHETIC_CLASSES.items() for defect in defects]
TINY = {"classes": ["machined_disc"], "train": 2, "test_good": 1, "per_defect": 1, "size": 64}


def snapshot(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_there_are_three_classes_with_three_defect_types_or_more():
    assert len(SYNTHETIC_CLASSES) >= 3
    assert all(len(defects) >= 3 for defects in SYNTHETIC_CLASSES.values())


@pytest.mark.parametrize(("name", "defect"), EVERY_DEFECT)
def test_mask_is_exactly_what_the_defect_changed(name, defect):
    for index in range(3):
        image, mask = render(name, index=index, split="test", defect_type=defect, size=SIZE)
        good, empty = render(name, index=index, split="test", size=SIZE)
        difference = np.abs(image.astype(int) - good.astype(int)).max(axis=2)
        np.testing.assert_array_equal(mask, difference > TOLERANCE)
        assert not empty.any()
        assert (image.shape, image.dtype, mask.shape, mask.dtype) == ((SIZE, SIZE, 3), np.uint8, (SIZE, SIZE), bool)


@pytest.mark.parametrize(("name", "defect"), EVERY_DEFECT)
def test_defects_are_visible_and_in_one_place(name, defect):
    for index in range(4):
        _, mask = render(name, index=index, split="test", defect_type=defect, size=SIZE)
        assert SIZE * SIZE / 3000 <= mask.sum() < 0.25 * mask.size
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        assert 1 <= count - 1 <= 4
        assert stats[1:, cv2.CC_STAT_AREA].min() >= synthetic.SMALLEST_REGION


@pytest.mark.parametrize(("name", "defect"), EVERY_DEFECT)
def test_defects_of_a_type_differ(name, defect):
    masks = [render(name, index=i, split="test", defect_type=defect, size=SIZE)[1] for i in range(4)]
    assert len({m.tobytes() for m in masks}) == 4
    assert len({int(m.sum()) for m in masks}) > 1


@pytest.mark.parametrize("name", SYNTHETIC_CLASSES)
def test_parts_differ_by_index_split_and_seed(name):
    keys = [(0, "train", 0), (1, "train", 0), (0, "test", 0), (0, "train", 1)]
    images = [render(name, index=i, split=split, seed=seed, size=SIZE)[0].astype(int) for i, split, seed in keys]
    for number, one in enumerate(images):
        for other in images[number + 1 :]:
            assert np.abs(one - other).mean() > 1.5


@pytest.mark.parametrize("name", SYNTHETIC_CLASSES)
def test_good_parts_are_well_exposed(name):
    image, _ = render(name, index=5, split="train")
    assert image.shape == (256, 256, 3)
    assert 50 < image.mean() < 190
    assert (image == 255).mean() < 0.05


DRAW_ALL = (
    "import hashlib, sys, pathlib; from skrd4ad.data.synthetic.write import write_synthetic; "
    "root = pathlib.Path(sys.argv[1]); "
    "write_synthetic(root, train=2, test_good=1, per_defect=1, size=64, seed=3); "
    "files = sorted(p for p in root.rglob('*.png')); "
    "[print(p.relative_to(root).as_posix(), hashlib.sha256(p.read_bytes()).hexdigest()[:16]) for p in files]"
)
"""Draws a few images of every class and type, and prints the digest of each file."""


def drawn_by_a_process(folder, **environment):
    run = subprocess.run(
        [sys.executable, "-c", DRAW_ALL, str(folder)],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split() for line in run.stdout.splitlines())


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONHASHSEED": "1"},
        # what processors without wide vector units compute with: other roundings of the last bits
        {
            "PYTHONHASHSEED": "2",
            "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
            "OPENCV_CPU_DISABLE": "AVX,AVX2,FMA3,AVX512-SKX",
            "OPENBLAS_CORETYPE": "Prescott",
        },
    ],
    ids=["as it is", "without vector units"],
)
def test_files_are_the_same_byte_for_byte_on_every_machine(tmp_path, environment):
    golden = dict(line.split() for line in GOLDEN.read_text().splitlines())
    assert len(golden) == 2 * 3 + 3 + 2 * 12
    assert drawn_by_a_process(tmp_path / "set", **environment) == golden


@pytest.mark.parametrize("shape", [(64, 64), (64, 48, 3), (200, 200, 3)])
def test_a_png_that_is_not_compressed_is_read_by_others(tmp_path, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    synthetic._write_png(tmp_path / "x.png", pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "x.png")), pixels)
    read = cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., ::-1], pixels)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"class_name": "gear"}, "'gear'; allowed: machined_disc"),
        ({"defect_type": "hole"}, "'hole'; allowed: good, dent"),
        ({"split": "validation"}, "'validation'; allowed: train, test"),
        ({"size": 32}, "size 32 .* from 64 to 1024"),
        ({"size": 2048}, "size 2048"),
        ({"index": -1}, "Index -1"),
    ],
)
def test_render_says_what_is_allowed(wrong, complaint):
    right = {"class_name": "machined_disc", "index": 0, "split": "test", "size": 64}
    with pytest.raises(DataError, match=complaint):
        render(**(right | wrong))


def test_folder_has_the_mvtec_layout(tmp_path):
    root = tmp_path / "set"
    (cls,) = write_synthetic(root, **(TINY | {"per_defect": 2}))
    files = {name for name in snapshot(root) if name.endswith(".png")}
    expected = {f"train/good/{n:03d}.png" for n in range(2)} | {"test/good/000.png"}
    for defect in SYNTHETIC_CLASSES["machined_disc"]:
        for n in range(2):
            expected |= {f"test/{defect}/{n:03d}.png", f"ground_truth/{defect}/{n:03d}_mask.png"}
    assert files == {f"machined_disc/{name}" for name in expected}

    assert (cls.dataset, cls.name, cls.layout, cls.licence) == ("synthetic", "machined_disc", "mvtec", "MIT")
    assert "synthetic" in cls.note
    assert cls.defect_types == SYNTHETIC_CLASSES["machined_disc"]
    assert (len(cls.train), len(cls.test)) == (2, 9)
    assert all((s.mask_path is not None) == (s.label == 1) for s in cls.samples)


def test_files_hold_what_render_draws(tmp_path):
    (cls,) = write_synthetic(tmp_path, **TINY)
    first = next(s for s in cls.test if s.defect_type == "dent")
    # the defects follow the good parts of the test set, so that no part is seen twice
    image, mask = render("machined_disc", index=1, split="test", defect_type="dent", size=64)
    np.testing.assert_array_equal(cv2.imread(str(first.path), cv2.IMREAD_COLOR)[..., ::-1], image)
    stored = cv2.imread(str(first.mask_path), cv2.IMREAD_UNCHANGED)
    assert stored.ndim == 2
    np.testing.assert_array_equal(stored, mask * 255)


def test_no_two_images_are_alike(tmp_path):
    write_synthetic(tmp_path, **TINY)
    images = [data for name, data in snapshot(tmp_path).items() if "ground_truth" not in name]
    assert len(set(images)) == len(images)


def test_writing_twice_gives_the_same_bytes(tmp_path):
    write_synthetic(tmp_path / "a", **TINY)
    write_synthetic(tmp_path / "b", **TINY)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


def test_own_folder_is_replaced(tmp_path):
    write_synthetic(tmp_path / "set", **TINY)
    (cls,) = write_synthetic(tmp_path / "set", **(TINY | {"train": 1, "classes": ["woven_fabric"]}))
    assert (cls.name, len(cls.train)) == ("woven_fabric", 1)
    assert [p.name for p in (tmp_path / "set").iterdir() if p.is_dir()] == ["woven_fabric"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        write_synthetic(tmp_path, **TINY)
    assert snapshot(tmp_path) == {"thesis.txt": b"mine"}


def test_file_in_place_of_the_folder_is_left_alone(tmp_path):
    (tmp_path / "set").write_text("mine")
    with pytest.raises(DataError, match="is a file"):
        write_synthetic(tmp_path / "set", **TINY)


def test_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_synthetic(tmp_path / "file" / "set", **TINY)


@pytest.mark.parametrize("wrong", [{"train": 0}, {"per_defect": -1}, {"test_good": -1}, {"classes": []}])
def test_counts_are_checked(tmp_path, wrong):
    with pytest.raises(DataError, match="Nothing to draw"):
        write_synthetic(tmp_path / "set", **(TINY | wrong))
    assert not (tmp_path / "set").exists()


def test_interrupted_write_leaves_nothing_and_is_redone(tmp_path):
    def stop(at):
        if at.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", **TINY, task=Task(show=stop))
    assert list(tmp_path.iterdir()) == []
    assert write_synthetic(tmp_path / "set", **TINY)


def test_interrupted_rewrite_keeps_what_was_there(tmp_path):
    def stop(at):
        raise KeyboardInterrupt

    write_synthetic(tmp_path / "set", **TINY)
    before = snapshot(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "set", **TINY, seed=1, task=Task(show=stop))
    assert snapshot(tmp_path) == before


def test_progress_counts_images(tmp_path):
    calls = []
    write_synthetic(tmp_path / "set", **TINY, task=Task(show=lambda at: calls.append((at.done, at.total))))
    assert calls == [(n, 7) for n in range(1, 8)]


@pytest.fixture
def small_default(tmp_path, monkeypatch):
    """The default set, small; returns its folder and the list of times it was drawn."""
    drawn = []
    write = synthetic.write_synthetic

    def write_small(root, *, task=QUIET):
        drawn.append(root)
        return write(root, **TINY, task=task)

    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    monkeypatch.setattr(synthetic, "write_synthetic", write_small)
    return tmp_path / "datasets" / "synthetic", drawn


def test_default_set_is_drawn_once(small_default):
    root, drawn = small_default
    first, second = synthetic_classes(), synthetic_classes()
    assert drawn == [root]
    assert first == second
    assert first[0].dataset == "synthetic"
    assert first[0].root.parent == root


def test_default_set_of_another_version_is_drawn_again(small_default):
    root, drawn = small_default
    synthetic_classes()
    marker = root / synthetic.MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": synthetic.VERSION - 1}))
    synthetic_classes()
    assert drawn == [root, root]
    assert json.loads(marker.read_text())["version"] == synthetic.VERSION


@pytest.mark.parametrize("content", ["", "[]", '{"version": "x"}', "no json"])
def test_damaged_marker_is_not_taken_for_ours(tmp_path, content):
    (tmp_path / synthetic.MARKER).write_text(content)
    with pytest.raises(DataError, match="not empty"):
        write_synthetic(tmp_path, **TINY)


def test_defect_that_cannot_be_seen_is_drawn_elsewhere(monkeypatch):
    paint = synthetic._PAINTERS["machined_disc"]
    first = []

    def hidden_at_first(part, flaw, defect_type, side):
        if defect_type != "good" and not first:
            first.append(defect_type)
            return paint(part, flaw, "good", side)
        return paint(part, flaw, defect_type, side)

    monkeypatch.setitem(synthetic._PAINTERS, "machined_disc", hidden_at_first)
    _, mask = render("machined_disc", index=0, split="test", defect_type="stain", size=64)
    assert first == ["stain"]
    assert mask.any()
