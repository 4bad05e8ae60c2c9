import numpy as np
import pytest

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.visualize import (
    COLOUR_MAPS,
    HEAT_STEPS,
    draw_frame,
    draw_outlines,
    heat_alpha,
    heat_index,
    heat_position,
    heat_table,
    lut,
    overlay,
    resize_map,
)

LIMIT, TOP = 0.6, 1.5


def photograph(height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def lightness(rgb: np.ndarray) -> np.ndarray:
    """CIE lightness of sRGB colours."""
    c = rgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_colour_maps_rise_in_lightness(name: str) -> None:
    table = lut(name)
    assert table.shape == (256, 3) and table.dtype == np.uint8
    steps = np.diff(lightness(table.astype(float))[::8])
    assert (steps > 0).all()


@pytest.mark.parametrize(
    ("name", "index", "colour"),
    [
        ("inferno", 0, (0, 0, 4)),
        ("inferno", 255, (252, 255, 164)),
        ("viridis", 0, (68, 1, 84)),
        ("viridis", 255, (253, 231, 37)),
        ("grey", 128, (128, 128, 128)),
    ],
)
def test_colour_maps_are_the_published_ones(name: str, index: int, colour: tuple[int, int, int]) -> None:
    assert np.abs(lut(name)[index].astype(int) - colour).max() <= 1


def test_an_unknown_colour_map_is_refused_with_the_allowed_names() -> None:
    with pytest.raises(ConfigError, match=r"'jet'.*inferno, viridis, grey"):
        lut("jet")


def test_the_scale_is_anchored_to_the_threshold() -> None:
    values = np.array([-1, 0, 0.3, LIMIT, 1.05, TOP, 9])
    positions = heat_position(values, threshold=LIMIT, top=TOP)
    assert positions == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1, 1])


@pytest.mark.parametrize(("threshold", "top"), [(LIMIT, TOP), (0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1e-6, 50.0)])
def test_positions_never_fall_and_stay_in_range(threshold: float, top: float) -> None:
    positions = heat_position(np.linspace(-0.5, 3, 500), threshold=threshold, top=top)
    assert (np.diff(positions) >= 0).all()
    assert positions.min() >= 0 and positions.max() <= 1


def test_a_score_above_the_threshold_saturates_when_the_top_is_not_above_it() -> None:
    assert heat_position(np.array([2.0, 2.01]), threshold=2.0, top=1.0) == pytest.approx([0.5, 1.0])


def test_heat_is_transparent_far_below_the_threshold_and_full_at_it() -> None:
    positions = heat_position(np.array([0.0, 0.7, 0.85, 1.0, 2.0]), threshold=1.0, top=2.0)
    assert heat_alpha(positions) == pytest.approx([0, 0, 0.25, 1, 1])


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_a_heat_table_holds_the_colours_and_opacities_of_its_positions(name: str) -> None:
    table = heat_table(name)
    assert table.shape == (HEAT_STEPS, 4) and table.dtype == np.uint8
    assert (table[0, :3] == lut(name)[0]).all() and (table[-1, :3] == lut(name)[-1]).all()
    positions = np.linspace(0, 1, HEAT_STEPS)
    assert np.abs(table[:, 3] / 255 - heat_alpha(positions)).max() < 1 / 255
    nearest = lut(name)[np.rint(positions * 255).astype(int)].astype(int)
    assert np.abs(table[:, :3] - nearest).max() <= 4


def test_indices_reach_both_ends_and_the_middle_of_the_table() -> None:
    indices = heat_index(np.array([0, LIMIT, TOP]), threshold=LIMIT, top=TOP)
    assert indices.tolist() == [0, HEAT_STEPS // 2, HEAT_STEPS - 1]


def test_a_good_part_looks_like_a_photograph() -> None:
    image = photograph()
    good = np.full((16, 16), 0.69 * LIMIT, np.float32)
    assert (overlay(image, good, threshold=LIMIT, top=TOP) == image).all()


def test_heat_covers_the_defect_and_nothing_else() -> None:
    image = photograph(64, 64)
    anomaly_map = np.zeros((64, 64), np.float32)
    anomaly_map[20:30, 40:50] = TOP
    before = image.copy()
    shown = overlay(image, anomaly_map, threshold=LIMIT, top=TOP, opacity=1, outlines=False)
    hot = anomaly_map > 0
    assert (shown[~hot] == image[~hot]).all()
    assert (shown[hot] == lut("inferno")[255]).all()
    assert (image == before).all()


def test_opacity_mixes_image_and_heat() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    hot = np.full((8, 8), TOP, np.float32)
    shown = overlay(image, hot, threshold=LIMIT, top=TOP, opacity=0.25, colour_map="grey", outlines=False)
    assert (shown == round(100 + 0.25 * 155)).all()
    assert (overlay(image, hot, threshold=LIMIT, top=TOP, opacity=0, outlines=False) == image).all()


def test_the_map_is_resized_to_the_image_with_its_values_kept() -> None:
    ramp = np.tile(np.linspace(0, 1, 8, dtype=np.float32), (8, 1))
    resized = resize_map(ramp, height=20, width=80)
    assert resized.shape == (20, 80)
    assert resized.min() == 0 and resized.max() == 1
    centres = (np.arange(80) + 0.5) / 10 - 0.5
    assert np.abs(resized[0] - np.interp(centres, range(8), ramp[0])).max() < 1e-5


def test_outlines_run_along_the_mask_and_leave_its_inside() -> None:
    image = np.full((60, 60, 3), 128, np.uint8)
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    drawn = draw_outlines(image, mask)
    assert (drawn[20, 25:35] > 200).all() and (drawn[18, 25:35] < 100).all()
    assert (drawn[25:35, 25:35] == 128).all() and (drawn[:15] == 128).all()
    assert (image == 128).all()
    assert (draw_outlines(image, np.zeros_like(mask)) == image).all()


@pytest.mark.parametrize(
    ("image", "anomaly_map", "opacity", "error"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), 0.5, DataError),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4)), 0.5, DataError),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1)), 0.5, DataError),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), 1.5, ConfigError),
    ],
)
def test_wrong_input_is_refused(image, anomaly_map, opacity, error) -> None:
    with pytest.raises(error, match="allowed"):
        overlay(image, anomaly_map, threshold=0.5, top=1, opacity=opacity)


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match="mask"):
        draw_outlines(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), bool))


def test_a_frame_is_marked_at_its_corners_only() -> None:
    image = np.full((100, 120, 3), 90, np.uint8)
    corners = np.array([[20, 30], [100, 30], [100, 70], [20, 70]], float)
    drawn = draw_frame(image, corners)
    changed = np.argwhere((drawn != image).any(axis=2))
    assert (image == 90).all()
    for y, x in changed:
        assert min(abs(x - 20), abs(x - 100)) <= 10
        assert min(abs(y - 30), abs(y - 70)) <= 10
    assert tuple(drawn[30, 20]) > (200, 200, 200)
