"""Every published layout goes from the doctor through a training to an evaluation."""

from pathlib import Path

import pytest

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.data.doctor.examine import examine
from skrd4ad.data.layouts.find import find_classes
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.training.train import train
from tests.data.published_trees import TREES, Tree

MODEL = ModelConfig(image_size=64, retrieval=False, fusion="normal")
ONCE = TrainConfig(epochs=1, batch_size=4, holdout=0.25)
OWN = {
    "mvtec-ad2": {
        "SegF1 at the pixel limit from good images (MVTec AD 2)",
        "AUPRO 0.05 (MVTec AD 2)",
    },
    "mvtec-loco": {f"AU-sPRO 0.05 (MVTec LOCO, {of})" for of in ("logical", "structural", "mean of both")},
}
"""Metrics that the authors of a data set use."""


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.layout)
def test_from_doctor_to_evaluation(tmp_path: Path, tree: Tree) -> None:
    root = tree.draw(tmp_path)
    data = find_classes(root, layout=tree.layout)[0]
    assert examine([data], image_size=64).ok
    info = train(data, model=MODEL, config=ONCE, out=tmp_path / "models", source=str(root))
    _, held_out, good, defects, n_masks = tree.counts[data.name]
    assert info.data["layout"] == tree.layout
    assert info.data["n_holdout"] == (held_out or max(1, round(0.25 * len(data.train))))
    summary = evaluate_class(info.folder, data, source=str(root)).summary
    assert (summary.metrics.n_good, summary.metrics.n_defect) == (good, defects)
    assert summary.metrics.n_masks == sum(s.mask_path is not None for s in data.test)
    assert (summary.metrics.pixel_auroc is not None) == (n_masks > 0)
    assert set(summary.authors) == OWN.get(tree.layout, set())
    assert set(summary.document()["authors"]) == set(summary.authors)
    assert set(summary.by_mask_class) == ({"missing_bolt", "extra_bolt"} if tree.layout == "mvtec-loco" else set())
