"""The part finder on drawn parts whose place and direction are known, and on photographs."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.images.find_part import (
    AlignedImage,
    Part,
    aligned,
    chained,
    find_part,
    frame_matrix,
    inverse,
    scaling,
    template_of,
    to_template,
)
from skrd4ad.data.images.model_input import model_input, on_image, placed_mask
from skrd4ad.data.images.read import read_image, resize_image
from skrd4ad.types import Alignment

RGB = NDArray[np.uint8]
ARROW = np.array([(-60, -8), (30, -8), (30, -20), (60, 0), (30, 20), (30, 8), (-60, 8)], float)
"""Outline of a part whose long axis is x: the head is at the right."""
REAL = Path(__file__).parents[4] / "shared" / "data" / "mvtec"
ANGLES = [0, 17, 45, 89, 90, 133, 180, 217, 271, 359]


def drawn(
    *, angle: float, x: float = 150.0, y: float = 130.0, width: int = 320, height: int = 260, light: bool = False
) -> RGB:
    """A noisy photograph whose ground falls off evenly, with the arrow turned clockwise about its origin, at x, y."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    points = ARROW @ np.array([[c, s], [-s, c]]) + (x, y)
    part = np.zeros((height, width), np.uint8)
    cv2.fillPoly(part, [np.rint(points * 256).astype(np.int32)], 255, cv2.LINE_AA, 8)
    down, across = np.mgrid[0:height, 0:width]
    ground = (60 if light else 170) + 0.12 * across - 0.08 * down
    shade = ground + part / 255 * ((200 if light else 50) - ground)
    noise = np.random.default_rng(int(angle)).normal(0, 2, (height, width, 3))
    return np.clip(shade[..., None] + noise, 0, 255).astype(np.uint8)


def centre_of_arrow() -> tuple[float, float]:
    moments = cv2.moments(ARROW.astype(np.float32))
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def of_arrow(size: tuple[int, int] = (64, 128)) -> Alignment:
    """How arrows are turned so that the head is right, from one that lies so."""
    frame = Alignment(turned=True, width=0.55, height=0.275)
    image = drawn(angle=0)
    part, mask = found(image)
    matrix = to_template(frame_matrix(part, frame, size, image.shape[:2]), mask.shape, image.shape[:2], size)
    shape, profile = template_of(image, mask, matrix)
    return Alignment(
        turned=True,
        width=0.55,
        height=0.275,
        profile=tuple(profile.tolist()),
        shape=tuple(np.rint(shape).astype(int).ravel().tolist()),
    )


def found(image: RGB) -> tuple[Part, NDArray[np.uint8]]:
    part = find_part(image)
    assert part is not None
    return part


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("angle", ANGLES)
def test_pose_is_that_of_the_drawing(angle: int, light: bool) -> None:
    part, mask = found(drawn(angle=angle, light=light))
    along, _ = centre_of_arrow()
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # corners are rounded, alike at all angles
    assert math.hypot(part.x - (150 + c * along), part.y - (130 + s * along)) < 1
    off = math.degrees(part.angle) - angle
    assert abs((off + 90) % 180 - 90) < 0.5
    assert part.length == pytest.approx(120, abs=3)
    assert part.width == pytest.approx(40, abs=3)
    assert part.area == pytest.approx(cv2.contourArea(ARROW.astype(np.float32)), rel=0.2)
    assert (part.cut, part.other) == (0, 0)
    assert part.ground > 0.99
    assert set(np.unique(mask)) == {0, 1}


def test_the_centre_stays_on_the_part_whatever_its_angle() -> None:
    along, across = [], []
    for angle in ANGLES:
        part, _ = found(drawn(angle=angle))
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        along.append(c * (part.x - 150) + s * (part.y - 130))
        across.append(c * (part.y - 130) - s * (part.x - 150))
    assert max(np.std(along), np.std(across)) < 0.25


@pytest.mark.parametrize("angle", ANGLES)
def test_parts_are_turned_to_lie_alike(angle: int) -> None:
    alignment, size = of_arrow(), (64, 128)
    upright, turned = (
        aligned(drawn(angle=each, x=x, y=y), size, alignment) for each, x, y in ((0, 150, 130), (angle, 170, 120))
    )
    assert upright is not None and turned is not None
    # the middle of the part; the noise of two photographs and half a pixel at the edges are left
    difference = np.abs(upright.pixels.astype(float) - turned.pixels)[16:48, 12:116]
    assert np.median(difference) < 6
    assert (upright.counted == turned.counted).mean() > 0.98
    # what the head's tip became is the right end, and it is found again in the photograph
    tip = np.array([170 + 60 * math.cos(math.radians(angle)), 120 + 60 * math.sin(math.radians(angle)), 1])
    x, y = turned.matrix @ tip
    assert x > 110
    assert abs(y - 31.5) < 1.5
    place = np.array([[(x + 0.5) / 128 - 0.5, (y + 0.5) / 64 - 0.5]])
    np.testing.assert_allclose(on_image(place, turned.frame)[0], tip[:2], atol=1e-6)


