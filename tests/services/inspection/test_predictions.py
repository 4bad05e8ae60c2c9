import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from skrd4ad.data.images.read import list_images, read_image
from skrd4ad.digests import image_digest
from skrd4ad.errors import ImageError
from skrd4ad.inference.evaluate import score_samples
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.scoring import scoring_mask_of
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import REFERENCE, ModelInfo
from skrd4ad.regions import ScoringMask, score_under
from skrd4ad.services.calibration.scores import score_distributions
from skrd4ad.services.inspection import predictions
from skrd4ad.services.inspection.inspect import inspect_images, png_bytes
from skrd4ad.services.inspection.predictions import FILE, CachedPrediction, ImageFile, PredictionStore
from skrd4ad.task import Task
from skrd4ad.types import Sample


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path / "home"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path / "home"
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def predictor(tiny_model: tuple[Path, Path]) -> Predictor:
    return Predictor.load(tiny_model[0])


@pytest.fixture
def images(tiny_data: Path) -> list[Path]:
    return [path for kind in ("dent", "good") for path in list_images(tiny_data / "machined_disc" / "test" / kind)[:2]]


def files_of(paths: list[Path]) -> list[ImageFile]:
    return [ImageFile(image_digest(path), path.name, partial(Path, path)) for path in paths]


def never() -> Predictor:
    pytest.fail("nothing has to be predicted")


def scores_of(
    store: PredictionStore, paths: list[Path], load: Callable[[], Predictor]
) -> list[CachedPrediction | ImageError]:
    return list(store.predictions(files_of(paths), load))


def test_predictions_are_the_models_and_are_made_once(predictor: Predictor, images: list[Path]) -> None:
    store = PredictionStore(predictor.info)
    found = scores_of(store, images, lambda: predictor)
    for path, each in zip(images, found, strict=True):
        assert isinstance(each, CachedPrediction)
        alone = predictor.predict(read_image(path))
        assert each.score == each.raw_score == pytest.approx(alone.score, rel=1e-5)
        assert (each.content, each.view, each.refusal) == (image_digest(path), "resized whole", None)
        assert (each.width, each.height) == (64, 64)
    assert scores_of(PredictionStore(predictor.info), images[::-1], never) == found[::-1]


def test_what_one_page_found_another_one_reads(predictor: Predictor, images: list[Path]) -> None:
    seen = list(inspect_images(predictor, [("upload.png", path.read_bytes()) for path in images]))
    found = scores_of(PredictionStore(predictor.info), images, never)
    assert [each.score for each in found if isinstance(each, CachedPrediction)] == [each.score for each in seen]


def test_tiles_by_hand_are_not_kept(predictor: Predictor, images: list[Path], home: Path) -> None:
    list(inspect_images(predictor, [("part", images[0])], tiling="on"))
    assert not (home / "cache" / FILE).exists()


def test_another_mask_runtime_or_reference_has_its_own_predictions(
    tiny_model: tuple[Path, Path], predictor: Predictor, images: list[Path], tmp_path: Path
) -> None:
    content = image_digest(images[0])
    plain = PredictionStore(predictor.info)
    scores_of(plain, images[:1], lambda: predictor)
    coarse = PredictionStore(predictor.info, ScoringMask(min_area=200))
    others = [coarse, PredictionStore(predictor.info, runtime="openvino fp32")]
    folder = Path(shutil.copytree(tiny_model[0], tmp_path / "copy"))
    assert PredictionStore(read_info(folder)).known([content]) == plain.known([content]) != {}
    (folder / REFERENCE).unlink()
    others.append(PredictionStore(read_info(folder)))
    assert [store.known([content]) for store in others] == [{}, {}, {}]
    (found,) = scores_of(coarse, images[:1], lambda: predictor)
    assert isinstance(found, CachedPrediction)
    plane = predictor.predict(read_image(images[0])).anomaly_map
    assert found.score == pytest.approx(score_under(plane, ScoringMask(min_area=200)), rel=1e-5)
    assert found.score < found.raw_score
    ignoring_nothing = ScoringMask(ignored=np.zeros((8, 8), bool))
    assert PredictionStore(predictor.info, ignoring_nothing).known([content]) == plain.known([content])


