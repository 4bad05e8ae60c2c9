import numpy as np
import pytest
from scipy import ndimage

from skrd4ad.errors import DataError
from skrd4ad.regions import find_regions, region_mask


def smooth_noise(seed: int, shape: tuple[int, int] = (48, 61)) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [-0.1, 0.0, 0.15, 0.3])
def test_regions_agree_with_scipy(seed: int, threshold: float) -> None:
    anomaly_map = smooth_noise(seed)
    mask = anomaly_map > threshold
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    index = np.arange(1, count + 1)
    peaks = ndimage.maximum(anomaly_map, labels, index)
    order = np.argsort(-np.asarray(peaks), kind="stable")
    boxes = ndimage.find_objects(labels)

    regions = find_regions(anomaly_map, threshold)

    assert [r.area for r in regions] == [int((labels == i + 1).sum()) for i in order]
    assert [r.peak for r in regions] == pytest.approx([float(peaks[i]) for i in order])
    assert [r.mean for r in regions] == pytest.approx(
        [float(anomaly_map[labels == i + 1].mean(dtype=float)) for i in order]
    )
    assert [r.box for r in regions] == [
        (boxes[i][1].start, boxes[i][0].start, boxes[i][1].stop, boxes[i][0].stop) for i in order
    ]
    centres = ndimage.center_of_mass(mask, labels, index)
    assert [r.centroid for r in regions] == [pytest.approx((centres[i][1], centres[i][0])) for i in order]


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    assert [r.area for r in find_regions(np.eye(5, dtype=np.float32), 0.5)] == [5]


def test_a_pixel_at_the_threshold_is_not_above_it() -> None:
    anomaly_map = np.array([[0.5, 0.75]], np.float32)
    assert [r.peak for r in find_regions(anomaly_map, 0.5)] == [0.75]
    assert find_regions(anomaly_map, 0.75) == []


def test_the_threshold_is_not_rounded_to_the_maps_precision() -> None:
    value = np.float32(0.1)  # a little above 0.1 in double precision
    assert region_mask(np.full((1, 1), value), 0.1).all()
    assert not region_mask(np.full((1, 1), value), float(value)).any()


def test_small_regions_are_left_out() -> None:
    anomaly_map = np.zeros((6, 6), np.float32)
    anomaly_map[0, 0] = 2
    anomaly_map[3:5, 3:5] = 1
    assert [r.area for r in find_regions(anomaly_map, 0.5)] == [1, 4]
    assert [r.area for r in find_regions(anomaly_map, 0.5, min_area=2)] == [4]


def test_a_pixel_that_is_not_a_number_belongs_to_no_region() -> None:
    assert [r.area for r in find_regions(np.array([[np.nan, 1, np.nan]], np.float32), 0.5)] == [1]


@pytest.mark.parametrize("shape", [(4,), (2, 4, 4), (0, 4)])
def test_something_other_than_a_plane_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="shape"):
        find_regions(np.zeros(shape, np.float32), 0.5)
