import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.data.images.read import read_image
from skrd4ad.inference.predict import Predictor
from skrd4ad.models.skrd import SKRD4AD, Student, build_student
from skrd4ad.services.inspection.skip_ablation import skip_ablation, skip_text
from tests.limits import LONG


@pytest.fixture(scope="module")
def part(tiny_data: Path) -> NDArray[np.uint8]:
    return read_image(tiny_data / "machined_disc" / "test" / "dent" / "000.png")


def with_skips(predictor: Predictor, skips: int) -> Predictor:
    """A predictor of its own, whose student was made with another number of skips and given the same weights."""
    student: Student = build_student(replace(predictor.info.model, res=skips + 1))
    student.load_state_dict(predictor.model.student.state_dict())
    return Predictor(SKRD4AD(predictor.model.teacher, student), predictor.info)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_a_cut_student_is_one_made_with_that_many_skips(
    predictor: Predictor, part: NDArray[np.uint8], skips: int
) -> None:
    found = skip_ablation(predictor, part)
    assert list(found) == [0, 1, 2]
    np.testing.assert_array_equal(found[skips], with_skips(predictor, skips).predict(part).anomaly_map)


def test_every_skip_changes_the_map(predictor: Predictor, part: NDArray[np.uint8]) -> None:
    none, one, two = skip_ablation(predictor, part).values()
    assert (none != one).any() and (one != two).any()
    assert none.shape == two.shape == (predictor.image_size, predictor.image_size)
    assert none.dtype == np.float32


def test_a_model_without_skips_has_one_map(predictor: Predictor, part: NDArray[np.uint8]) -> None:
    assert list(skip_ablation(with_skips(predictor, 0), part)) == [0]


def test_the_shared_model_is_left_as_it_is_while_others_use_it(predictor: Predictor, part: NDArray[np.uint8]) -> None:
    expected = predictor.predict(part).anomaly_map
    weights = {name: tensor.clone() for name, tensor in predictor.model.state_dict().items()}
    maps = skip_ablation(predictor, part)
    together = threading.Barrier(4)

    def look(number: int) -> NDArray[np.float32]:
        together.wait(LONG)
        return skip_ablation(predictor, part)[0] if number % 2 else predictor.predict(part).anomaly_map

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(look, range(8)))
    for number, each in enumerate(found):
        np.testing.assert_array_equal(each, maps[0] if number % 2 else expected)
    assert predictor.model.student.decoder.skips == 2
    assert all((weights[name] == tensor).all() for name, tensor in predictor.model.state_dict().items())


@pytest.mark.parametrize(("skips", "words"), [(0, "no skip"), (1, "1 skip"), (2, "2 skips")])
def test_views_are_named_by_their_skips(skips: int, words: str) -> None:
    assert skip_text(skips) == words
