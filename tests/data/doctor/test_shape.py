import math
from pathlib import Path

import pytest
from PIL import Image

from skrd4ad.config import ModelConfig
from skrd4ad.data.doctor.shape import check_shape, input_size, size_for
from skrd4ad.types import ImageSize, Sample, height_width


@pytest.mark.parametrize(
    "shape",
    # MVTec AD from 700 to 1024; VisA: candle, capsules, pcb1; cameras of 4:3, 5:4 and 3:2, upright as well
    [(700, 700), (1024, 1024), (1284, 1168), (1500, 1000), (1404, 1070), (640, 480), (2448, 2048), (1000, 1500)],
)
def test_images_of_usual_shapes_go_into_the_published_square(shape: tuple[int, int]) -> None:
    assert size_for([shape] * 3) == 256


@pytest.mark.parametrize(
    ("shape", "size"),
    [((5000, 200), (64, 1280)), ((200, 5000), (1280, 64)), ((1000, 100), (96, 832)), ((1920, 1080), (192, 352))],
)
def test_longer_images_keep_their_shape_and_the_number_of_pixels(shape: tuple[int, int], size: ImageSize) -> None:
    assert size_for([shape]) == size
    height, width = height_width(size)
    assert ModelConfig(image_size=size).image_size == size
    assert 0.75 <= height * width / 256**2 <= 1.25
    # no side of a step of 32 more or less, with the number of pixels allowed, is nearer to the shape
    miss = abs(math.log(width / height / (shape[0] / shape[1])))
    for h in (height - 32, height, height + 32):
        for w in (width - 32, width, width + 32):
            if h >= 64 <= w and 0.75 <= h * w / 256**2 <= 1.25:
                assert abs(math.log(w / h / (shape[0] / shape[1]))) >= miss


def test_a_few_images_of_another_shape_change_nothing_and_many_make_a_square_that_is_said() -> None:
    assert size_for([(1000, 100)] * 39 + [(100, 100)]) == (96, 832)
    mixed = [(1000, 100)] * 5 + [(100, 100)] * 5
    assert size_for(mixed) == 256
    (remark,) = check_shape(mixed, 256)
    assert (remark.severity, remark.code) == ("warning", "mixed-shapes")
    assert "from 1:1 to 10:1 (width over height)" in remark.message and "256 x 256" in remark.message


def test_a_squeezed_class_is_a_warning_with_numbers_and_both_ways_out() -> None:
    (remark,) = check_shape([(5000, 200)] * 3, 256)
    assert (remark.severity, remark.code) == ("warning", "squeezed")
    # 5000 / 256 and 200 / 256; 10 pixels over these
    assert "covers 19.5 pixels in x and 0.781 in y" in remark.message
    assert "a defect of 10 x 10 pixels becomes 0.51 x 13." in remark.message
    assert (
        "An image size of 64x1280 (--image-size) keeps their shape." in remark.message
        and "--tiled on" in remark.message
    )


def test_a_class_in_its_own_shape_is_a_note_and_usual_ones_are_none() -> None:
    (remark,) = check_shape([(5000, 200)], (64, 1280))
    assert (remark.severity, remark.code) == ("note", "shape")
    assert "3.91 pixels in x and 3.12 in y" in remark.message and "--image-size" not in remark.message
    assert not list(check_shape([(1500, 1000)], 256)) and not list(check_shape([], 256))
    (squeezed,) = check_shape([(256, 256)], (64, 1280))
    assert "An image size of 256 (--image-size) keeps their shape." in squeezed.message


def test_the_size_is_taken_from_headers_and_unreadable_files_are_left_to_the_doctor(tmp_path: Path) -> None:
    Image.new("L", (400, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    samples = [Sample(tmp_path / name, "train", 0, "good") for name in ("a.png", "b.png")]
    assert input_size(samples) == (96, 832)
    assert input_size(samples[1:]) == input_size([]) == 256
