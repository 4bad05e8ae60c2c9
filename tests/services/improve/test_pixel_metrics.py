import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skrd4ad.errors import StorageError, TrainingCancelled
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import save_calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.improve import labelled, pixel_metrics
from skrd4ad.services.improve.agreement import read_book
from skrd4ad.services.improve.pixel_metrics import PixelWorker, pixel_figures, pixel_images
from skrd4ad.services.inspection import predictions
from skrd4ad.services.inspection.predictions import PredictionStore
from skrd4ad.services.labelling import score_queue
from skrd4ad.services.labelling.score_queue import score_labelled
from skrd4ad.storage.labelled_images import LabelledImage
from skrd4ad.task import Task
from skrd4ad.types import DatasetClass
from tests.limits import LONG
from tests.loop_world import known_of, label_sample, part, put, score_all


@pytest.fixture(scope="module")
def others(more_parts: Path) -> DatasetClass:
    return part(more_parts)


@pytest.fixture
def images(info: ModelInfo, others: DatasetClass) -> tuple[LabelledImage, ...]:
    """The test images of another data set, labelled with their masks."""
    for sample in others.test:
        label_sample(info, sample)
    return known_of(info, None).labels.images


def test_scores_are_those_of_the_model_and_are_stored_with_their_calibration(
    info: ModelInfo, images: tuple[LabelledImage, ...], others: DatasetClass
) -> None:
    seen: list[tuple[int, int]] = []
    assert score_labelled(info, images, task=Task(show=lambda at: seen.append((at.done, at.total)))) == {}
    assert seen[-1] == (len(images), len(images))
    stored = read_book(info).images
    predictor = Predictor.load(info.folder)
    expected = evaluate_model(predictor, others)
    by_name = {sample.path: score for sample, score in zip(expected.samples, expected.data.scores, strict=True)}
    for image in images:
        assert stored[image.digest].score == pytest.approx(by_name[Path(image.file)], rel=1e-5)
        assert stored[image.digest].calibration == 1


def test_pixel_figures_are_those_of_an_evaluation(
    info: ModelInfo, images: tuple[LabelledImage, ...], others: DatasetClass
) -> None:
    chosen, drawn = pixel_images(images, image_size=64)
    found = pixel_figures(info, chosen)
    expected = evaluate_model(Predictor.load(info.folder), others).metrics
    assert (drawn, found.n_good, found.n_masks) == (False, expected.n_good, expected.n_masks)
    assert found.pixel_auroc == pytest.approx(expected.pixel_auroc, abs=5e-4)
    assert found.aupro == pytest.approx(expected.aupro, abs=2e-3)
    assert found.left_out == ()