def test_copies_are_predicted_once_and_unreadable_images_keep_their_place(
    predictor: Predictor, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    batches: list[int] = []
    batch = Predictor.batch

    def counting(self: Predictor, pixels: torch.Tensor) -> object:
        batches.append(len(pixels))
        return batch(self, pixels)

    monkeypatch.setattr(Predictor, "batch", counting)
    store = PredictionStore(predictor.info)
    first, unreadable, again, other = scores_of(store, [images[0], broken, images[0], images[1]], lambda: predictor)
    assert first == again != other
    assert isinstance(unreadable, ImageError) and "broken.png" in str(unreadable)
    assert sum(batches) == 2
    assert set(store.known([image_digest(path) for path in (*images, broken)])) == {image_digest(p) for p in images[:2]}


def test_a_score_that_is_no_number_is_given_and_not_kept(
    predictor: Predictor, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = predictions.predict_images

    def broken(*arguments: object, **values: object) -> Iterator[object]:
        for found in predict(*arguments, **values):  # type: ignore[arg-type]
            yield replace(found, score=float("nan"))

    monkeypatch.setattr(predictions, "predict_images", broken)
    store = PredictionStore(predictor.info)
    (found,) = scores_of(store, images[:1], lambda: predictor)
    assert isinstance(found, CachedPrediction) and np.isnan(found.score)
    assert store.known([image_digest(images[0])]) == {}


def test_a_stop_keeps_what_was_predicted(predictor: Predictor, images: list[Path]) -> None:
    left = iter((None, None))

    def check() -> None:
        if next(left, "stop") == "stop":
            raise KeyboardInterrupt

    store = PredictionStore(predictor.info)
    with pytest.raises(KeyboardInterrupt):
        list(store.predictions(files_of(images), lambda: predictor, task=Task(check=check)))
    assert set(store.known([image_digest(path) for path in images])) == {image_digest(path) for path in images[:2]}


@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_damaged_file_is_begun_anew(predictor: Predictor, images: list[Path], home: Path, content: bytes) -> None:
    store = PredictionStore(predictor.info)
    first = scores_of(store, images, lambda: predictor)
    (home / "cache" / FILE).write_bytes(content)
    assert scores_of(store, images, lambda: predictor) == first
    assert scores_of(store, images, never) == first


def test_a_workspace_that_cannot_be_written_stops_nobody(
    predictor: Predictor, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(images[0] / "below-a-file"))
    (seen,) = inspect_images(predictor, [("part", images[0])])
    assert seen.score is not None and PredictionStore(predictor.info).known([image_digest(images[0])]) == {}


def test_predictions_are_bounded_and_the_oldest_go(
    predictor: Predictor, images: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "MOST_PREDICTIONS", 3)
    store = PredictionStore(predictor.info)
    for path in images:
        scores_of(store, [path], lambda: predictor)
    assert set(store.known([image_digest(path) for path in images])) == {image_digest(path) for path in images[1:]}
    with sqlite3.connect(home / "cache" / FILE) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (3,)


def test_thousands_are_read_by_content_whatever_their_number(predictor: Predictor) -> None:
    store = PredictionStore(predictor.info)
    rows = [CachedPrediction(f"{n:064x}", n / 7, n / 3, "resized whole", None, 64, 48) for n in range(5000)]
    store._write(rows)
    assert store.known([row.content for row in rows]) == {row.content: row for row in rows}
    assert store.known(["f" * 64, rows[1].content]) == {rows[1].content: rows[1]}


@pytest.fixture
def large(tiny_data: Path, tmp_path: Path) -> Path:
    """Nine parts side by side, three times as large as the training images."""
    part = read_image(tiny_data / "machined_disc" / "test" / "good" / "000.png")
    path = tmp_path / "large.png"
    path.write_bytes(png_bytes(np.tile(part, (3, 3, 1))))
    return path


def test_every_page_sees_a_large_image_alike(info: ModelInfo, predictor: Predictor, large: Path) -> None:
    (seen,) = inspect_images(predictor, [("large", large)])
    assert seen.prediction is not None and seen.prediction.view.startswith("tiled 4x4")
    found = score_distributions(info.folder, None, normals=[large])
    assert found.normals == (seen.score,)
    assert any("1 of 1 good images are seen in tiles" in warning for warning in found.warnings)
    sample = Sample(large, "test", 0, "good")
    evaluated = score_samples(predictor, [sample], mask=scoring_mask_of(predictor.info))
    assert (evaluated.in_tiles, evaluated.verdict_scores.tolist()) == (1, [seen.score])
    plane = cv2.resize(seen.prediction.anomaly_map, (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(evaluated.maps[0], plane)


@pytest.fixture
def info(predictor: Predictor) -> ModelInfo:
    return predictor.info
