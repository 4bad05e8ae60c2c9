"""Masks are never taken for pictures, and never for those of another picture."""

import pytest

from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.data.layouts.masks import split_ending


def numbers(cls):
    """Good images, defects and masks of a class."""
    label = [s.label for s in cls.samples]
    return label.count(0), label.count(1), sum(len(s.masks) for s in cls.samples)


@pytest.mark.parametrize(
    ("good", "bad", "masks"),
    [
        ("normal", "abnormal", "mask"),
        ("OK", "NG", "MASK"),
        ("good", "defect", "Ground Truth"),
        ("IO", "NIO", "GT"),
        ("i.O.", "n.i.O.", "Labels"),
        ("良品", "不良品", "annotations"),
        ("defect-free", "defective", "seg"),
        ("non_defective", "defective", "Segmentation"),
        ("negative", "positive", "label"),
        ("正常", "异常", "ground-truth"),
    ],
)
def test_usual_names_in_any_case_and_spelling(tmp_path, write_picture, write_mask, good, bad, masks):
    for number in range(24):
        write_picture(f"own/{good}/{number:03d}.png")
    for number in range(6):
        write_picture(f"own/{bad}/{number + 100}.png")
        write_mask(f"own/{masks}/{number + 100}.png")
    (cls,) = find_classes(tmp_path / "own")
    assert numbers(cls) == (24, 6, 6) and cls.defect_types == (bad,)
    (remark,) = cls.remarks
    assert all(name in remark.message for name in (good, bad, masks, "--good NAME", "--masks NAME"))


def test_flat_folder_with_masks_beside_the_pictures(tmp_path, write_picture, write_mask):
    for number in range(30):
        write_picture(f"train/{10000 + number}.png")
        write_mask(f"train/{10000 + number}_GT.png", value=255 if number % 5 == 0 else 0)
    (cls,) = find_classes(tmp_path / "train")
    assert numbers(cls) == (24, 6, 6)
    assert examine([cls], image_size=12).ok


@pytest.mark.parametrize("place", ["test/mask", "test/Ground_Truth", "masks", "test/scratch/gt"])
def test_mask_folder_beside_or_inside_test_is_no_type_of_defect(mvtec, write_mask, place):
    inner = "" if place == "test/scratch/gt" else "scratch/"
    (mvtec / "bottle/ground_truth").rename(mvtec / "away")
    for number in range(2):
        (mvtec / "bottle/test/scratch").mkdir(exist_ok=True)
        source = mvtec / "bottle/test/broken" / f"{number:03d}.png"
        (mvtec / "bottle/test/scratch" / f"s{number}.png").write_bytes(source.read_bytes()[:-4] + b"more")
        write_mask(f"mvtec/bottle/{place}/{inner}s{number}_mask.png")
    (cls,) = find_classes(mvtec / "bottle")
    assert cls.defect_types == ("broken", "scratch", "stain")
    assert sum(s.mask_path is not None for s in cls.samples if s.defect_type == "scratch") == 2


@pytest.mark.parametrize(
    ("stem", "found"),
    [
        ("000_mask", ("000", "mask", False)),
        ("000-GT", ("000", "gt", False)),
        ("0576_label", ("0576", "label", False)),
        ("a.seg", ("a", "seg", False)),
        ("000_mask_2", ("000", "mask", True)),
        ("000_mask2", ("000", "mask", True)),
        ("x__gt", ("x_", "gt", False)),
        ("unmasked", ("unmasked", "", False)),
        ("mask", ("mask", "", False)),
    ],
)
def test_usual_endings(stem, found):
    assert split_ending(stem) == found


def test_numbered_masks_of_one_picture_are_united(tmp_path, write_picture, write_mask):
    for name in ("good/0.png", "good/1.png", "hole/7.png"):
        write_picture(f"own/{name}")
    for number in (1, 2):
        write_mask(f"own/masks/hole/7_mask_{number}.png")
    (cls,) = find_classes(tmp_path / "own")
    assert [p.name for s in cls.samples for p in s.masks] == ["7_mask_1.png", "7_mask_2.png"]


