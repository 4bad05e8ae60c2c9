import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from skrd4ad.data.doctor.examine import DoctorReport, Finding, examine
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.task import Task

SHARED = Path(__file__).parents[4] / "shared" / "data"


def doctor(root: Path, **options) -> DoctorReport:
    return examine(find_classes(root), **options)


def found(report: DoctorReport) -> dict[str, Finding]:
    by_code = {f.code: f for f in report.findings}
    assert len(by_code) == len(report.findings)
    return by_code


def names(finding: Finding) -> list[str]:
    return [path.name for path in finding.paths]


def test_clean_class_has_no_findings_and_exact_counts(mvtec):
    report = doctor(mvtec, image_size=12)
    assert report.findings == () and report.ok
    (summary,) = report.classes
    assert (summary.train_good, summary.test_good, summary.masks) == (20, 2, 3)
    assert summary.test_defects == {"broken": 2, "stain": 1}
    assert (summary.min_size, summary.max_size, summary.modes) == ((12, 10), (12, 10), {"RGB": 25})


@pytest.mark.parametrize("place", ["train/good/new.png", "test/stain/new.png"])
def test_unreadable_image_is_an_error_with_its_reason(mvtec, place):
    (mvtec / "bottle" / place).write_bytes(b"not an image")
    report = doctor(mvtec)
    finding = found(report)["unreadable"]
    assert finding.severity == "error" and finding.count == 1 and names(finding) == ["new.png"]
    assert "not an image" in finding.message and not report.ok


def test_picture_in_train_and_test_is_an_error_whatever_its_format(mvtec):
    Image.open(mvtec / "bottle/train/good/003.png").save(mvtec / "bottle/test/good/copy.bmp")
    report = doctor(mvtec)
    finding = found(report)["duplicate-train-test"]
    assert finding.severity == "error" and sorted(names(finding)) == ["003.png", "copy.bmp"] and not report.ok


def test_picture_twice_in_train_is_a_warning(mvtec):
    good = mvtec / "bottle" / "train" / "good"
    shutil.copy(good / "003.png", good / "again.png")
    report = doctor(mvtec)
    assert list(found(report)) == ["duplicate-train"] and report.ok


def test_picture_both_good_and_defect_in_test_is_an_error(mvtec):
    shutil.copy(mvtec / "bottle/test/good/000.png", mvtec / "bottle/test/stain/000.png")
    assert found(doctor(mvtec))["contradicting-labels"].severity == "error"


def test_mask_without_image_is_found_by_type_not_by_name_alone(mvtec, write_mask):
    # 001 is an image of broken, but there is no 001 of stain
    write_mask("mvtec/bottle/ground_truth/stain/001_mask.png")
    write_mask("mvtec/bottle/ground_truth/gone/000_mask.png")
    finding = found(doctor(mvtec))["mask-without-image"]
    assert finding.severity == "warning" and finding.count == 2
    assert {p.parent.name for p in finding.paths} == {"stain", "gone"}


def test_masks_of_good_images_are_no_orphans(mvtec, write_mask):
    write_mask("mvtec/bottle/ground_truth/good/000_mask.png", value=0)
    assert "mask-without-image" not in found(doctor(mvtec))


def test_defect_without_mask_is_a_warning_only_where_others_have_masks(mvtec):
    (mvtec / "bottle/ground_truth/broken/001_mask.png").unlink()
    finding = found(doctor(mvtec))["defect-without-mask"]
    assert finding.severity == "warning" and names(finding) == ["001.png"]
    shutil.rmtree(mvtec / "bottle/ground_truth")
    assert list(found(doctor(mvtec))) == ["no-masks"]


def test_mask_of_another_size_is_an_error(mvtec, write_mask):
    write_mask("mvtec/bottle/ground_truth/stain/000_mask.png", size=(10, 12))
    finding = found(doctor(mvtec))["mask-size"]
    assert finding.severity == "error" and "(10, 12)" in finding.message and "(12, 10)" in finding.message


def test_unreadable_and_empty_masks(mvtec, write_mask):
    (mvtec / "bottle/ground_truth/broken/000_mask.png").write_bytes(b"")
    write_mask("mvtec/bottle/ground_truth/stain/000_mask.png", value=0)
    findings = found(doctor(mvtec))
    assert (findings["mask-unreadable"].severity, findings["mask-empty"].severity) == ("error", "warning")
    assert findings["mask-empty"].count == 1


def test_masks_and_regions_that_vanish_at_the_training_size(mvtec, write_picture):
    write_picture("mvtec/bottle/test/stain/000.png", size=(100, 100))
    write_picture("mvtec/bottle/test/broken/000.png", size=(100, 100))
    tiny = Image.new("L", (100, 100))
    tiny.putpixel((50, 50), 255)
    tiny.save(mvtec / "bottle/ground_truth/stain/000_mask.png")
    tiny.paste(255, (0, 0, 30, 30))
    tiny.save(mvtec / "bottle/ground_truth/broken/000_mask.png")
    findings = found(doctor(mvtec, image_size=10))
    assert findings["mask-vanishes"].count == 1 and names(findings["mask-vanishes"]) == ["000_mask.png"]
    assert "1 region" in findings["region-vanishes"].message
    assert not {"mask-vanishes", "region-vanishes"} & set(found(doctor(mvtec, image_size=100)))


def test_defects_in_train_are_an_error_in_mvtec_and_a_note_in_vad(mvtec, vad, write_picture):
    write_picture("mvtec/bottle/train/scratched/1.png")
    assert found(doctor(mvtec))["train-defects"].severity == "error"
    finding = found(doctor(vad))["train-defects"]
    assert (finding.severity, finding.count) == ("note", 2)
    assert doctor(vad).ok


