from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.data.synthetic.write import render
from skrd4ad.errors import ConfigError
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import wants_tiles
from skrd4ad.inference.reference import Reference, read_reference
from skrd4ad.inference.tiling import OVERLAP, predict_tiled, tile_grid, tile_weights
from skrd4ad.task import Task
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass, Sample

S = 64
RGB = NDArray[np.uint8]


@pytest.fixture(scope="module")
def cloth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of crops of 64 x 64 pixels from cloth that is 320 x 320 pixels large."""
    root = tmp_path_factory.mktemp("cloth")
    samples = []
    for number in range(24):
        sheet = render("woven_fabric", index=number // 4, split="train", size=320)[0]
        top, left = divmod(number % 4, 2)
        path = root / f"{number}.png"
        cv2.imwrite(str(path), sheet[30 + 100 * top :, 30 + 100 * left :][:S, :S, ::-1])
        samples.append(Sample(path, "train", 0, "good"))
    data = DatasetClass("cloth", "cloth", root, "own", tuple(samples))
    config = TrainConfig(epochs=5, batch_size=8, holdout=0.2, seed=0)
    return train(data, model=ModelConfig(image_size=S), config=config, out=root / "out", source="tests").folder


@pytest.fixture(scope="module")
def cloth(cloth_folder: Path) -> Iterator[tuple[Predictor, Reference]]:
    reference = read_reference(cloth_folder)
    assert reference is not None
    yield Predictor.load(cloth_folder), reference


def sheet(size: int = 320) -> RGB:
    return render("woven_fabric", index=0, split="test", size=size)[0]


@pytest.mark.parametrize(("width", "height"), [(64, 64), (65, 64), (100, 700), (4000, 3000), (30, 200)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
def test_tiles_cover_every_pixel_and_overlap_enough(width: int, height: int, overlap: float) -> None:
    grid = tile_grid(width, height, size=S, tile_pixels=(S, S), overlap=overlap)
    for starts, length in ((grid.lefts, width), (grid.tops, height)):
        assert starts[0] == 0
        assert length <= starts[-1] + S < max(length, S) + 4
        steps = np.diff(starts)
        # starts are whole multiples of 4
        assert np.all(steps > 0)
        assert np.all(steps <= S * (1 - overlap) + 4)
        assert np.all(np.array(starts) % 4 == 0)


@pytest.mark.parametrize("starts", [(0,), (0, 64), (0, 48, 92), (0, 16, 32, 48)])
def test_weights_of_all_tiles_sum_to_one_everywhere(starts: tuple[int, ...]) -> None:
    total = np.zeros(starts[-1] + S)
    for start, weights in zip(starts, tile_weights(starts, S), strict=True):
        total[start : start + S] += weights
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_tiles_of_a_rectangle_cover_an_image_with_its_own_steps() -> None:
    grid = tile_grid(700, 100, size=(64, 256), tile_pixels=(256, 64))
    assert grid.lefts == (0, 148, 296, 444) and grid.tops == (0, 36) and grid.text == "tiled 4x2 at 1:1"
    # a tile of 512 x 32 pixels of the image: half a pixel of the map across, two down
    stretched = tile_grid(1024, 64, size=(64, 256), tile_pixels=(512, 32))
    assert (stretched.width, stretched.height) == (512, 128)


def test_words_tell_grid_and_scale() -> None:
    assert tile_grid(208, 160, size=S, tile_pixels=(S, S)).text == "tiled 4x3 at 1:1"
    assert tile_grid(512, 256, size=S, tile_pixels=(256, 256)).text == "tiled 3x1 at 1:4"


def test_an_image_of_one_field_of_view_gives_bitwise_what_the_model_says_of_it(
    cloth: tuple[Predictor, Reference],
) -> None:
    image = sheet()[:S, :S]
    whole, tiled = cloth[0].predict(image), predict_tiled(cloth[0], image, tile_pixels=(S, S))[0]
    np.testing.assert_array_equal(tiled.anomaly_map, whole.anomaly_map)
    np.testing.assert_array_equal(tiled.level_maps, whole.level_maps)
    assert tiled.score == whole.score


def test_the_same_holds_where_training_images_were_larger_than_the_model(cloth: tuple[Predictor, Reference]) -> None:
    image = sheet()[:100, :150]
    whole, tiled = cloth[0].predict(image), predict_tiled(cloth[0], image, tile_pixels=(150, 100))[0]
    np.testing.assert_array_equal(tiled.anomaly_map, whole.anomaly_map)


def test_a_defect_of_ten_pixels_is_found_where_it_is(cloth: tuple[Predictor, Reference]) -> None:
    good = sheet()[:256, :]
    bad = good.copy()
    x, y = 203, 118
    bad[y - 5 : y + 5, x - 5 : x + 5] = (30, 25, 20)
    before, after = (predict_tiled(cloth[0], image, tile_pixels=(S, S))[0] for image in (good, bad))
    assert after.anomaly_map.shape == (256, 320)
    found = np.unravel_index(after.anomaly_map.argmax(), after.anomaly_map.shape)
    assert np.hypot(found[0] - y, found[1] - x) < 10
    assert after.score > 1.2 * before.score
    assert after.score == after.anomaly_map.max()
    # nothing changes in tiles that do not show the defect
    np.testing.assert_allclose(after.anomaly_map[:, :100], before.anomaly_map[:, :100], rtol=1e-3, atol=1e-5)


def test_a_pattern_that_repeats_with_the_tiles_shows_no_seam(cloth: tuple[Predictor, Reference]) -> None:
    step = round(S * (1 - OVERLAP))
    pattern = sheet()[:step, :step]
    image = np.tile(pattern, (5, 6, 1))[: 3 * step + S, : 4 * step + S]
    prediction = predict_tiled(cloth[0], image, tile_pixels=(S, S))[0]
    plane = prediction.anomaly_map
    alone = cloth[0].predict(image[:S, :S]).anomaly_map
    # two tiles differ by no more than the range of one, and the weights change by pi / 2 / overlap a pixel at most
    steepest = max(np.abs(np.diff(alone, axis=0)).max(), np.abs(np.diff(alone, axis=1)).max())
    bound = steepest + np.ptp(alone) * np.pi / 2 / (S - step)
    for axis in (0, 1):
        assert np.abs(np.diff(plane, axis=axis)).max() <= bound
    assert alone.min() - 1e-4 <= plane.min()
    assert plane.max() <= alone.max() + 1e-4


def test_a_constant_image_has_a_map_that_repeats(cloth: tuple[Predictor, Reference]) -> None:
    step = round(S * (1 - OVERLAP))
    image = np.full((S, 4 * step + S, 3), 120, np.uint8)
    plane = predict_tiled(cloth[0], image, tile_pixels=(S, S))[0].anomaly_map
    np.testing.assert_allclose(plane[:, step : 2 * step], plane[:, 2 * step : 3 * step], atol=1e-5)


def test_maps_have_the_shape_of_the_image_and_levels_a_quarter_of_it(cloth: tuple[Predictor, Reference]) -> None:
    found, embeddings, _ = predict_tiled(cloth[0], sheet()[:101, :130], tile_pixels=(S, S))
    assert found.anomaly_map.shape == (101, 130)
    assert found.level_maps.shape == (3, 26, 33)
    assert len(embeddings) == len(tile_grid(130, 101, size=S, tile_pixels=(S, S)).corners)


def test_an_image_narrower_than_a_tile_keeps_its_shape(cloth: tuple[Predictor, Reference]) -> None:
    found = predict_tiled(cloth[0], sheet()[:40, :200], tile_pixels=(S, S))[0]
    assert found.anomaly_map.shape == (40, 200)
    assert np.isfinite(found.anomaly_map).all()


def test_progress_and_check_are_called(cloth: tuple[Predictor, Reference]) -> None:
    seen: list[tuple[int, int]] = []
    checks: list[None] = []
    predict_tiled(
        cloth[0],
        sheet()[:200, :200],
        tile_pixels=(S, S),
        task=Task(show=lambda at: seen.append((at.done, at.total)), check=lambda: checks.append(None)),
    )
    assert seen == [(8, 16), (16, 16)]
    assert len(checks) == 4, "before each batch, and with each report"


@pytest.mark.parametrize(("overlap", "tile"), [(-0.1, 64), (0.9, 64), (0.25, 0)])
def test_overlap_and_tile_out_of_range_are_refused(
    cloth: tuple[Predictor, Reference], overlap: float, tile: int
) -> None:
    with pytest.raises(ConfigError, match="overlap"):
        predict_tiled(cloth[0], sheet(), tile_pixels=(tile, tile), overlap=overlap)


def test_a_larger_piece_of_the_same_cloth_is_tiled(cloth: tuple[Predictor, Reference]) -> None:
    assert wants_tiles(*cloth_and(cloth, sheet()))


def test_a_part_photographed_with_more_pixels_is_seen_whole(tiny_model: tuple[Path, Path]) -> None:
    folder, data = tiny_model
    reference = read_reference(folder)
    image = read_image(data / "machined_disc" / "test" / "good" / "000.png")
    large = cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    assert not wants_tiles(Predictor.load(folder), large, reference)


def test_up_to_one_and_a_half_times_the_training_size_is_seen_whole(cloth: tuple[Predictor, Reference]) -> None:
    assert not wants_tiles(*cloth_and(cloth, sheet()[:96, :]))


def test_choice_by_hand_decides(cloth: tuple[Predictor, Reference]) -> None:
    predictor, image, reference = cloth_and(cloth, sheet())
    assert not wants_tiles(predictor, image, reference, tiling="off")
    assert wants_tiles(predictor, image[:S, :S], reference, tiling="on")
    assert wants_tiles(predictor, image, None, tiling="on")


def test_without_known_training_images_nothing_is_tiled(cloth: tuple[Predictor, Reference]) -> None:
    assert not wants_tiles(cloth[0], sheet(), None)


def test_the_rule_looks_at_the_size_of_the_training_images(cloth: tuple[Predictor, Reference]) -> None:
    predictor, image, reference = cloth_and(cloth, sheet())
    assert not wants_tiles(predictor, image, replace(reference, width=320, height=320))


def cloth_and(cloth: tuple[Predictor, Reference], image: RGB) -> tuple[Predictor, RGB, Reference]:
    return cloth[0], image, cloth[1]
