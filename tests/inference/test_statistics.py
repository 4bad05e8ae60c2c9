import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.synthetic.write import render
from skrd4ad.inference.reference import image_statistics

SIZE = 128
RGB = NDArray[np.uint8]


@pytest.fixture(scope="module")
def part() -> RGB:
    return render("machined_disc", index=0, split="train", size=SIZE)[0]


def grainy(image: RGB, sigma: float) -> RGB:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape[:2])[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def blurred(image: RGB, sigma: float) -> RGB:
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8)


def test_figures_of_a_two_tone_image_are_known() -> None:
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = 255
    found = image_statistics(image, size=64)
    assert (found.width, found.height, found.aspect) == (80, 40, 2.0)
    assert (found.dark, found.bright) == pytest.approx((0.5, 0.5), abs=0.02)
    assert (found.shadows, found.lights) == pytest.approx((0, 255))
    assert found.contrast == pytest.approx(127.5, abs=2)
    assert (found.green_red, found.blue_yellow, found.noise) == pytest.approx((0, 0, 0), abs=0.01)


def test_colour_is_that_of_cielab() -> None:
    red = image_statistics(np.full((64, 64, 3), (255, 0, 0), np.uint8), size=64)
    # CIE: L 53.2, a 80.1, b 67.2
    assert (red.green_red, red.blue_yellow) == pytest.approx((80.1, 67.2), abs=0.3)


def test_sharpness_falls_with_every_blur(part: RGB) -> None:
    values = [image_statistics(blurred(part, sigma), size=SIZE).sharpness for sigma in (0.5, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.7 * values[0]


def test_sharpness_does_not_change_with_the_lamps(part: RGB) -> None:
    dim = (part * 0.6).astype(np.uint8)
    before, after = (image_statistics(image, size=SIZE).sharpness for image in (part, dim))
    assert after == pytest.approx(before, rel=0.03)


@pytest.mark.parametrize("sigma", [4.0, 12.0])
def test_noise_is_measured_in_grey_levels(sigma: float) -> None:
    grey = np.full((SIZE, SIZE, 3), 128, np.uint8)
    assert image_statistics(grainy(grey, sigma), size=SIZE).noise == pytest.approx(sigma, rel=0.05)


def test_an_even_image_has_no_sharpness_and_no_noise() -> None:
    found = image_statistics(np.full((64, 64, 3), 90, np.uint8), size=64)
    assert (found.sharpness, found.contrast, found.noise) == pytest.approx((0, 0, 0), abs=0.01)


def test_a_larger_photograph_of_the_same_part_gives_the_same_figures(part: RGB) -> None:
    large = cv2.resize(part, (4 * SIZE, 4 * SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    small, big = image_statistics(part, size=64), image_statistics(large, size=64)
    assert (big.brightness, big.contrast) == pytest.approx((small.brightness, small.contrast), rel=0.05)
    assert big.sharpness == pytest.approx(small.sharpness, rel=0.1)