def test_ignored_pixels_enter_no_figure(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    chosen, _ = pixel_images(images, image_size=64)
    whole = pixel_figures(info, chosen)
    mask = np.zeros((64, 64), bool)
    mask[:, :32] = True
    assert info.calibration is not None
    half = save_calibration(info.folder, info.calibration, ignore_mask=mask)
    assert pixel_figures(half, chosen).pixel_auroc != whole.pixel_auroc
    mask[:] = True
    mask[0, 0] = False
    nearly = save_calibration(info.folder, info.calibration, ignore_mask=mask)
    assert pixel_figures(nearly, chosen).aupro is None


def test_maps_are_made_once_and_kept_in_half_precision(
    info: ModelInfo, images: tuple[LabelledImage, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    score_all(info)
    found = PredictionStore(info).map_of(images[0].digest)
    assert found is not None and (found.shape, found.dtype) == ((64, 64), np.float16)
    assert found.max() == pytest.approx(read_book(info).images[images[0].digest].score, rel=1e-3)
    monkeypatch.setattr(Predictor, "load", lambda *_, **__: pytest.fail("the maps are there"))
    pixel_figures(info, pixel_images(images, image_size=64)[0])


def test_a_damaged_map_is_not_used(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    score_all(info)
    file = next((workspace() / "cache" / "maps").glob(f"*/{images[0].digest}.npy"))
    file.write_bytes(file.read_bytes()[:100])
    assert PredictionStore(info).map_of(images[0].digest) is None
    np.save(file, np.zeros((8, 8), np.float16))
    assert PredictionStore(info).map_of(images[0].digest) is None
    assert PredictionStore(info).map_of("0" * 64) is None and not PredictionStore(info).has_map("0" * 64)


def test_the_kept_maps_are_bounded(
    info: ModelInfo, images: tuple[LabelledImage, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    score_labelled(info, images[:3])
    one = next((workspace() / "cache" / "maps").glob("*/*.npy")).stat().st_size
    for index, image in enumerate(images[:3]):
        path = next((workspace() / "cache" / "maps").glob(f"*/{image.digest}.npy"))
        os.utime(path, (1000 + index, 1000 + index))
    PredictionStore(info).map_of(images[0].digest)  # used just now
    monkeypatch.setattr(predictions, "MAP_BYTES", 2 * one)
    score_labelled(info, images[3:4])
    assert [PredictionStore(info).has_map(image.digest) for image in images[:4]] == [True, False, False, True]


def test_files_that_are_gone_or_changed_are_told(info: ModelInfo, others: DatasetClass, tmp_path: Path) -> None:
    paths = [Path(shutil.copy(sample.path, tmp_path / f"{index}.png")) for index, sample in enumerate(others.train[:3])]
    digests = [put(info, path) for path in paths]
    images = [
        replace(known, digest=digest, file=str(path), name=path.name, label="good")
        for digest, path, known in zip(digests, paths, [_bare(info)] * 3, strict=True)
    ]
    paths[0].unlink()
    shutil.copy(others.train[5].path, paths[1])
    found = score_labelled(info, images)
    assert set(found) == set(digests[:2])
    assert "not at" in found[digests[0]] and "was changed since it was put into the queue" in found[digests[1]]
    assert PredictionStore(info).has_map(digests[2])


def _bare(info: ModelInfo) -> LabelledImage:
    return LabelledImage("", "", "", None, "good", None, None, "Ada", None, None)


def test_scoring_can_be_stopped_and_keeps_what_was_done(
    info: ModelInfo, images: tuple[LabelledImage, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_queue, "AT_ONCE", 1)
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if len(calls) > 10:
            raise TrainingCancelled("enough")

    with pytest.raises(TrainingCancelled):
        score_labelled(info, images, task=Task(check=check))
    stored = [image for image in read_book(info).images.values() if image.score is not None]
    assert 0 < len(stored) < len(images)


def test_maps_that_cannot_be_kept_are_an_error_in_words(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    (workspace() / "cache").mkdir(parents=True, exist_ok=True)
    (workspace() / "cache" / "maps").write_text("a file in the way")
    with pytest.raises(StorageError, match=r"\.npy cannot be written"):
        score_labelled(info, images[:1])


def test_figures_need_a_mask_and_a_good_image(images: tuple[LabelledImage, ...]) -> None:
    good = [image for image in images if image.label == "good"]
    masked = [image for image in images if image.mask_file is not None]
    assert pixel_images(good, image_size=64) == ([], False)
    assert pixel_images(masked, image_size=64) == ([], False)
    assert pixel_images([*good, replace(masked[0], label="unsure")], image_size=64) == ([], False)


@pytest.mark.parametrize(
    ("n_masked", "n_good", "expected"), [(3, 3, (3, 3)), (9, 9, (6, 3)), (9, 2, (7, 2)), (2, 9, (2, 7))]
)
def test_images_are_drawn_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch, n_masked: int, n_good: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(pixel_metrics, "MOST_PIXELS", 9 * 64 * 64)
    bare = LabelledImage("", "", "", None, "good", None, None, "Ada", None, None)
    images = [replace(bare, digest=f"g{n}") for n in range(n_good)]
    images += [replace(bare, digest=f"m{n}", label="defect", mask_file="m.png") for n in range(n_masked)]
    chosen, drawn = pixel_images(images, image_size=64)
    masked = sum(image.mask_file is not None for image in chosen)
    assert (masked, len(chosen) - masked) == expected
    assert drawn == (sum(expected) < n_masked + n_good)
    # one more image changes at most one of those that were drawn
    more, _ = pixel_images([*images, replace(bare, digest="zz")], image_size=64)
    assert len({i.digest for i in chosen} - {i.digest for i in more}) <= 1


def test_the_worker_answers_at_once_and_knows_better_later(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    worker = PixelWorker()
    first = worker.ask(info, images, purpose="test")
    assert first is not None and not first.is_current and first.figures is None
    assert worker.wait(LONG)
    found = worker.ask(info, images, purpose="test")
    assert found is not None and found.is_current and found.figures is not None
    assert found.figures == pixel_figures(info, pixel_images(images, image_size=64)[0])
    fewer = [image for image in images if image.mask_file is None or image != images[-1]][:-1]
    stale = worker.ask(info, fewer, purpose="test")
    assert stale is not None and not stale.is_current and stale.figures == found.figures
    assert worker.wait(LONG)
    renewed = worker.ask(info, fewer, purpose="test")
    assert renewed is not None and renewed.is_current and renewed.figures != found.figures
    assert worker.ask(info, images[:1], purpose="test") is None


def test_two_questions_on_one_model_do_not_chase_each_other(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    worker = PixelWorker()
    fewer = images[:-1]
    for _ in range(2):
        worker.ask(info, images, purpose="all")
        worker.ask(info, fewer, purpose="fewer")
        assert worker.wait(LONG)
    both = [worker.ask(info, images, purpose="all"), worker.ask(info, fewer, purpose="fewer")]
    assert all(each is not None and each.is_current for each in both)


@pytest.mark.parametrize("kind", ["told", "bug"])
def test_what_goes_wrong_is_told_and_does_not_end_the_worker(
    info: ModelInfo, images: tuple[LabelledImage, ...], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise StorageError("The disk is full.") if kind == "told" else ZeroDivisionError("by zero")

    worker = PixelWorker()
    with monkeypatch.context() as patch:
        patch.setattr(labelled, "score_labelled", fail)
        worker.ask(info, images, purpose="test")
        assert worker.wait(LONG)
    found = worker.ask(info, images, purpose="test")
    assert found is not None and found.is_current and found.figures is None
    assert found.error == ("The disk is full." if kind == "told" else "ZeroDivisionError: by zero")
    worker.ask(info, images[:-1], purpose="test")
    assert worker.wait(LONG)
    after = worker.ask(info, images[:-1], purpose="test")
    assert after is not None and after.figures is not None


def test_a_mask_of_which_nothing_is_left_is_told(info: ModelInfo, images: tuple[LabelledImage, ...]) -> None:
    masked = next(image for image in images if image.mask_file is not None)
    gone = replace(masked, digest=masked.digest, mask_file="masks/gone.png")
    rest = [image for image in images if image != masked]
    found = pixel_figures(info, [*rest, gone])
    assert found.n_masks == sum(image.mask_file is not None for image in rest)
    assert len(found.left_out) == 1
