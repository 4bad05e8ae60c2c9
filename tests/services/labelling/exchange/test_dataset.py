"""Labels become a data set that can be trained on and evaluated."""

from pathlib import Path

import numpy as np
import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.images.read import read_image
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.digests import file_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.datasets import class_of_model, classes_of, made_datasets, preflight
from skrd4ad.services.evaluation.charts import class_bars
from skrd4ad.services.evaluation.curve_chart import curve_chart
from skrd4ad.services.evaluation.evaluate import find_evaluation
from skrd4ad.services.labelling.exchange.plan import ExportOptions, plan_export
from skrd4ad.services.labelling.exchange.store import run_import
from skrd4ad.services.labelling.exchange.transfer import make_dataset, plan_import
from skrd4ad.services.training import TrainingRequest, train_class
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.label_exchange import classes_with_labels
from skrd4ad.storage.label_queue import QueueFilter

MVTEC = ExportOptions(format="mvtec")
LABELS = QueueFilter(dataset="floor", class_name="disc", model_digest="")


@pytest.fixture(autouse=True)
def home(home: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Path) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tiny_data))
    return home.resolve()


@pytest.fixture
def labelled(tiny_data: Path) -> None:
    """A labelled folder of one's own was imported."""
    plan = plan_import(tiny_data / "machined_disc", dataset=LABELS.dataset, class_name=LABELS.class_name)
    run_import(plan, reviewer="A")


@pytest.mark.slow
def test_labels_become_a_data_set_to_train_on_and_to_evaluate(labelled: None, home: Path, tiny_data: Path) -> None:
    with workspace_database().read() as session:
        assert classes_with_labels(session) == [("floor", "disc")]
    folder, exported = make_dataset(plan_export(LABELS, MVTEC), "from-the-floor")
    assert folder == home / "labelled" / "from-the-floor"
    assert made_datasets() == [folder]
    (found,) = classes_of(str(folder), layout="mvtec")
    (original,) = find_classes(tiny_data)
    assert (found.dataset, found.name, exported.left_out) == ("from-the-floor", "disc", ())
    for each in (found, original):
        assert len(each.train) == 12
    assert sorted((file_digest(s.path), s.split, s.defect_type) for s in found.samples) == sorted(
        (file_digest(s.path), s.split, s.defect_type) for s in original.samples
    )
    assert all((s.mask_path is not None) == (s.label == 1) for s in found.test)
    assert preflight([found], image_size=64).ok

    request = TrainingRequest(
        source=str(folder),
        layout="mvtec",
        class_name="disc",
        model=ModelConfig(image_size=64),
        train=TrainConfig(epochs=1, batch_size=4, holdout=0.25),
    )
    info = train_class(found, request, out=home.parent / "models")
    assert (info.dataset, info.class_name) == ("from-the-floor", "disc")
    assert info.metrics is not None
    assert info.metrics["n_good"] == sum(s.label == 0 for s in original.test)
    again = evaluate_model(Predictor.load(info.folder), class_of_model(info))
    assert again.metrics.image_auroc == pytest.approx(info.metrics["image_auroc"])
    assert again.metrics.pixel_auroc is not None, "the masks are part of it"
    assert read_image(found.train[0].path).shape == (64, 64, 3)
    stored = find_evaluation(info, class_of_model(info))
    assert stored is not None and stored.is_current
    for metric in ("image_auroc", "pixel_auroc", "aupro"):
        bar = class_bars([stored.summary], metric=metric).data[0]
        assert bar.y[0] + bar.base == pytest.approx(info.metrics[metric])
    line = next(trace for trace in curve_chart([stored], name="image_roc").data if trace.customdata is not None)
    assert np.array_equal(line.y, stored.curves["image_roc"].y)


def test_a_data_set_stays_as_it_is_and_another_gets_another_name(labelled: None) -> None:
    plan = plan_export(LABELS, MVTEC)
    make_dataset(plan, "first")
    with pytest.raises(DataError, match="Choose another name, such as first-2"):
        make_dataset(plan, "first")


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", ".hidden", "elpv", "synthetic", "a b", "x" * 81])
def test_a_name_that_no_data_set_can_have_is_refused(labelled: None, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        make_dataset(plan_export(LABELS, MVTEC), name)
    assert made_datasets() == []


def test_other_formats_and_too_few_good_images_are_refused(labelled: None) -> None:
    with pytest.raises(ConfigError, match="made of MVTec folders"):
        make_dataset(plan_export(LABELS, ExportOptions(format="csv")), "x")
    with pytest.raises(DataError, match="There are 0 good to learn from; needed: at least 2"):
        make_dataset(plan_export(QueueFilter(dataset="no", class_name="no", model_digest=""), MVTEC), "x")
    assert made_datasets() == []


def test_only_data_sets_made_of_labels_are_readable_beside_the_data_roots(home: Path) -> None:
    (home / "uploads").mkdir(parents=True)
    with pytest.raises(DataError, match="outside the folders"):
        classes_of(str(home / "labelled" / ".." / "uploads"))
    (home / "labelled").mkdir()
    (home / "labelled" / "link").symlink_to(home / "uploads")
    with pytest.raises(DataError, match="outside the folders"):
        classes_of(str(home / "labelled" / "link"))
