"""The model of the memory bank alone, which can be inspected with while its student learns."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from skrd4ad.config import ModelConfig
from skrd4ad.data.dataset import load_images
from skrd4ad.errors import TrainingCancelled
from skrd4ad.inference.network import tensor_of
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.first_look import first_look_folder, full_model_folder
from skrd4ad.model_folder.folder import find_models, read_info, save_calibration
from skrd4ad.model_folder.info import ModelInfo, has_guards
from skrd4ad.model_folder.unfinished import finish_killed, state_file
from skrd4ad.models.normality import patch_descriptors
from skrd4ad.services.models.list import default_model, list_models
from skrd4ad.task import Task
from skrd4ad.training import normality as fitting
from skrd4ad.types import DatasetClass

Train = Callable[..., ModelInfo]
WeightsOf = Callable[[ModelInfo], dict[str, Tensor]]
AGREEMENT = ModelConfig(image_size=64, width=2, fusion="agreement", retrieval=True)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "PATCHES", 40)


def stop_after(epoch: int) -> Task:
    def end(at: int, _: object) -> None:
        if at == epoch:
            raise TrainingCancelled("enough")

    return Task(point=end)


@pytest.fixture
def stopped(train_disc: Train, tmp_path: Path) -> ModelInfo:
    """The first look of a training that was stopped after its first epoch."""
    with pytest.raises(TrainingCancelled):
        train_disc(model=AGREEMENT, epochs=2, task=stop_after(1))
    (folder,) = find_models(tmp_path / "out")
    return read_info(folder)


def test_a_training_that_was_stopped_has_left_a_model_to_inspect_with(stopped: ModelInfo, tmp_path: Path) -> None:
    assert stopped.first_look and "first look" in stopped.title and stopped.history == ()
    assert stopped.calibration is not None and "memory bank alone" in stopped.calibration.data
    assert has_guards(stopped.folder)
    assert list_models(tmp_path / "out") == ([stopped], [])


def test_its_map_is_the_distance_to_the_nearest_good_patch(stopped: ModelInfo, disc: DatasetClass) -> None:
    predictor = Predictor.load(stopped.folder)
    images = load_images(disc.test, 64)
    found = predictor.batch(images)
    bank = predictor.model.normality
    assert bank is not None and bank.patches is not None and bank.centre is not None and bank.scale is not None
    with torch.inference_mode():
        described = patch_descriptors(predictor.model.teacher(tensor_of(images))).permute(0, 2, 3, 1).double().numpy()
    standard = (described - bank.centre.double().numpy()) / bank.scale.double().numpy()
    grid = described.shape[1]
    apart = standard.reshape(-1, 1, standard.shape[-1]) - bank.patches.double().numpy()
    nearest = np.sqrt((apart**2).sum(-1)).min(1).reshape(len(images), grid, grid)
    usual, weight, floor = (float(each[..., -1].flatten()[0]) for each in (bank.usual, bank.weights, bank.floor))
    at = np.linspace(0, grid - 1, 64)
    for row, distances in enumerate(nearest):
        columns = np.stack([np.interp(at, np.arange(grid), line) for line in distances])
        fine = np.stack([np.interp(at, np.arange(grid), line) for line in columns.T]).T
        above = np.maximum((fine - usual) * weight - floor * weight, 0)
        expected = gaussian_filter(above, 4, truncate=4, mode="constant")
        assert np.allclose(found.maps[row], expected, atol=1e-3 * expected.max())
    assert not found.levels[:, :3].any()


def test_its_limit_is_from_the_held_out_images(stopped: ModelInfo, disc: DatasetClass) -> None:
    assert stopped.calibration is not None
    scores = Predictor.load(stopped.folder).batch(load_images(disc.train, 64)).scores
    for score in stopped.calibration.scores:
        assert np.abs(scores - score).min() < 1e-3


def test_the_full_model_takes_its_place(
    stopped: ModelInfo, train_disc: Train, weights_of: WeightsOf, tmp_path: Path
) -> None:
    full = train_disc(model=AGREEMENT, epochs=2, resume=True)
    assert full.folder == full_model_folder(stopped.folder) and not full.first_look
    assert list(find_models(tmp_path / "out")) == [full.folder]
    assert not stopped.folder.exists() and not state_file(full.folder).exists()
    at_once = train_disc(model=AGREEMENT, epochs=2, out=tmp_path / "other")
    assert all(torch.equal(one, weights_of(at_once)[name]) for name, one in weights_of(full).items())


def test_what_a_process_that_died_could_not_remove_goes_with_the_next_sweep(
    stopped: ModelInfo, train_disc: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(run: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr("skrd4ad.model_folder.unfinished.remove_first_look", die)
        train_disc(model=AGREEMENT, epochs=2, resume=True)
    full = full_model_folder(stopped.folder)
    assert list(find_models(tmp_path / "out")) == [full, stopped.folder]
    finish_killed(tmp_path / "out")
    assert list(find_models(tmp_path / "out")) == [full] and not state_file(full).exists()


def test_limits_that_somebody_chose_for_it_are_kept(stopped: ModelInfo, train_disc: Train, tmp_path: Path) -> None:
    assert stopped.calibration is not None
    save_calibration(stopped.folder, replace(stopped.calibration, who="mk", method="manual", image_threshold=9.0))
    full = train_disc(model=AGREEMENT, epochs=2, resume=True)
    models, _ = list_models(tmp_path / "out")
    assert {info.folder for info in models} == {full.folder, first_look_folder(full.folder)}
    # it is newest where the full model was copied back; nobody begins with it
    assert default_model(sorted(models, key=lambda info: not info.first_look)) == full


@pytest.mark.parametrize("model", [ModelConfig(image_size=64), replace(AGREEMENT, fusion="normal", retrieval=False)])
def test_without_a_memory_bank_there_is_none(model: ModelConfig, train_disc: Train, tmp_path: Path) -> None:
    with pytest.raises(TrainingCancelled):
        train_disc(model=model, epochs=2, task=stop_after(1))
    assert list(find_models(tmp_path / "out")) == []