def test_one_mask_for_two_pictures_is_an_error_and_never_used(tmp_path, write_picture, write_mask):
    for number in range(20):
        write_picture(f"own/good/g{number}.png")
    for name in ("hole/000.png", "scratch/000.png", "scratch/001.png"):
        write_picture(f"own/{name}")
    for number in range(2):
        write_mask(f"own/masks/{number:03d}.png")
    (cls,) = find_classes(tmp_path / "own")
    masks = {s.path.parent.name + "/" + s.path.name: s.mask_path and s.mask_path.name for s in cls.samples if s.label}
    assert masks == {"hole/000.png": None, "scratch/000.png": None, "scratch/001.png": "001.png"}
    report = examine([cls], image_size=12)
    (finding,) = [f for f in report.findings if f.code == "mask-shared"]
    assert finding.severity == "error" and "hole/000.png and scratch/000.png" in finding.message and not report.ok


def test_masks_under_any_other_name_stop_the_training(tmp_path, write_picture, write_mask):
    for number in range(24):
        write_picture(f"own/good/{number:03d}.png")
    for number in range(6):
        write_picture(f"own/hole/{number:03d}.png")
        write_mask(f"own/zones/{number:03d}.png")
    (cls,) = find_classes(tmp_path / "own")
    report = examine([cls], image_size=12)
    (finding,) = [f for f in report.findings if f.code == "mask-as-picture"]
    assert (finding.severity, finding.count, finding.asks) == ("error", 6, True) and "--masks NAME" in finding.message
    (told,) = find_classes(tmp_path / "own", layout="folder?masks=zones")
    assert numbers(told) == (24, 6, 6)
    # what the class records opens it again in the same way
    assert find_classes(tmp_path / "own", layout=told.layout)[0].samples == told.samples


def test_names_that_begin_with_a_good_word_are_good_and_own_output_is_left_out(tmp_path, write_picture):
    for folder, count in (("normal", 12), ("normal_test", 6), ("good_2", 2), ("hole", 3), ("results", 3)):
        for number in range(count):
            write_picture(f"own/{folder}/{folder}{number}.png")
    (tmp_path / "own/results/hole0_map.npy").touch()
    (cls,) = find_classes(tmp_path / "own")
    assert numbers(cls) == (20, 3, 0) and cls.defect_types == ("hole",)
    messages = " ".join(r.message for r in cls.remarks)
    assert "as good parts: good_2, normal, normal_test; as types of defect: hole" in messages
    (finding,) = [f for f in examine([cls], image_size=12).findings if f.code == "own-output"]
    assert finding.severity == "note" and finding.message.startswith("3 images that this program wrote")


def test_pictures_in_a_folder_named_like_masks_are_named(mvtec, write_picture):
    for number in range(2):  # a type of defect, and numbers that other types have too
        write_picture(f"mvtec/bottle/test/label/{number:03d}.png", size=(40, 40))
    (cls,) = find_classes(mvtec / "bottle")
    assert "label" not in cls.defect_types
    (finding,) = [f for f in examine([cls], image_size=12).findings if f.code == "picture-as-mask"]
    assert (finding.severity, finding.count) == ("warning", 2) and "Rename the folder" in finding.message


def test_folders_beside_pictures_of_a_flat_folder_are_not_read_but_counted(tmp_path, write_picture):
    for number in range(4):
        write_picture(f"flat/{number}.png")
        write_picture(f"flat/scratched/{number}.png")
    (cls,) = find_classes(tmp_path / "flat")
    assert numbers(cls) == (4, 0, 0)
    (finding,) = [f for f in examine([cls], image_size=12).findings if f.code == "unused-images"]
    assert "4 images not used: 4 in scratched" in finding.message


def test_good_names_that_a_user_says_are_the_only_ones(tmp_path, write_picture):
    for folder in ("serie_a", "ok_but_late", "riss"):
        for number in range(2):
            write_picture(f"own/{folder}/{folder}{number}.png")
    (cls,) = find_classes(tmp_path / "own", layout="auto?good=serie_a")
    assert cls.defect_types == ("ok_but_late", "riss")


def test_images_that_stand_for_no_sample_are_counted_with_an_example(mvtec, write_picture):
    for number in range(14):
        write_picture(f"mvtec/bottle/test_extra/day1/{number}.png")
    (cls,) = find_classes(mvtec / "bottle")
    (finding,) = [f for f in examine([cls], image_size=12).findings if f.code == "unused-images"]
    assert finding.count == 14
    assert "14 images not used: 14 in test_extra/day1, such as test_extra/day1/0.png." in finding.message
