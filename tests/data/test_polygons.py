from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as reference

from skrd4ad.data.polygons import fill, trace

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools


def drawn(text: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in line] for line in text.split()])


SHAPES = {
    "one pixel": drawn("#"),
    "a ring": drawn(".....  .###.  .#.#.  .###.  ....."),
    "two holes in one row": drawn("#######  #.###.#  #######"),
    "a hole in a hole": drawn("#######  #.....#  #.###.#  #.#.#.#  #.###.#  #.....#  #######"),
    "touching at corners": drawn("#.#.  .#.#  #.#."),
    "a hole that touches the outside at a corner": drawn(".##  #.#  ###"),
    "holes that touch at a corner": drawn("#####  #.###  ##.##  #####"),
    "all": np.ones((3, 5), bool),
    "at the border": drawn("##..  #...  ...#"),
    "empty": np.zeros((4, 3), bool),
}


def random_masks() -> Iterator[NDArray[np.bool_]]:
    random = np.random.default_rng(11)
    for _ in range(300):
        height, width = random.integers(1, 24, 2)
        yield random.random((height, width)) < random.choice([0.05, 0.3, 0.5, 0.7, 0.95])


def require_exact(mask: NDArray[np.bool_]) -> None:
    polygons = trace(mask)
    ours = np.zeros_like(mask)
    for polygon in polygons:
        part = fill(np.array(polygon, float), mask.shape)
        assert not (ours & part).any(), "no two polygons cover the same pixel"
        ours |= part
    assert np.array_equal(ours, mask)
    if polygons:
        flat = [np.array(polygon, float).ravel().tolist() for polygon in polygons]
        theirs = reference.decode(reference.merge(reference.frPyObjects(flat, *mask.shape)))
        assert np.array_equal(theirs.astype(bool), mask)


@pytest.mark.parametrize("name", SHAPES)
def test_polygons_fill_to_the_same_mask_here_and_in_pycocotools(name: str) -> None:
    require_exact(SHAPES[name])


def test_polygons_of_random_masks_are_exact_here_and_in_pycocotools() -> None:
    for mask in random_masks():
        require_exact(mask)


def test_corners_are_at_the_edges_of_pixels() -> None:
    (polygon,) = trace(drawn("....  .##.  .##."))
    assert sorted(polygon) == [(1, 1), (1, 3), (3, 1), (3, 3)]


def test_a_part_with_a_hole_is_cut_through_it() -> None:
    assert len(trace(SHAPES["a ring"])) == 2


def test_polygons_of_other_tools_fill_nearly_as_in_pycocotools() -> None:
    random = np.random.default_rng(5)
    shape = (90, 130)
    for _ in range(50):
        angles = np.sort(random.random(12)) * 2 * np.pi
        radius = random.uniform(15, 60, 12)
        polygon = np.stack([65 + radius * np.cos(angles), 45 + radius * np.sin(angles)], axis=1)  # some leave the image
        ours = fill(polygon, shape)
        theirs = reference.decode(reference.frPyObjects([polygon.ravel().tolist()], *shape))[..., 0].astype(bool)
        assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.98


def test_a_pixel_belongs_to_a_polygon_when_its_middle_does() -> None:
    polygon = np.array([[0.6, 0.0], [3.4, 0.0], [3.4, 1.4], [0.6, 1.4]])
    assert np.array_equal(fill(polygon, (3, 5)), drawn(".##..  .....  ....."))


def test_coordinates_far_outside_take_no_memory_and_are_cut_off() -> None:
    far = np.array([[-1e7, -1e7], [1e7, -1e7], [1e7, 1e7], [-1e7, 1e7]])
    assert fill(far, (4, 6)).all()
    assert not fill(far + 3e7, (4, 6)).any()
