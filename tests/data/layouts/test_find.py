import shutil
from collections import Counter
from pathlib import Path

import pytest

from skrd4ad.data.layouts.find import LAYOUTS, find_classes
from skrd4ad.errors import LayoutError
from skrd4ad.types import DatasetClass


def counts(cls: DatasetClass) -> Counter:
    return Counter((s.split, s.label, s.defect_type) for s in cls.samples)


def masks(cls: DatasetClass) -> dict[str, str | None]:
    """Mask by image, relative to the class, of its defects."""
    return {
        s.path.relative_to(cls.root).as_posix(): s.mask_path and s.mask_path.relative_to(cls.root).as_posix()
        for s in cls.samples
        if s.label == 1
    }


BOTTLE = {("train", 0, "good"): 20, ("test", 0, "good"): 2, ("test", 1, "broken"): 2, ("test", 1, "stain"): 1}


@pytest.mark.parametrize("layout", ["auto", "mvtec", "visa-mvtec"])
def test_mvtec_classes_samples_and_masks(mvtec, layout):
    shutil.copytree(mvtec / "bottle", mvtec / "Cable")
    bottle, cable = sorted(find_classes(mvtec, layout=layout), key=lambda c: c.name.lower())
    read_as = "mvtec" if layout == "auto" else layout
    assert (bottle.dataset, bottle.name, bottle.layout, cable.name) == ("mvtec", "bottle", read_as, "Cable")
    assert counts(bottle) == counts(cable) == BOTTLE
    assert masks(bottle) == {
        "test/broken/000.png": "ground_truth/broken/000_mask.png",
        "test/broken/001.png": "ground_truth/broken/001_mask.png",
        "test/stain/000.png": "ground_truth/stain/000_mask.png",
    }
    assert bottle.defect_types == ("broken", "stain") and bottle.has_masks


def test_classes_are_sorted_by_name(mvtec):
    for name in ("zipper", "capsule"):
        shutil.copytree(mvtec / "bottle", mvtec / name)
    assert [c.name for c in find_classes(mvtec)] == ["bottle", "capsule", "zipper"]


def test_one_class_of_mvtec_is_named_after_its_folders(mvtec, monkeypatch):
    (cls,) = find_classes(mvtec / "bottle")
    assert (cls.dataset, cls.name, counts(cls)) == ("mvtec", "bottle", BOTTLE)
    monkeypatch.chdir(mvtec / "bottle" / "train")
    (relative,) = find_classes(Path(".."))
    assert relative == cls


def test_masks_are_paired_by_stem_whatever_suffix_ending_or_order(mvtec, write_mask):
    truth = mvtec / "bottle" / "ground_truth" / "broken"
    shutil.rmtree(truth)
    write_mask("mvtec/bottle/ground_truth/broken/001.PNG")
    write_mask("mvtec/bottle/ground_truth/broken/999_mask.png")
    (cls,) = find_classes(mvtec)
    assert masks(cls)["test/broken/001.png"] == "ground_truth/broken/001.PNG"
    assert masks(cls)["test/broken/000.png"] is None


@pytest.mark.parametrize("ending", ["_mask", ".mask", "-mask", "_MASK", ""])
def test_known_endings_of_masks(mvtec, write_mask, ending):
    (mvtec / "bottle/ground_truth/stain/000_mask.png").unlink()
    write_mask(f"mvtec/bottle/ground_truth/stain/000{ending}.bmp")
    (cls,) = find_classes(mvtec)
    assert masks(cls)["test/stain/000.png"] == f"ground_truth/stain/000{ending}.bmp"


def test_visa_conversion_with_upper_case_jpg_and_no_mask_ending(tmp_path, write_picture, write_mask):
    for folder in ("train/good", "test/good", "test/bad"):
        for number in range(2):
            write_picture(f"visa_pytorch/candle/{folder}/{number:04d}.JPG")
    write_mask("visa_pytorch/candle/ground_truth/bad/0001.png")
    (cls,) = find_classes(tmp_path / "visa_pytorch")
    assert counts(cls) == {("train", 0, "good"): 2, ("test", 0, "good"): 2, ("test", 1, "bad"): 2}
    assert masks(cls) == {"test/bad/0000.JPG": None, "test/bad/0001.JPG": "ground_truth/bad/0001.png"}


def test_every_suffix_letter_case_and_nested_folder_is_found_and_odd_files_are_not(mvtec, write_picture):
    good = mvtec / "bottle" / "train" / "good"
    for name in ("a.JPG", "b.Jpeg", "c.TIFF", "d.bmp", "e.webp"):
        write_picture(f"mvtec/bottle/train/good/{name}")
    (good / "notes.txt").touch()
    (good / "._000.png").touch()
    write_picture("mvtec/bottle/train/good/nested/x.png")
    write_picture("mvtec/__MACOSX/train/good/x.png")
    (cls,) = find_classes(mvtec)
    assert len(cls.train) == 26


