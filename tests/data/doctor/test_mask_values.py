"""What the doctor says of the values of masks, with numbers, and what it asks."""

import numpy as np
import pytest
from PIL import Image

from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.doctor.report import asked_of
from skrd4ad.data.layouts.find import find_classes

SIDE = 40


@pytest.fixture
def masked(tmp_path, write_picture):
    """``masked(pixels, …)``: the findings by code on own images, one defect for each mask; options are hints."""

    def find(*masks, layout="auto"):
        for number in range(20):
            write_picture(f"own/good/g{number}.png", seed=number, size=(SIDE, SIDE))
        for number, pixels in enumerate(masks):
            write_picture(f"own/hole/{number}.png", seed=100 + number, size=(SIDE, SIDE))
            (tmp_path / "own/masks").mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / f"own/masks/{number}.png")
        report = examine(find_classes(tmp_path / "own", layout=layout), image_size=SIDE)
        return report, {f.code: f for f in report.findings if f.code.startswith("mask")}

    return find


def square(value, *, at=3, side=13, ground=0):
    pixels = np.full((SIDE, SIDE), ground, np.uint8)
    pixels[at : at + side, at : at + side] = value
    return pixels


def levels():
    return square(85) + square(170, at=23) + _corner(255)


def _corner(value):
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[3:16, 23:36] = value
    return pixels


def test_levels_are_reported_with_their_pixels(masked):
    report, found = masked(levels())
    assert report.ok and list(found) == ["mask-levels"]
    assert "85 (169 pixels), 170 (169 pixels), 255 (169 pixels)" in found["mask-levels"].message
    assert found["mask-levels"].severity == "note"


def test_one_value_needs_no_word(masked):
    report, found = masked(square(255), square(1))
    assert report.ok and not found


def test_inverted_masks_ask_and_what_is_said_settles_it(masked):
    inverted = [square(0, side=6, ground=255) for _ in range(3)]
    report, found = masked(*inverted)
    finding = found["mask-large"]
    assert (finding.severity, finding.asks, finding.count, report.only_asks) == ("error", True, 3, True)
    assert "up to 98%" in finding.message and "--mask-values 0=defect,255=good" in finding.message
    assert "up to 98%" in asked_of(report, "own")
    report, found = masked(*inverted, layout="auto?mask_values=0%3Ddefect%2C255%3Dgood")
    assert report.ok and list(found) == ["mask-given"] and asked_of(report, "own") == ""


def test_one_large_defect_among_others_is_a_warning(masked):
    report, found = masked(square(255, side=34), square(255), square(255))
    assert report.ok and (found["mask-large"].severity, found["mask-large"].asks) == ("warning", False)


def test_values_that_fit_two_rules_ask(masked):
    soft = square(128) + _corner(255)
    soft[2, 23:36], soft[16, 23:36] = 90, 90
    soft[2, 3:16] = 60
    report, found = masked(soft)
    assert (found["mask-doubt"].severity, found["mask-doubt"].asks, report.ok) == ("error", True, False)
    assert "--mask-values" in found["mask-doubt"].message
    for told in ("levels", "half"):
        assert masked(soft, layout=f"auto?mask_values={told}")[0].ok


def test_soft_edges_are_said(masked):
    soft = square(255)
    soft[2, 3:16] = 100
    report, found = masked(soft)
    assert report.ok and "above half of the highest value" in found["mask-half"].message
