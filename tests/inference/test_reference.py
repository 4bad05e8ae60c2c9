import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.data.images.read import read_image
from skrd4ad.errors import CheckpointError, ConfigError, DataError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.reference import ImageStatistics, read_reference, save_reference
from skrd4ad.model_folder.info import REFERENCE
from skrd4ad.training.reference import make_reference, measure
from skrd4ad.types import DatasetClass

PLAIN = ImageStatistics(
    width=100, height=80, shadows=50, brightness=100, lights=150, dark=0, bright=0, contrast=30, sharpness=200, noise=1,
    green_red=0, blue_yellow=0,
)  # fmt: skip


def directions(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=32) + 0.1 * rng.normal(size=(n, 32))


def test_training_writes_the_reference_of_all_its_good_images(
    tiny_model: tuple[Path, Path], disc: DatasetClass
) -> None:
    found = read_reference(tiny_model[0])
    assert found is not None
    assert (found.n, found.image_size, found.width, found.height) == (len(disc.train), 64, 64, 64)
    brightness = [each.brightness for each in measure(disc.train, image_size=64)[0]]
    band = found.bands["brightness"]
    assert (band.seen_low, band.seen_high) == (min(brightness), max(brightness))


def test_what_is_stored_is_read_back(tmp_path: Path) -> None:
    made = make_reference([PLAIN] * 5, directions(5), image_size=64)
    save_reference(tmp_path, made)
    found = read_reference(tmp_path)
    assert found is not None
    assert replace(found, embedding=made.embedding) == made
    assert found.embedding == pytest.approx(made.embedding, abs=1e-6)


def test_own_parts_are_near_and_others_far(tiny_model: tuple[Path, Path], disc: DatasetClass) -> None:
    predictor, reference = Predictor.load(tiny_model[0]), read_reference(tiny_model[0])
    assert reference is not None
    image = read_image(disc.test[0].path)[None]
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    own, other = (reference.distance(predictor.batch(each).embeddings[0]) for each in (image, noise))
    assert reference.bands["distance"].side(own) == 0
    assert reference.bands["distance"].side(other) == 1


def test_one_image_makes_a_reference() -> None:
    made = make_reference([PLAIN], directions(1), image_size=64)
    assert made.bands["brightness"].side(100) == 0
    assert made.distance(directions(1)[0]) == pytest.approx(0)


@pytest.mark.parametrize("rate", [0, 1, -0.1])
def test_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="refusal rate"):
        make_reference([PLAIN], directions(1), image_size=64, refusal_rate=rate)


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="0 images"):
        make_reference([], np.empty((0, 3)), image_size=64)


def test_a_folder_without_a_reference_has_none(tmp_path: Path) -> None:
    assert read_reference(tmp_path) is None


@pytest.mark.parametrize("damage", ["bands", "format", "embedding", "n"])
def test_a_damaged_reference_is_refused(tmp_path: Path, damage: str) -> None:
    save_reference(tmp_path, make_reference([PLAIN] * 5, directions(5), image_size=64))
    values = json.loads((tmp_path / REFERENCE).read_text())
    del values[damage]
    (tmp_path / REFERENCE).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="damaged"):
        read_reference(tmp_path)