def test_mvtec_class_without_masks(mvtec):
    shutil.rmtree(mvtec / "bottle" / "ground_truth")
    (cls,) = find_classes(mvtec)
    assert counts(cls) == BOTTLE and not cls.has_masks


@pytest.mark.parametrize("layout", ["auto", "visa"])
def test_visa_follows_its_split_file(visa, layout):
    candle, pcb = find_classes(visa, layout=layout)
    assert (candle.dataset, candle.name, pcb.name, pcb.layout) == ("VisA", "candle", "pcb1", "visa")
    assert counts(candle) == {("train", 0, "good"): 2, ("test", 0, "good"): 1, ("test", 1, "Anomaly"): 2}
    assert masks(pcb) == {f"Data/Images/Anomaly/00{n}.JPG": f"Data/Masks/Anomaly/00{n}.png" for n in range(2)}


def test_visa_finds_files_whose_suffix_differs_from_the_split_file_and_keeps_missing_ones(visa):
    images = visa / "candle" / "Data" / "Images"
    (images / "Normal" / "0000.JPG").rename(images / "Normal" / "0000.jpg")
    (images / "Normal" / "0001.JPG").unlink()
    candle, _ = find_classes(visa)
    assert [s.path.name for s in candle.train] == ["0000.jpg", "0001.JPG"]


def test_visa_mask_that_is_not_where_the_split_file_says_is_found_by_stem(visa):
    folder = visa / "candle" / "Data" / "Masks" / "Anomaly"
    (folder / "000.png").rename(folder / "000_mask.bmp")
    (folder / "001.png").unlink()
    candle, _ = find_classes(visa)
    assert masks(candle) == {
        "Data/Images/Anomaly/000.JPG": "Data/Masks/Anomaly/000_mask.bmp",
        "Data/Images/Anomaly/001.JPG": None,
    }


def test_visa_classes_that_were_not_downloaded_are_left_out(visa):
    shutil.rmtree(visa / "candle")
    assert [c.name for c in find_classes(visa)] == ["pcb1"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("object,split", "object,part", "missing: split"),
        (",train,normal", ",learn,normal", "line 2: split is 'learn'; allowed: train, test"),
        ("test,anomaly", "test,bad", "line 5: label is 'bad'; allowed: normal, anomaly"),
        ("candle/Data/Images/Normal/0000.JPG", "../secret.png", "line 2: image is '../secret.png'"),
        ("candle/Data/Images/Normal/0000.JPG", "/etc/secret.png", "line 2: image is '/etc/secret.png'"),
        ("candle,", "Candle,", "lists no images of candle"),
    ],
)
def test_damaged_visa_split_file_is_refused_with_the_place(visa, old, new, message):
    path = visa / "split_csv" / "1cls.csv"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(LayoutError) as error:
        find_classes(visa)
    assert message in str(error.value)


def test_visa_split_file_that_is_no_text_is_refused(visa):
    (visa / "split_csv" / "1cls.csv").write_bytes(b"\xff\xfe\x00\x01" * 9)
    with pytest.raises(LayoutError, match="cannot be read as CSV"):
        find_classes(visa)


def test_visa_without_split_file_or_given_one_class_says_what_to_give(visa):
    with pytest.raises(LayoutError, match=r"split_csv/1cls\.csv.*perhaps .*VisA\)"):
        find_classes(visa / "candle")
    (visa / "split_csv" / "1cls.csv").unlink()
    with pytest.raises(LayoutError, match=r"split_csv/1cls\.csv"):
        find_classes(visa)


@pytest.mark.parametrize("layout", ["auto", "vad"])
def test_vad_is_one_class_and_never_learns_from_bad(vad, layout):
    (cls,) = find_classes(vad, layout=layout)
    assert (cls.dataset, cls.name, cls.layout) == ("vad", "vad", "vad")
    assert counts(cls) == {("train", 0, "good"): 4, ("test", 0, "good"): 2, ("test", 1, "bad"): 3}
    assert [(r.severity, r.code, len(r.paths)) for r in cls.remarks] == [("note", "train-defects", 2)]


def test_train_with_bad_beside_masks_is_mvtec_and_not_vad(mvtec, write_picture):
    write_picture("mvtec/bottle/train/bad/x.png")
    (cls,) = find_classes(mvtec / "bottle")
    assert (cls.layout, counts(cls)) == ("mvtec", BOTTLE)


