"""Each data-set layout, exactly as the originals lay out their files, from the doctor to the data of the charts."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skrd4ad.config import ModelConfig, TrainConfig
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.paths import checkpoints
from skrd4ad.services.datasets import class_of, preflight
from skrd4ad.services.evaluation.charts import class_bars, confusion_chart, escape_bars
from skrd4ad.services.evaluation.curve_chart import curve_chart
from skrd4ad.services.evaluation.evaluate import evaluate_class, find_evaluation
from skrd4ad.services.evaluation.operating_points import findings
from skrd4ad.services.evaluation.published import published_for
from skrd4ad.services.evaluation.result import StoredEvaluation
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass

SMALL = ModelConfig(image_size=64)
QUICK = TrainConfig(epochs=1, batch_size=4, holdout=0.25)


@dataclass(frozen=True)
class Parts:
    """Pictures to lay out: paths of PNG files, 64x64."""

    train: list[Path]
    good: list[Path]
    defects: dict[str, list[tuple[Path, Path]]]
    """Image and mask by type."""

    @property
    def all_defects(self) -> list[tuple[Path, Path]]:
        return [pair for pairs in self.defects.values() for pair in pairs]


@pytest.fixture(scope="module")
def parts(tiny_data: Path) -> Parts:
    root = tiny_data / "machined_disc"
    defects = {}
    for folder in sorted((root / "test").iterdir()):
        if folder.name != "good":
            masks = root / "ground_truth" / folder.name
            defects[folder.name] = [(p, masks / f"{p.stem}_mask.png") for p in sorted(folder.iterdir())]
    return Parts(sorted((root / "train/good").iterdir()), sorted((root / "test/good").iterdir()), defects)


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKRD4AD_DATA_ROOTS", str(tmp_path))
    return tmp_path


def put(source: Path, target: Path) -> None:
    """A picture under another name; JPEG by a suffix in capitals too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    kind = "JPEG" if target.suffix.lower() == ".jpg" else "PNG"
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    with target.open("wb") as file:
        Image.open(source).save(file, format=kind, **options)


def put_mask(source: Path, target: Path, *, value: int = 255) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.asarray(Image.open(source)) > 0).astype(np.uint8) * np.uint8(value)).save(target)


def mvtec_tree(root: Path, parts: Parts) -> Path:
    """``CLASS/train/good``, ``CLASS/test/{good,DEFECT}``, ``CLASS/ground_truth/DEFECT/NNN_mask.png``."""
    base = root / "mvtec_anomaly_detection"
    bottle = base / "bottle"
    for split, pictures in (("train", parts.train), ("test", parts.good)):
        for number, picture in enumerate(pictures):
            put(picture, bottle / split / "good" / f"{number:03d}.png")
    for kind, pairs in parts.defects.items():
        for number, (picture, mask) in enumerate(pairs):
            put(picture, bottle / "test" / kind / f"{number:03d}.png")
            put_mask(mask, bottle / "ground_truth" / kind / f"{number:03d}_mask.png")
    for name in ("license.txt", "readme.txt"):
        (base / name).write_text("CC BY-NC-SA 4.0")
        (bottle / name).write_text("CC BY-NC-SA 4.0")
    return base


def visa_tree(root: Path, parts: Parts) -> Path:
    """``CLASS/Data/{Images,Masks}/{Normal,Anomaly}`` and ``split_csv/1cls.csv``; masks hold small class numbers."""
    base = root / "VisA"
    rows = []
    for split, pictures, start in (("train", parts.train, 0), ("test", parts.good, len(parts.train))):
        for number, picture in enumerate(pictures, start=start):
            name = f"pcb1/Data/Images/Normal/{number:04d}.JPG"
            put(picture, base / name)
            rows.append(["pcb1", split, "normal", name, ""])
    for number, (picture, mask) in enumerate(parts.all_defects):
        image_name, mask_name = (f"pcb1/Data/{kind}/Anomaly/{number:03d}" for kind in ("Images", "Masks"))
        put(picture, base / f"{image_name}.JPG")
        put_mask(mask, base / f"{mask_name}.png", value=1 + number % 4)
        rows.append(["pcb1", "test", "anomaly", f"{image_name}.JPG", f"{mask_name}.png"])
    (base / "pcb1" / "image_anno.csv").write_text("image,label,mask\n")
    (base / "split_csv").mkdir()
    with (base / "split_csv" / "1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"], *rows])
    return base


def converted_visa_tree(root: Path, parts: Parts) -> Path:
    """VisA as the original code converts it: the MVTec folders with ``*.JPG`` images and ``*.png`` masks."""
    base = root / "visa_pytorch"
    for split, pictures in (("train", parts.train), ("test", parts.good)):
        for number, picture in enumerate(pictures):
            put(picture, base / "pcb1" / split / "good" / f"{number:04d}.JPG")
    for number, (picture, mask) in enumerate(parts.all_defects):
        put(picture, base / "pcb1" / "test" / "bad" / f"{number:03d}.JPG")
        put_mask(mask, base / "pcb1" / "ground_truth" / "bad" / f"{number:03d}.png")
    return base