def test_a_map_comes_back_to_where_the_part_lies() -> None:
    image = drawn(angle=33, x=180, y=140)
    seen = aligned(image, (64, 128), of_arrow())
    assert seen is not None
    plane = np.zeros((64, 128), np.float32)
    plane[32, 100] = 1
    plane[2, 2] = 5  # off the part: it does not count
    back = seen.on_photograph(plane)
    scale = seen.scale
    assert back.shape == (round(260 * scale), round(320 * scale))
    y, x = np.unravel_index(back.argmax(), back.shape)
    expected = inverse(seen.matrix) @ (100, 32, 1)
    np.testing.assert_allclose([(x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5], expected, atol=1.5)
    assert back.max() <= 1
    assert back[~drawn_at(seen, back.shape)].max() == 0


def drawn_at(seen: AlignedImage, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of a map within a pixel or two of what counts."""
    matrix = chained(inverse(seen.matrix), scaling(shape[1] / 320, shape[0] / 260))
    inside = cv2.warpAffine(seen.counted.astype(np.uint8), matrix, shape[::-1])
    return cv2.dilate(inside, np.ones((5, 5), np.uint8)) > 0


def test_a_mask_drawn_on_the_part_moves_with_it() -> None:
    mask = np.zeros((32, 64), bool)
    mask[10:22, 40:52] = True  # the head
    for angle in (0, 120):
        image = drawn(angle=angle)
        seen = aligned(image, (64, 128), of_arrow())
        assert seen is not None
        placed = placed_mask(mask, seen.frame, image.shape, (130, 160))
        y, x = (float(each.mean()) for each in np.nonzero(placed))
        head = 150 + 40 * math.cos(math.radians(angle)), 130 + 40 * math.sin(math.radians(angle))
        assert math.hypot(2 * x + 0.5 - head[0], 2 * y + 0.5 - head[1]) < 8


def test_a_missing_piece_counts_where_good_parts_have_it() -> None:
    image = drawn(angle=0)
    image[100:160, 185:] = image[20, 200]  # the head is gone
    seen = aligned(image, (64, 128), of_arrow())
    assert seen is not None
    whole = aligned(drawn(angle=0), (64, 128), of_arrow())
    assert whole is not None
    assert seen.part.area < 0.8 * whole.part.area
    assert seen.counted.sum() > 0.95 * whole.counted.sum()


def test_what_touches_the_border_or_lies_beside_is_measured() -> None:
    part, _ = found(drawn(angle=0, x=20))
    assert part.cut > 0.005
    image = drawn(angle=0)
    image[20:40, 20:60] = 40
    beside, _ = found(image)
    assert beside.other == pytest.approx(800 / beside.area, rel=0.2)


@pytest.mark.parametrize("image", [np.full((80, 90, 3), 130, np.uint8), np.zeros((64, 64, 3), np.uint8)])
def test_an_empty_ground_has_no_part_and_is_seen_whole(image: RGB) -> None:
    assert find_part(image) is None
    pixels, seen = model_input(image, 64, of_arrow())
    assert seen is None
    assert np.array_equal(pixels, resize_image(image, 64))


def test_noise_alone_is_no_part() -> None:
    noise = np.clip(np.random.default_rng(0).normal(120, 6, (256, 256, 3)), 0, 255).astype(np.uint8)
    assert find_part(noise) is None


def test_a_large_photograph_gives_the_same_as_a_small_one() -> None:
    small = drawn(angle=40)
    large = cv2.resize(small, (1280, 1040), interpolation=cv2.INTER_CUBIC)
    one, other = (aligned(each, (64, 128), of_arrow()) for each in (small, large))
    assert one is not None and other is not None
    assert np.abs(one.pixels.astype(float) - other.pixels).mean() < 4
    assert other.part.x == pytest.approx(4 * one.part.x + 1.5, abs=1)
    assert other.part.area == pytest.approx(16 * one.part.area, rel=0.02)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs the data folder shared/data beside the project")
def test_photographs_of_nuts_and_of_a_screw() -> None:
    for path in sorted((REAL / "hazelnut" / "train" / "good").iterdir())[:20]:
        part, _ = found(read_image(path))
        assert part.ground > 0.95
        assert part.cut == 0
        assert 110 < math.sqrt(part.area) < 180
    part, _ = found(read_image(REAL.parent / "mvtec_full_size" / "screw" / "000.png"))
    assert math.degrees(part.angle) == pytest.approx(41.5, abs=2)
    assert part.elongation > 4