def test_own_folder_of_good_images_alone_is_all_train(tmp_path, write_picture):
    for number in range(5):
        write_picture(f"parts/{number}.png")
    (cls,) = find_classes(tmp_path / "parts")
    assert (cls.dataset, cls.name, cls.layout) == ("parts", "parts", "folder")
    assert counts(cls) == {("train", 0, "good"): 5}


@pytest.mark.parametrize("good", ["good", "OK", "Normal", "pass"])
def test_own_folder_with_defects_splits_good_images_by_name_alone(tmp_path, write_picture, good):
    for place in ("one", "two"):
        for number in range(20):
            write_picture(f"{place}/{good}/p{number}.png")
        write_picture(f"{place}/dent/x.png")
        write_picture(f"{place}/scratch/y.png")
    (one,) = find_classes(tmp_path / "one")
    (two,) = find_classes(tmp_path / "two")
    assert counts(one) == {
        ("train", 0, "good"): 16,
        ("test", 0, "good"): 4,
        ("test", 1, "dent"): 1,
        ("test", 1, "scratch"): 1,
    }
    assert [s.path.name for s in one.train] == [s.path.name for s in two.train]
    assert "80%" in one.note


def test_own_folder_with_few_good_images_keeps_one_on_each_side(tmp_path, write_picture):
    for name in ("good/a.png", "good/b.png", "bad/c.png"):
        write_picture(f"few/{name}")
    (cls,) = find_classes(tmp_path / "few")
    assert counts(cls) == {("train", 0, "good"): 1, ("test", 0, "good"): 1, ("test", 1, "bad"): 1}


def test_own_folder_with_a_good_folder_only_is_all_train(tmp_path, write_picture):
    for number in range(5):
        write_picture(f"only/good/{number}.png")
    (cls,) = find_classes(tmp_path / "only")
    assert counts(cls) == {("train", 0, "good"): 5}


@pytest.mark.parametrize(
    "place", ["ground_truth/dent/x_mask.png", "Masks/dent/x.png", "masks/x.png", "dent/x_mask.png"]
)
def test_own_folder_finds_masks_in_each_place(tmp_path, write_picture, write_mask, place):
    for name in ("good/a.png", "good/b.png", "dent/x.jpg", "dent/lonely_mask.png"):
        write_picture(f"own/{name}")
    write_mask(f"own/{place}")
    (cls,) = find_classes(tmp_path / "own")
    assert masks(cls) == {"dent/x.jpg": place, "dent/lonely_mask.png": None}


def test_masks_beside_good_images_are_no_images(tmp_path, write_picture, write_mask):
    for name in ("good/a.png", "good/b.png", "dent/x.png"):
        write_picture(f"own/{name}")
    write_mask("own/good/a_mask.png")
    (cls,) = find_classes(tmp_path / "own")
    assert {s.path.name for s in cls.samples if s.label == 0} == {"a.png", "b.png"}


def test_folders_that_fit_nothing_say_what_was_found_and_what_is_needed(tmp_path, write_picture):
    write_picture("odd/left/a.png")
    write_picture("odd/right/b.png")
    with pytest.raises(LayoutError) as error:
        find_classes(tmp_path / "odd")
    message = str(error.value)
    assert "Found: 0 images directly in it; sub-folders: left, right; 2 images further down, such as left/a.png" in (
        message
    )
    assert "--good NAME" in message
    assert all(f"  {name}: " in message for name in LAYOUTS if name != "auto")


@pytest.mark.parametrize("layout", ["mvtec", "visa", "vad", "folder"])
def test_named_layout_that_does_not_fit_is_refused(tmp_path, write_picture, layout):
    write_picture("odd/left/a.png")
    with pytest.raises(LayoutError, match=f"not in the layout {layout}"):
        find_classes(tmp_path / "odd", layout=layout)


def test_missing_file_empty_and_image_less_folders_each_have_their_message(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").touch()
    (tmp_path / "bare" / "train" / "good").mkdir(parents=True)
    (tmp_path / "archive.zip").touch()
    for name, message in (
        ("missing", "There is no folder"),
        ("archive.zip", "is a file, not a folder"),
        ("empty", "is empty"),
        ("bare", "hold no images"),
    ):
        with pytest.raises(LayoutError, match=message):
            find_classes(tmp_path / name)


def test_unknown_layout_and_unknown_home_are_refused(tmp_path):
    with pytest.raises(LayoutError, match="'coco'; allowed: auto, mvtec"):
        find_classes(tmp_path, layout="coco")
    with pytest.raises(LayoutError, match="cannot be read"):
        find_classes(Path("~no_such_user_here/data"))
