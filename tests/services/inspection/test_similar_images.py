import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skrd4ad.data import dataset
from skrd4ad.data.images.read import read_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import ConfigError, DataError, ImageError
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.inspection.inspect import png_bytes
from skrd4ad.services.inspection.similar_images import SimilarImage, similar_images
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass


@pytest.fixture
def data(own_disc: DatasetClass) -> DatasetClass:
    return own_disc


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Training images that were decoded so far."""
    seen: list[Path] = []

    def read(path: Path, *, levels: None) -> np.ndarray:
        seen.append(path)
        return read_image(path)

    monkeypatch.setattr(dataset, "read_image", read)
    return seen


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "cache").rglob("*") if path.is_file()]


def test_a_training_image_is_its_own_nearest(predictor: Predictor, data: DatasetClass) -> None:
    for sample in data.train[::4]:
        nearest, *others = similar_images(predictor, read_image(sample.path), data)
        assert (nearest.path, nearest.distance) == (sample.path, pytest.approx(0, abs=1e-6))
        assert len(others) == 2
        assert all(other.distance > 1e-4 for other in others)


def test_the_order_is_that_of_the_cosine_distance_of_the_models_own_embeddings(
    predictor: Predictor, data: DatasetClass
) -> None:
    def embedding(path: Path) -> np.ndarray:
        return predictor.batch(read_image(path)[None]).embeddings[0].astype(float)

    own = embedding(data.test[0].path)
    expected = {}
    for sample in data.train:
        other = embedding(sample.path)
        expected[sample.path] = 1 - own @ other / np.sqrt((own @ own) * (other @ other))
    found = similar_images(predictor, read_image(data.test[0].path), data, k=5)
    assert [each.path for each in found] == sorted(expected, key=lambda path: expected[path])[:5]
    assert [each.distance for each in found] == pytest.approx(sorted(expected.values())[:5], abs=1e-6)
    by_embedding = similar_images(predictor, own, data, k=5)
    assert [each.path for each in by_embedding] == [each.path for each in found]


def test_embeddings_are_computed_once(predictor: Predictor, data: DatasetClass, reads: list[Path], home: Path) -> None:
    image, told = read_image(data.test[0].path), []
    first = similar_images(predictor, image, data, task=Task(show=lambda at: told.append((at.done, at.total))))
    assert sorted(reads) == sorted(sample.path for sample in data.train)
    assert told[-1] == (len(data.train), len(data.train))
    reads.clear()
    told.clear()
    again = similar_images(predictor, image, data, task=Task(show=lambda at: told.append((at.done, at.total))))
    assert (again, reads, told) == (first, [], [])
    assert [path.suffix for path in kept(home)] == [".safetensors"]


def test_renamed_and_reordered_data_is_known_already(
    predictor: Predictor, data: DatasetClass, reads: list[Path]
) -> None:
    image = read_image(data.train[3].path)
    similar_images(predictor, image, data)
    reads.clear()
    moved = data.train[3].path.rename(data.train[3].path.with_name("zzz.png"))
    renamed = replace(data, samples=tuple(reversed(open_dataset(data.root.parent)[0].samples)))
    (nearest,) = similar_images(predictor, image, renamed, k=1)
    assert (nearest.path, reads) == (moved, [])


def test_changed_data_is_computed_again(predictor: Predictor, data: DatasetClass, reads: list[Path]) -> None:
    image = read_image(data.test[0].path)
    before = similar_images(predictor, image, data)
    reads.clear()
    data.train[0].path.write_bytes(png_bytes(image))
    nearest, *_ = similar_images(predictor, image, data)
    assert len(reads) == len(data.train)
    assert nearest == SimilarImage(data.train[0].path, pytest.approx(0, abs=1e-6))
    assert nearest != before[0]


def test_another_image_size_has_embeddings_of_its_own(
    predictor: Predictor, data: DatasetClass, reads: list[Path], home: Path
) -> None:
    image = read_image(data.test[0].path)
    similar_images(predictor, image, data)
    larger = Predictor(predictor.model, replace(predictor.info, model=replace(predictor.info.model, image_size=128)))
    similar_images(larger, image, data)
    assert len(reads) == 2 * len(data.train)
    assert len(kept(home)) == 2


@pytest.mark.parametrize("content", [b"", b"no tensors"])
def test_a_damaged_file_is_computed_again(predictor: Predictor, data: DatasetClass, home: Path, content: bytes) -> None:
    image = read_image(data.test[0].path)
    first = similar_images(predictor, image, data)
    (path,) = kept(home)
    whole = path.read_bytes()
    path.write_bytes(content)
    assert similar_images(predictor, image, data) == first
    assert path.read_bytes() == whole


def test_copies_count_once_and_too_many_neighbours_are_all(predictor: Predictor, data: DatasetClass) -> None:
    first = data.train[0].path
    shutil.copy(first, first.with_name("copy.png"))
    found = similar_images(predictor, read_image(first), open_dataset(data.root.parent)[0], k=99)
    assert len(found) == len(data.train)
    assert found[0].path == first


def test_what_cannot_be_searched_is_said(predictor: Predictor, data: DatasetClass) -> None:
    image = read_image(data.test[0].path)
    with pytest.raises(ConfigError, match="1 or more"):
        similar_images(predictor, image, data, k=0)
    with pytest.raises(DataError, match="no good training images"):
        similar_images(predictor, image, replace(data, samples=data.test))
    with pytest.raises(DataError, match="7 values"):
        similar_images(predictor, np.ones(7), data)
    data.train[0].path.unlink()
    with pytest.raises(ImageError, match="cannot be read"):
        similar_images(predictor, image, data)
