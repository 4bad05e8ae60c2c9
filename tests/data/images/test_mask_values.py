"""What the values of masks mean: one rule, and what a user says instead."""

import cv2
import numpy as np
import pytest

from skrd4ad.data.images.mask_values import check_mask_values, read_values
from skrd4ad.errors import DataError

SIDE = 80


def squares(*values, side=13):
    """A mask with a square of each value, none touching another."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for index, value in enumerate(values):
        row, column = divmod(index, 4)
        mask[4 + 19 * row :, :][:side, 4 + 19 * column :][:, :side] = value
    return mask


def soft(mask):
    """The mask with edges one pixel wide, as a drawing with anti-aliasing has."""
    return cv2.resize(
        cv2.resize(mask, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)[2:, 2:],
        (SIDE, SIDE),
        interpolation=cv2.INTER_AREA,
    )


def test_levels_are_classes_and_all_of_them_defect():
    reading = read_values(squares(85, 170, 255))
    assert (int(reading.defect.sum()), reading.rule, reading.doubt) == (507, "levels", "")
    assert {name: int(pixels.sum()) for name, pixels in reading.classes.items()} == {"85": 169, "170": 169, "255": 169}
    assert reading.values == {"85": 169, "170": 169, "255": 169}


def test_class_numbers_are_classes_even_where_they_touch():
    mask = squares(1, 2, 3)
    mask[4:17, 17:20] = 2  # a bridge between the first two
    reading = read_values(mask)
    assert (reading.rule, set(reading.classes), int(reading.defect.sum())) == ("levels", {"1", "2", "3"}, 507 + 39)


def test_colours_of_voc_are_classes_also_dark_ones():
    mask = np.zeros((SIDE, SIDE, 3), np.uint8)
    mask[4:14, 4:14], mask[30:40, 30:40], mask[60:65, 60:65] = (128, 0, 0), (0, 0, 128), (64, 0, 0)
    reading = read_values(mask)
    assert int(reading.defect.sum()) == 225
    assert {n: int(p.sum()) for n, p in reading.classes.items()} == {"#800000": 100, "#000080": 100, "#400000": 25}


def test_soft_edges_are_cut_at_half():
    mask = squares(255, 255)
    blurred = soft(mask)
    assert len(np.unique(blurred)) > 2
    reading = read_values(blurred)
    assert (reading.rule, reading.doubt) == ("half", "")
    np.testing.assert_array_equal(reading.defect, blurred > 127)


def test_a_lossy_mask_is_cut_at_half_whatever_its_values():
    mask = squares(255)
    mask[60:70, 60:70] = 6  # ringing of a JPEG
    assert int(read_values(mask, lossy=True).defect.sum()) == 169
    assert read_values(mask).rule == "levels"


def test_levels_with_soft_edges_fit_two_rules_and_either_can_be_said():
    mask = soft(squares(128, 255))
    reading = read_values(mask)
    assert reading.rule == "half" and "classes (levels), or one defect cut at half?" in reading.doubt
    assert not read_values(mask, "half").doubt and not read_values(mask, "levels").doubt
    assert read_values(mask, "levels").defect.sum() == (mask > 0).sum()


@pytest.mark.parametrize("void", ["index", "colour"])
def test_a_value_that_usually_means_ignore_asks(void):
    mask = squares(1, 2, 255)
    if void == "colour":
        mask = np.repeat(mask[..., None], 3, axis=2) * np.array([1, 0, 0], np.uint8)
        mask[squares(1, 2, 255) == 255] = (224, 224, 192)
    name = "255" if void == "index" else "#e0e0c0"
    reading = read_values(mask)
    assert f"{name}=ignore" in reading.doubt and reading.defect.sum() == 507
    told = read_values(mask, f"{name}=ignore")
    assert told.ignored is not None
    assert (int(told.defect.sum()), int(told.ignored.sum()), told.doubt) == (338, 169, "")


def test_what_a_user_says_names_classes_ranges_and_good_values():
    reading = read_values(squares(85, 100, 170, 255), "85-100=scratch, 170=good, 255=dent")
    assert {name: int(pixels.sum()) for name, pixels in reading.classes.items()} == {"scratch": 338, "dent": 169}
    assert int(reading.defect.sum()) == 507


def test_an_inverted_mask_is_turned_by_what_a_user_says():
    mask = 255 - squares(255)
    assert read_values(mask).share > 0.9
    assert int(read_values(mask, "0=defect,255=good").defect.sum()) == 169


@pytest.mark.parametrize("given", ["255", "255=", "red=good", "255:good", "levels,255=good"])
def test_what_cannot_be_understood_is_refused_with_the_form(given):
    with pytest.raises(DataError, match="VALUE=MEANING"):
        check_mask_values(given)


def test_one_value_is_the_defect_whatever_it_is():
    for value in (1, 85, 127, 200, 255):
        assert int(read_values(squares(value)).defect.sum()) == 169
