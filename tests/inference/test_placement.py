import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.synthetic.write import render
from skrd4ad.errors import CheckpointError
from skrd4ad.inference.placement import SIDE, place_by_layout, place_on_ground, small_grey, thumbnail_of
from skrd4ad.inference.reference import (
    Reference,
    image_statistics,
    read_reference,
    refusal_of,
    refusal_of_tiles,
    save_reference,
)
from skrd4ad.model_folder.info import REFERENCE
from skrd4ad.training.placement import FEWEST, drawn, fit_placement
from skrd4ad.training.reference import make_reference
from skrd4ad.types import Split

GOLDEN = Path(__file__).parents[1] / "golden" / "reference_without_placement.json"
SIZE = 96
RGB = NDArray[np.uint8]


def share(sides: int) -> float:
    return 0.005 / (12 + sides)


def disc(index: int, split: Split = "test", defect: str = "good") -> RGB:
    """A part with room around it."""
    return drawn(render("machined_disc", index=index, split=split, defect_type=defect, size=SIZE)[0], 0.75, 0, 0)


def board(index: int) -> RGB:
    """A part on a ground with structure, moved by a pixel or so."""
    rng = np.random.default_rng(index)
    pattern = np.random.default_rng(7).uniform(40, 220, (12, 12, 3)).astype(np.float32)
    image = cv2.resize(pattern, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    cv2.rectangle(image, (36, 30), (60, 66), (20, 20, 24), -1)
    image = image + rng.normal(0, 4, image.shape)
    return drawn(np.clip(image, 0, 255).astype(np.uint8), 1, *rng.normal(0, 0.004, 2))


def reference_of(images: list[RGB]) -> Reference:
    return make_reference(
        [image_statistics(image, size=SIZE) for image in images],
        np.ones((len(images), 4)),
        image_size=SIZE,
        thumbnails=np.stack([thumbnail_of(image) for image in images]),
    )


@pytest.fixture(scope="module")
def on_ground() -> Reference:
    return reference_of([disc(index, "train") for index in range(60)])


@pytest.fixture(scope="module")
def by_layout() -> Reference:
    return reference_of([board(index) for index in range(40)])


def moved(image: RGB, scale: float = 1, x: float = 0, y: float = 0) -> RGB:
    return drawn(image, scale, x, y)


def test_place_and_size_are_those_of_the_part() -> None:
    image = np.full((SIDE, SIDE, 3), 200, np.uint8)
    image[10:30, 16:48] = (60, 30, 30)
    image[14:20, 20:30] = 200  # a hole belongs to the part
    image[50:53, 3:6] = 0  # dirt does not
    place = place_on_ground(image)
    assert place is not None
    assert (place.x, place.y) == pytest.approx((32 / SIDE, 20 / SIDE))
    assert place.size == pytest.approx(np.sqrt(20 * 32) / SIDE)
    assert place.cut == 0
    cut = place_on_ground(moved(image, y=0.625))
    assert cut is not None
    assert cut.cut == pytest.approx(32 / (4 * SIDE - 4), rel=0.05)


def test_an_even_image_shows_no_part() -> None:
    assert place_on_ground(np.full((SIDE, SIDE, 3), 90, np.uint8)) is None


@pytest.mark.parametrize(("scale", "x", "y"), [(1, 0.125, 0), (1, 0, -0.1875), (1.25, 0, 0), (0.8, 0, 0)])
def test_the_layout_tells_how_the_view_has_moved(scale: float, x: float, y: float) -> None:
    layout = small_grey(thumbnail_of(board(0)))
    found = place_by_layout(small_grey(thumbnail_of(moved(board(1), scale, x, y))), layout)
    assert found.size == pytest.approx(scale, rel=0.04)
    assert (found.x, found.y) == pytest.approx((0.5 + x, 0.5 + y), abs=0.03)
    assert found.gain > 0.2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (partial(moved, x=-0.2), "pixels further left than in the training images (there up to "),
        (partial(moved, x=0.2), "pixels further right than in the training images (there up to "),
        (partial(moved, y=0.2), "pixels further down than in the training images (there up to "),
        (partial(moved, y=-0.2), "pixels further up than in the training images (there up to "),
        (partial(moved, scale=0.8), "% smaller than in the training images (there up to "),
        (partial(moved, scale=1.25), "% larger than in the training images (there up to "),
        (lambda image: image[19:, 19:], "the part is cut off by the border (along "),
        (lambda image: np.full_like(image, image[0, 0]), "no part like that of the training images found"),
    ],
)
def test_a_part_that_lies_elsewhere_is_refused_for_its_reason(
    on_ground: Reference, change: Callable[[RGB], RGB], reason: str
) -> None:
    for index in range(4):
        found = refusal_of(np.ascontiguousarray(change(disc(index))), None, on_ground)
        assert found is not None
        assert found.startswith("cannot judge: ")
        assert reason in found


def test_pixels_are_those_of_the_image_that_was_given(on_ground: Reference) -> None:
    image = cv2.resize(moved(disc(0), x=-0.2), (3 * SIZE, 3 * SIZE), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    found = refusal_of(image, None, on_ground)
    assert found is not None
    pixels = int(found.partition("the part lies ")[2].split()[0])
    assert 0.1 * 3 * SIZE < pixels < 0.25 * 3 * SIZE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (partial(moved, x=-0.15), "pixels further left)"),
        (partial(moved, y=0.15), "pixels further down)"),
        (partial(moved, scale=0.8), "% smaller)"),
        (lambda image: image[10:86, 10:86], "% larger)"),
    ],
)
def test_a_moved_view_of_a_ground_with_structure_is_refused(
    by_layout: Reference, change: Callable[[RGB], RGB], reason: str
) -> None:
    assert by_layout.placement is not None
    assert by_layout.placement.kind == "layout"
    for index in range(100, 104):
        found = refusal_of(np.ascontiguousarray(change(board(index))), None, by_layout)
        assert found is not None
        assert "shifted, cropped or at another scale (against the training images: " in found
        assert reason in found


