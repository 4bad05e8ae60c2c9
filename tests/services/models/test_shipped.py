"""Evaluations that come with a model."""

from pathlib import Path

import numpy as np
import pytest

from skrd4ad.data.sources import open_dataset
from skrd4ad.errors import StorageError
from skrd4ad.model_folder.info import read_info
from skrd4ad.model_folder.pictures import read_pictures
from skrd4ad.services.evaluation.evaluate import find_evaluation
from skrd4ad.services.evaluation.operating_points import findings
from skrd4ad.services.evaluation.store import delete_evaluation, list_evaluations, load_evaluation
from skrd4ad.services.models.shipped import ship_evaluation, take_over_evaluations
from tests.evaluation_world import EvaluationWorld

DEMOS = Path(__file__).parents[3] / "checkpoints"


def test_it_is_taken_over_once_with_its_figures_and_maps_to_look_at(evaluated: EvaluationWorld) -> None:
    stored, info = evaluated.stored(), evaluated.info()
    scores = stored.map_of(0)
    folder = ship_evaluation(stored)
    for file in folder.glob("*.json"):
        assert str(evaluated.root) not in file.read_text(), "a folder of this machine"
    delete_evaluation(stored.summary.key)
    take_over_evaluations([info])
    found = find_evaluation(info, evaluated.data)
    assert found is not None and found.is_current and not found.has_maps
    assert (found.summary.metrics, found.images) == (stored.summary.metrics, stored.images)
    assert np.abs(found.map_of(0) - scores).mean() < 0.1 * np.abs(scores).mean()
    assert info.calibration is not None
    assert findings(found, info.calibration).outcomes == findings(stored, info.calibration).outcomes
    with pytest.raises(StorageError, match="Evaluate again"):
        found.evaluation_set()
    delete_evaluation(stored.summary.key)
    take_over_evaluations([info])
    assert stored.summary.key not in {each.key for each in list_evaluations()}


def test_a_damaged_one_is_left_alone(evaluated: EvaluationWorld) -> None:
    stored = evaluated.stored()
    (ship_evaluation(stored) / "evaluation.json").write_text("{")
    delete_evaluation(stored.summary.key)
    take_over_evaluations([evaluated.info()])
    assert load_evaluation(stored.summary.key) is None


@pytest.mark.parametrize("name", ["elpv/solar_cell_mono", "synthetic/machined_disc"])
def test_the_demo_models_come_with_theirs_and_with_pictures(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKRD4AD_HOME", str(tmp_path))
    info = read_info(DEMOS / name / "demo")
    assert info.calibration is not None
    assert [part.calibration for part in read_pictures(info.folder)] == 3 * [info.calibration.version]
    take_over_evaluations([info])
    (summary,) = list_evaluations()
    assert info.metrics is not None
    assert summary.metrics.image_auroc == info.metrics["image_auroc"]
    if name.startswith("elpv"):  # the other data set would have to be drawn first
        (data,) = open_dataset("elpv", class_name="solar_cell_mono")
        found = find_evaluation(info, data)
        assert found is not None and found.is_current