def vad_tree(root: Path, parts: Parts) -> Path:
    """``train/{good,bad}``, ``test/{good,bad}``: image labels only, and defects beside the training images."""
    base = root / "vad"
    half = len(parts.all_defects) // 2
    folders = {
        "train/good": parts.train,
        "train/bad": [picture for picture, _ in parts.all_defects[:half]],
        "test/good": parts.good,
        "test/bad": [picture for picture, _ in parts.all_defects[half:]],
    }
    for folder, pictures in folders.items():
        for number, picture in enumerate(pictures):
            put(picture, base / folder / f"{number:06d}.png")
    return base


def through_all(source: Path, class_name: str, *, layout: str) -> StoredEvaluation:
    """Doctor, training, evaluation: everything between a folder and its charts."""
    data = class_of(str(source), layout=layout, class_name=class_name)
    report = preflight([data], image_size=64)
    assert report.ok, report.to_text()
    assert len(data.train) == 12
    info = train(data, model=SMALL, config=QUICK, out=checkpoints(), source=str(source))
    stored = evaluate_class(info.folder, data, source=str(source))
    found = find_evaluation(info, class_of(str(source), layout=layout, class_name=class_name))
    assert found is not None and found.is_current
    assert stored.summary.own_test_set
    same_as_the_engine(stored, data)
    return stored


def same_as_the_engine(stored: StoredEvaluation, data: DatasetClass) -> None:
    """What the charts show is what the engine measures, bar by bar, cell by cell."""
    summary = stored.summary
    metrics = evaluate_model(Predictor.load(summary.model_folder), data).metrics
    assert summary.metrics == metrics
    for metric in ("image_auroc", "pixel_auroc", "aupro"):
        figure, value = class_bars([summary], metric=metric), getattr(metrics, metric)
        ours = [bar for bar in figure.data if bar.name == "Measured here"]
        assert [bar.y[0] + bar.base for bar in ours] == ([] if value is None else [pytest.approx(value)])
    for name, curve in stored.curves.items():
        line = next(trace for trace in curve_chart([stored], name=name).data if trace.name != "Chance")
        assert np.array_equal(line.y, curve.y)
        assert curve.areas == {metric: getattr(metrics, metric) for metric in curve.areas}
    calibration, why = stored.limits()
    assert calibration is not None, why
    found = findings(stored, calibration)
    cells = confusion_chart(found.confusion).data
    assert sum(len(cell.customdata[0]) - 1 for cell in cells) == len(data.test)
    bars = escape_bars(found.by_type, axis="Type of defect").data[0]
    assert [each[0] for each in bars.customdata] == list(data.defect_types)
    assert (found.by_size is not None) == data.has_masks


def test_mvtec(world: Path, parts: Parts) -> None:
    stored = through_all(mvtec_tree(world, parts), "bottle", layout="auto")
    metrics = stored.summary.metrics
    assert (metrics.n_good, metrics.n_defect, metrics.n_masks) == (4, 8, 8)
    assert set(stored.summary.by_defect) == set(parts.defects)
    assert set(stored.curves) == {"image_roc", "image_pr", "pixel_roc", "pixel_pr", "pro"}
    assert published_for(stored.summary.dataset, "bottle").value("SK-RD4AD", "aupro_paper") == 0.969


@pytest.mark.parametrize(
    ("tree", "layout", "defect"),
    [(visa_tree, "auto", "Anomaly"), (converted_visa_tree, "visa-mvtec", "bad")],
)
def test_visa(world: Path, parts: Parts, tree: Callable[[Path, Parts], Path], layout: str, defect: str) -> None:
    stored = through_all(tree(world, parts), "pcb1", layout=layout)
    metrics = stored.summary.metrics
    assert (metrics.n_good, metrics.n_defect, metrics.n_masks) == (4, 8, 8)
    assert metrics.n_regions >= 8
    assert list(stored.summary.by_defect) == [defect]
    assert all(image.mask_area for image in stored.images if image.label)
    assert {image.path.suffix for image in stored.images} == {".JPG"}
    assert metrics.aupro is not None and metrics.aupro_paper is not None
    bars = class_bars([stored.summary], metric="aupro")
    assert [bar.name for bar in bars.data][-2:] == ["RD4AD (published)", "SK-RD4AD (published)"]


def test_vad(world: Path, parts: Parts) -> None:
    stored = through_all(vad_tree(world, parts), "vad", layout="auto")
    metrics = stored.summary.metrics
    assert (metrics.n_good, metrics.n_defect, metrics.n_masks) == (4, 4, 0)
    assert metrics.image_auroc is not None
    assert (metrics.pixel_auroc, metrics.aupro, metrics.aupro_paper) == (None, None, None)
    assert set(stored.curves) == {"image_roc", "image_pr"}
    assert stored.summary.intervals.intervals["image_auroc"] is not None
    assert stored.summary.intervals.intervals["aupro"] is None
    published = class_bars([stored.summary], metric="image_auroc").data[-1]
    assert (published.name, published.y[0] + published.base) == ("SK-RD4AD (published)", pytest.approx(0.87))