def test_a_displaced_part_on_such_a_ground_is_left_to_the_model(by_layout: Reference) -> None:
    image = board(100)
    image[20:80, 30:66] = cv2.resize(image[:, :20], (36, 60))
    cv2.rectangle(image, (36, 46), (60, 82), (20, 20, 24), -1)
    assert refusal_of(image, None, by_layout) is None


@pytest.mark.parametrize("defect", ["good", "dent", "missing_hole", "scratch", "stain"])
def test_parts_that_lie_as_in_training_are_judged(on_ground: Reference, defect: str) -> None:
    assert on_ground.placement is not None
    assert on_ground.placement.kind == "ground"
    assert [refusal_of(disc(index, defect=defect), None, on_ground) for index in range(12)] == [None] * 12


def test_good_views_of_a_ground_with_structure_are_judged(by_layout: Reference) -> None:
    assert [refusal_of(board(index), None, by_layout) for index in range(100, 140)] == [None] * 40


def test_textures_are_not_affected() -> None:
    def fabric(index: int, split: Split) -> RGB:
        return render("woven_fabric", index=index, split=split, size=SIZE)[0]

    made = reference_of([fabric(index, "train") for index in range(30)])
    assert made.placement is not None
    assert (made.placement.kind, made.placement.bands) == ("off", {})
    assert made.placement.noticed < 0.5
    bands = make_reference(
        [image_statistics(fabric(index, "train"), size=SIZE) for index in range(30)], np.ones((30, 4)), image_size=SIZE
    ).bands
    assert made.bands == bands
    for change in (moved, partial(moved, x=0.2), partial(moved, scale=1.25)):
        assert made.placement.reasons(thumbnail_of(change(fabric(0, "test"))), width=SIZE, height=SIZE) == []


def test_few_images_say_nothing_of_how_the_part_lies() -> None:
    thumbnails = np.stack([thumbnail_of(disc(index, "train")) for index in range(FEWEST)])
    assert fit_placement(thumbnails[:-1], share=share).kind == "off"
    assert fit_placement(thumbnails, share=share).kind != "off"


def test_training_images_without_a_part_leave_such_images_to_the_model(on_ground: Reference) -> None:
    empty = np.full((SIZE, SIZE, 3), 60, np.uint8)
    made = reference_of([*(disc(index, "train") for index in range(120)), empty])
    assert made.placement is not None
    assert made.placement.kind == "ground"
    assert made.placement.reasons(thumbnail_of(empty), width=SIZE, height=SIZE) == []
    assert on_ground.placement is not None
    assert on_ground.placement.reasons(thumbnail_of(empty), width=SIZE, height=SIZE) != []


def test_tiles_may_show_any_part_of_the_view(on_ground: Reference) -> None:
    tiles = [np.ascontiguousarray(moved(disc(index), x=0.2)) for index in range(3)]
    assert refusal_of_tiles(tiles, None, on_ground) is None


@pytest.mark.parametrize("kind", ["on_ground", "by_layout"])
def test_what_is_stored_judges_alike(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Reference = request.getfixturevalue(kind)
    save_reference(tmp_path, made)
    found = read_reference(tmp_path)
    assert found is not None
    assert found.placement == made.placement


@pytest.mark.parametrize(
    "damage",
    [
        lambda placement: placement["bands"].pop("size"),
        lambda placement: placement.update(layout=[0.0]),
        lambda placement: placement["bands"]["size"].update(median=0.0),
        lambda placement: placement.update(kind="elsewhere"),
    ],
)
def test_a_damaged_placement_is_refused(
    on_ground: Reference, tmp_path: Path, damage: Callable[[dict[str, object]], object]
) -> None:
    save_reference(tmp_path, on_ground)
    values = json.loads((tmp_path / REFERENCE).read_text())
    damage(values["placement"])
    (tmp_path / REFERENCE).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="damaged"):
        read_reference(tmp_path)


def test_a_reference_of_before_judges_as_it_did(tmp_path: Path) -> None:
    shutil.copy(GOLDEN, tmp_path / REFERENCE)
    found = read_reference(tmp_path)
    assert found is not None
    image = render("machined_disc", index=0, split="test", size=256)[0]
    changed = {
        "good": image,
        "dark": (image * 0.4).astype(np.uint8),
        "blurred": cv2.GaussianBlur(image, (0, 0), 3).astype(np.uint8),
        "cropped": np.ascontiguousarray(image[26:230, 26:230]),
        "shifted": np.roll(image, 50, axis=1),
        "squeezed": np.ascontiguousarray(image[:, ::2]),
    }
    assert {name: refusal_of(each, np.array(found.embedding), found) for name, each in changed.items()} == {
        "good": None,
        "dark": "cannot judge: under-exposed (brightness 20, training images 44–55); too little contrast (contrast 22, "
        "training images 48–57)",
        "blurred": "cannot judge: out of focus (sharpness 121, training images 236–271)",
        "cropped": None,
        "shifted": None,
        "squeezed": "cannot judge: wrong shape (128 x 256 pixels, training images 256 x 256)",
    }
    assert found.placement is None