@pytest.mark.parametrize(
    ("left", "code", "severity"),
    [
        (0, "too-few-train", "error"),
        (1, "too-few-train", "error"),
        (2, "few-train", "warning"),
        (19, "few-train", "warning"),
    ],
)
def test_too_few_images_to_train_on(mvtec, left, code, severity):
    for path in sorted((mvtec / "bottle/train/good").iterdir())[left:]:
        path.unlink()
    assert found(doctor(mvtec))[code].severity == severity


def test_missing_halves_of_the_test_set_name_the_metrics(mvtec):
    shutil.rmtree(mvtec / "bottle/test/good")
    assert "AUROC" in found(doctor(mvtec))["no-good-test"].message
    for folder in ("test", "ground_truth"):
        shutil.rmtree(mvtec / "bottle" / folder)
    report = doctor(mvtec)
    assert list(found(report)) == ["no-good-test", "no-defect-test"] and report.ok


def test_files_that_no_sample_stands_for_are_named(mvtec, write_picture):
    good = mvtec / "bottle" / "train" / "good"
    (good / "raw.dng").touch()
    (good / "Thumbs.db").touch()
    (good / "._000.png").touch()
    write_picture("mvtec/bottle/train/good/day2/x.png")
    write_picture("mvtec/bottle/test/loose.png")
    report = doctor(mvtec)
    findings = found(report)
    assert report.classes[0].train_good == 21  # what lies in a folder of a folder of good parts is good
    assert "1 image not used: 1 in test, such as test/loose.png" in findings["unused-images"].message
    assert {code: names(f) for code, f in findings.items()} == {
        "unknown-suffix": ["raw.dng"],
        "unused-images": ["loose.png"],
    }


def test_visa_image_that_the_split_file_leaves_out_is_named(visa, write_picture):
    write_picture("VisA/candle/Data/Images/Normal/0009.JPG")
    report = doctor(visa)
    (unused,) = [f for f in report.findings if f.code == "unused-images"]
    assert unused.class_name == "candle" and names(unused) == ["0009.JPG"]
    assert not [f for f in report.findings if f.code in ("mask-empty", "mask-without-image", "defect-without-mask")]


def test_visa_image_that_is_listed_and_missing_is_an_error(visa):
    (visa / "pcb1/Data/Images/Normal/0000.JPG").unlink()
    report = doctor(visa)
    assert [f.class_name for f in report.findings if f.code == "unreadable"] == ["pcb1"]


def test_own_folder_with_masks_in_place_is_clean(tmp_path, write_picture, write_mask):
    for number in range(25):
        write_picture(f"own/good/{number}.png")
    for name in ("a", "b", "c"):
        write_picture(f"own/dent/{name}.png")
    write_mask("own/dent/a_mask.png")
    write_mask("own/masks/dent/b.png")
    write_mask("own/masks/c_mask.png")
    (guessed,) = doctor(tmp_path / "own").findings
    assert guessed.severity == "note"
    assert guessed.message.startswith(
        "read by their names as good parts: good; as types of defect: dent; as masks: masks"
    )


def test_mixed_sizes_and_modes_are_notes(mvtec, write_picture):
    write_picture("mvtec/bottle/train/good/large.png", size=(30, 20))
    Image.new("L", (12, 10), 3).save(mvtec / "bottle/train/good/grey.png")
    report = doctor(mvtec)
    assert {f.severity for f in report.findings} == {"note"}
    assert set(found(report)) == {"mixed-sizes", "mixed-modes"}
    assert (report.classes[0].min_size, report.classes[0].max_size) == ((12, 10), (30, 20))


def test_examples_are_few_and_the_count_is_whole(mvtec):
    for number in range(9):
        (mvtec / f"bottle/train/good/x{number}.png").write_bytes(b"?")
    report = doctor(mvtec)
    finding = found(report)["unreadable"]
    assert (len(finding.paths), finding.count) == (5, 9)
    assert "and 4 more" in report.to_text()


def test_text_and_json_say_the_same(mvtec):
    (mvtec / "bottle/train/good/x.png").write_bytes(b"?")
    report = doctor(mvtec)
    text, values = report.to_text(), json.loads(json.dumps(report.to_plain()))
    assert values["ok"] is False and values["classes"][0]["test_defects"] == {"broken": 2, "stain": 1}
    (finding,) = values["findings"]
    assert f"ERROR bottle: {finding['message']} [unreadable]" in text and finding["paths"][0] in text
    assert "mvtec/bottle (layout mvtec): 21 good images to train on; test: 2 good, 3 defects" in text
    assert text.endswith("Not ready: training or its figures would be wrong (1 error).")


def test_findings_stand_by_severity(mvtec, write_picture):
    write_picture("mvtec/bottle/train/good/large.png", size=(30, 20))
    (mvtec / "bottle/train/good/notes.txt").touch()
    (mvtec / "bottle/train/good/x.png").write_bytes(b"?")
    assert [f.severity for f in doctor(mvtec).findings] == ["error", "warning", "note"]


def test_progress_reaches_the_number_of_images(visa):
    seen = []
    examine(find_classes(visa), task=Task(show=lambda at: seen.append((at.done, at.total))))
    assert seen == [(n, 10) for n in range(1, 11)]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real images are not on this machine")
def test_real_transistor_is_ready_to_train():
    report = doctor(SHARED / "mvtec" / "transistor")
    assert report.findings == ()
    assert (report.classes[0].train_good, report.classes[0].test_good, report.classes[0].masks) == (213, 60, 40)
