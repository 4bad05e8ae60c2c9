"""Fitting what is usual on good images, and models that carry it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from skrd4ad.config import ModelConfig
from skrd4ad.data.dataset import load_images
from skrd4ad.digests import file_digest
from skrd4ad.errors import CheckpointError, TrainingCancelled
from skrd4ad.export.manifest import ExportSettings
from skrd4ad.export.runtimes import ExportedModel, RuntimeChoice, load_runtime
from skrd4ad.export.write import export_model
from skrd4ad.inference.feature_cache import FeatureCache, cache_features
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import WEIGHTS, ModelInfo
from skrd4ad.model_folder.network import load_model
from skrd4ad.models.normality import Normality, patch_descriptors
from skrd4ad.models.skrd import Student, build_student
from skrd4ad.models.teachers import Teacher
from skrd4ad.task import Task
from skrd4ad.training import normality as fitting
from skrd4ad.training.normality import farthest_points, fit_normality
from skrd4ad.types import DatasetClass

Train = Callable[..., ModelInfo]
PATCHES = ModelConfig(image_size=64, width=2, fusion="normal", retrieval=True)
SPREAD = replace(PATCHES, retrieval=False)
AGREEMENT = replace(PATCHES, fusion="agreement")


@pytest.fixture(scope="module")
def student() -> Student:
    return build_student(PATCHES, seed=2)


@pytest.fixture(scope="module")
def learning(lite0: Teacher, disc: DatasetClass) -> FeatureCache:
    return cache_features(lite0, disc.train, image_size=64)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "PATCHES", 40)


def fitted(student: Student, learning: FeatureCache, *, seed: int = 3, model: ModelConfig = PATCHES) -> Normality:
    found = fit_normality(student, learning, model=model, seed=seed)
    assert found is not None
    return found


def as_numpy(tensor: Tensor | None) -> NDArray[np.float64]:
    assert tensor is not None
    return tensor.double().numpy()


@pytest.mark.parametrize("far", [1, 3, 64])
def test_points_are_chosen_as_a_plain_loop_chooses_them(far: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "_FAR", far)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(50, 6, generator=generator)
    chosen = [0]
    for _ in range(11):
        gaps = np.linalg.norm(points.numpy()[:, None] - points.numpy()[chosen], axis=2).min(axis=1)
        chosen.append(int(gaps.argmax()))
    assert farthest_points(points, 12, generator=generator).tolist() == chosen


def test_copies_are_chosen_last_and_each_point_once() -> None:
    points = torch.tensor([[0.0], [0.0], [1.0], [1.0], [5.0]])
    chosen = farthest_points(points, 9, generator=torch.Generator()).tolist()
    assert sorted(chosen) == [0, 1, 2, 3, 4]
    assert set(points[chosen[:3], 0].tolist()) == {0.0, 1.0, 5.0}


def test_the_same_seed_fits_the_same(student: Student, learning: FeatureCache, few: None) -> None:
    first, second, other = (fitted(student, learning, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["patches"], other["patches"])


def test_patches_are_descriptors_of_the_image_they_name(student: Student, learning: FeatureCache, few: None) -> None:
    found = fitted(student, learning)
    assert found.patches is not None and found.source is not None and len(found.patches) == 40
    described = found.standardised(patch_descriptors(learning.batch(torch.arange(len(learning))))).contiguous()
    for patch, (image, row, column) in zip(found.patches, found.source.tolist(), strict=True):
        torch.testing.assert_close(described[image, :, row, column], patch, atol=1e-4, rtol=1e-4)


def test_usual_distances_and_weights_follow_their_definition(
    student: Student, learning: FeatureCache, few: None
) -> None:
    """Written again in NumPy, in float64 and one image at a time."""
    found = fitted(student, learning)
    patches, source = as_numpy(found.patches), as_numpy(found.source)[:, 0]
    rows, values, places = [], [], []
    for image in range(len(learning)):
        features = learning.batch(torch.tensor([image]))
        described = as_numpy(found.standardised(patch_descriptors(features))[0]).reshape(patches.shape[1], -1).T
        gaps = np.linalg.norm(described[:, None] - patches, axis=2)
        gaps[:, source == image] = np.inf
        with torch.inference_mode():
            pairs = zip(features, student(features), strict=True)
            levels = [1 - torch.nn.functional.cosine_similarity(f, g, dim=1) for f, g in pairs]
        # 64 pixels: levels of 8, 4 and 2, patches on the grid of 4
        fine, middle, coarse = (level[None] for level in levels)
        coarse = torch.nn.functional.interpolate(coarse, size=(4, 4), mode="bilinear", align_corners=True)
        fine = fine.reshape(1, 1, 4, 2, 4, 2).mean(dim=(3, 5))
        values.append(np.stack([*(as_numpy(each).ravel() for each in (fine, middle, coarse)), gaps.min(axis=1)], 1))
        rows.append(described)
        places.append(gaps.argmin(axis=1))
    gaps = np.linalg.norm(patches[:, None] - np.concatenate(rows), axis=2)
    nearest = np.argsort(gaps, axis=1)[:, : fitting.NEIGHBOURS]
    expected = np.concatenate(values)[nearest].mean(axis=1)
    every = np.concatenate(values)
    np.testing.assert_allclose(as_numpy(found.usual)[:, :3], expected[:, :3], rtol=2e-3, atol=1e-4)
    # the distance to the nearest patch has one usual value
    np.testing.assert_allclose(as_numpy(found.usual)[:, 3], every[:, 3].mean(), rtol=1e-3)
    shares = fitting.SHARES["normal"]
    assert found.weights[3].item() == pytest.approx(shares[3] / np.std(every[:, 3], ddof=1), rel=1e-2)
    # the middle level is on the grid of the patches, so it needs no resizing
    departures = every[:, 1] - expected[np.concatenate(places), 1]
    assert found.weights[1].item() == pytest.approx(shares[1] / np.std(departures, ddof=1), rel=1e-2)


def test_agreement_differs_in_shares_and_floors_alone(student: Student, learning: FeatureCache, few: None) -> None:
    plain, found = fitted(student, learning), fitted(student, learning, model=AGREEMENT)
    assert plain.floor is None and found.floor is not None
    for name, tensor in plain.state_dict().items():
        assert name == "weights" or torch.equal(tensor, found.state_dict()[name]), name
    spread = torch.tensor(fitting.SHARES["normal"]) / plain.weights
    torch.testing.assert_close(found.weights, torch.tensor(fitting.SHARES["agreement"]) / spread)
    torch.testing.assert_close(found.floor, fitting.FLOOR * spread)


def test_an_image_that_gave_all_patches_is_compared_with_none_of_them(
    student: Student, lite0: Teacher, disc: DatasetClass, few: None
) -> None:
    with cache_features(lite0, disc.train[:1], image_size=64) as one:
        found = fitted(student, one)
    assert all(torch.isfinite(tensor).all() for tensor in found.state_dict().values())


def test_fitting_may_be_stopped(student: Student, learning: FeatureCache) -> None:
    def check() -> None:
        raise TrainingCancelled("stop")

    with pytest.raises(TrainingCancelled):
        fit_normality(student, learning, model=PATCHES, seed=0, task=Task(check=check))


def test_published_map_fits_nothing(student: Student, learning: FeatureCache) -> None:
    assert fit_normality(student, learning, model=ModelConfig(image_size=64), seed=0) is None


# models


@pytest.mark.parametrize("model", [PATCHES, AGREEMENT, SPREAD], ids=["patches", "agreement", "spread"])
def test_a_trained_model_scores_held_out_images_as_its_calibration_says(
    model: ModelConfig, train_disc: Train, disc: DatasetClass, few: None
) -> None:
    info = train_disc(model=model, epochs=2, schedule="cosine")
    assert info.calibration is not None
    predictor = Predictor.load(info.folder)
    found = predictor.batch(load_images(disc.train, 64))
    assert found.levels.shape == (len(disc.train), 4 if model.retrieval else 3, 64, 64)
    for score in info.calibration.scores:
        assert np.abs(found.scores - score).min() < 1e-4
    loaded, _ = load_model(info.folder)
    assert loaded.normality is not None and (loaded.normality.patches is not None) == model.retrieval
    assert (loaded.normality.floor is not None) == (model.fusion == "agreement")


def test_retrieval_off_has_the_student_that_retrieval_on_has(train_disc: Train, few: None) -> None:
    """The second opinion changes what the map is made of, not what is learnt."""
    with_patches, pure = (
        load_file(train_disc(model=replace(PATCHES, retrieval=on), epochs=1).folder / WEIGHTS) for on in (True, False)
    )
    student = [name for name in pure if not name.startswith("normality.")]
    assert student and all(torch.equal(pure[name], with_patches[name]) for name in student)
    assert {"normality.patches", "normality.usual"} <= with_patches.keys() - pure.keys()


@pytest.mark.slow
def test_a_runtime_and_an_export_give_the_same_with_patches(
    train_disc: Train, disc: DatasetClass, tmp_path: Path, few: None
) -> None:
    info = train_disc(model=AGREEMENT, epochs=1)
    images = load_images(disc.test[:4], 64)
    predictor = Predictor.load(info.folder)
    expected = predictor.batch(images)
    runtime = load_runtime(info.folder, RuntimeChoice("openvino"), threads=1).batch(images)
    export = export_model(predictor, ExportSettings(format="onnx"), out=tmp_path / "export")
    for found in (runtime, ExportedModel(export, threads=1).batch(images)):
        np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=1e-3)
    assert runtime.levels.shape[1] == 4


def test_damaged_patches_are_refused(train_disc: Train, few: None) -> None:
    info = train_disc(model=PATCHES, epochs=1)
    path: Path = info.folder / WEIGHTS
    tensors = load_file(path)
    tensors["normality.usual"] = tensors["normality.usual"][:, :3].contiguous()
    save_file(tensors, path)
    config = (info.folder / "config.json").read_text().replace(info.digest, file_digest(path))
    (info.folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match="usual"):
        load_model(info.folder)


def test_tensors_of_another_fusion_are_refused(train_disc: Train, few: None) -> None:
    info = train_disc(model=AGREEMENT, epochs=1)
    config = info.folder / "config.json"
    config.write_text(config.read_text().replace('"agreement"', '"normal"'))
    with pytest.raises(CheckpointError, match="fusion is 'normal'"):
        load_model(info.folder)


def quantised_behind_sums(file: Path) -> set[str]:
    """Names of the quantisers of an IR that follow the sums that cosines begin with."""
    root = ElementTree.parse(file).getroot()
    layers = {layer.get("id"): layer for layer in root.iter("layer")}
    assert any(layer.get("type") == "FakeQuantize" for layer in layers.values())
    reached = {place for place, layer in layers.items() if layer.get("type") == "ReduceSum"}
    assert reached
    while True:
        more = {e.get("to-layer") for e in root.iter("edge") if e.get("from-layer") in reached} - reached
        if not more:
            break
        reached |= more
    return {str(layers[place].get("name")) for place in reached if layers[place].get("type") == "FakeQuantize"}


@pytest.mark.slow
def test_an_int8_export_still_finds_the_nearest_patches(train_disc: Train, disc: DatasetClass) -> None:
    info = train_disc(model=AGREEMENT, epochs=2, schedule="cosine")
    predictor = Predictor.load(info.folder)
    settings = ExportSettings(format="openvino", precision="int8")
    export = export_model(predictor, settings, normals=disc.train)
    assert quantised_behind_sums(export.main_file) == set()
    runtime = ExportedModel(export, threads=1)
    images = load_images(disc.test, 64)
    expected, found = predictor.batch(images).maps, runtime.batch(images).maps
    # quantised convolutions move the map a little; patches mistaken for others move it by a multiple of itself
    assert np.abs(found - expected).mean() < 0.5 * expected.std()
