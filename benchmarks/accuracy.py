"""Accuracy of settings on classes of real and drawn parts. From the project's folder::

    python -m benchmarks.accuracy --data ../shared/data --settings plain default
    python -m benchmarks.accuracy --classes loose_screw --align off      whole images, whatever the settings say
    python -m benchmarks.accuracy --table              print the tables of what was measured, write the plot
    python -m benchmarks.accuracy --table --document docs/accuracy.md      and put them into the document

One row a class, seed and setting goes to ``benchmarks/results/accuracy.csv``; rows that are there are not measured
again, so it can be stopped and gone on with. Every model is trained by :func:`skrd4ad.training.train.train` and looks
at all test images; no setting sees them before. ``seconds`` is the wall time of the whole training, reading the images
included; ``ms`` that of one image at a time by torch on the threads given, read and resized already. Settings that
differ in the map alone have the same student: those of one call share its training, and the first has the seconds.
"""

import argparse
import csv
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import plotly.graph_objects as go
import torch
from numpy.typing import NDArray

from skrd4ad.config import PRESETS, ModelConfig, TrainConfig
from skrd4ad.data.alignment import fit_alignment
from skrd4ad.data.dataset import load_images, load_masks
from skrd4ad.data.sources import open_dataset
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.inference.evaluate import score_samples
from skrd4ad.inference.feature_cache import cache_features
from skrd4ad.inference.predict import Predictor
from skrd4ad.metrics.aupro import aupro, pool_pixels
from skrd4ad.metrics.ranking import auroc
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.network import load_model
from skrd4ad.model_folder.seen_images import split_holdout
from skrd4ad.models.skrd import SKRD4AD, build_student
from skrd4ad.models.teachers import build_teacher
from skrd4ad.paths import workspace
from skrd4ad.training.normality import fit_first_look, fit_normality, memory_bank
from skrd4ad.training.train import train
from skrd4ad.types import Align, DatasetClass

RESULTS = Path(__file__).parent / "results" / "accuracy.csv"
COSTS = Path(__file__).parent / "results" / "cost.csv"
"""Written by ``benchmarks.cost``."""
FIGURES = ("image_auroc", "pixel_auroc", "aupro")
SCORES = ("top_0.1_percent", "top_1_percent", "flipped")
"""Image AUROC of other scores by the same model: the mean of the highest pixels, and the maximum of the mean map of an
image and its mirror image."""
FIELDS = ("class", "seed", "setting", *FIGURES, *SCORES, "seconds", "ms")
HEADS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "seconds": "training, s",
    "ms": "ms an image",
    "top_0.1_percent": "highest 0.1 %",
    "top_1_percent": "highest 1 %",
    "flipped": "with its mirror image",
}
"""Of the columns of tables."""
EMBEDDED = ("elpv", "synthetic")
FOLDERS = ("mvtec", "magnetic_tile")
SCREWS = "loose_screw"


@dataclass(frozen=True)
class Setting:
    """What is trained, and how."""

    about: str
    model: ModelConfig
    train: TrainConfig
    student: bool = True
    """False: the memory bank alone, before anything is trained."""


_FAST = PRESETS["fast"]
SETTINGS = {
    "plain": Setting(
        "published loss, sum and constant rate, small student, 2 skips, 60 epochs", ModelConfig(), TrainConfig()
    ),
    "default": Setting("the preset fast", _FAST.model, _FAST.train),
    "first-look": Setting("the memory bank of the preset fast alone", _FAST.model, _FAST.train, student=False),
    "by-spread": Setting(
        "retrieval, levels by their spread, coarse 1/2, patches x 3", _FAST.model.changed(fusion="normal"), _FAST.train
    ),
    "no-retrieval": Setting("levels by their spread", _FAST.model.changed(retrieval=False), _FAST.train),
    "sum": Setting("the published sum", _FAST.model.changed(fusion="sum"), _FAST.train),
    "narrow": Setting("small student", replace(_FAST.model, width=1), _FAST.train),
    "constant": Setting("constant rate", _FAST.model, replace(_FAST.train, schedule="constant")),
    "0-skips": Setting("no skip", replace(_FAST.model, res=1), _FAST.train),
    "1-skip": Setting("one skip", replace(_FAST.model, res=2), _FAST.train),
    "2-skips": Setting("two skips", replace(_FAST.model, res=3), _FAST.train),
    "lite1": Setting("EfficientNet-Lite1", replace(_FAST.model, net="efficientnet_lite1"), _FAST.train),
    "lite2": Setting("EfficientNet-Lite2", replace(_FAST.model, net="efficientnet_lite2"), _FAST.train),
    "position": Setting("cosine at each position", _FAST.model, replace(_FAST.train, loss="position")),
    "more-steps": Setting("1400 steps", _FAST.model, replace(_FAST.train, epochs=200, most_steps=1400)),
    "384": Setting("384 x 384 pixels", replace(_FAST.model, image_size=384), _FAST.train),
    "320": Setting("320 x 320 pixels", replace(_FAST.model, image_size=320), _FAST.train),
}


def classes_of(data: Path, asked: Sequence[str]) -> dict[str, DatasetClass]:
    """Classes by name: the embedded ones, those of the folders that are there, and screws where they are asked for,
    which are drawn once into the workspace."""
    screws = workspace() / "datasets" / SCREWS
    if SCREWS in asked and not screws.is_dir():
        write_synthetic(screws, classes=[SCREWS], train=288, test_good=40, per_defect=20, size=512)
    sources = [*(str(data / name) for name in FOLDERS if (data / name).is_dir()), *EMBEDDED]
    sources += [str(screws)] if screws.is_dir() else []
    return {each.name: each for source in sources for each in open_dataset(source)}


class Trained:
    """Models of one class and seed; a student that was trained is used again by settings with other maps."""

    def __init__(self, data: DatasetClass, *, seed: int, out: Path) -> None:
        self.data, self.seed, self.out = data, seed, out
        self._by_student: dict[tuple[ModelConfig, TrainConfig], ModelInfo] = {}

    def predictor(self, setting: Setting) -> tuple[Predictor, float | None]:
        """The model of a setting, and the seconds that its training took; None when it was trained already."""
        config = replace(setting.train, seed=self.seed)
        if not setting.student:
            begun = time.monotonic()
            return self._first_look(setting), time.monotonic() - begun
        key = (setting.model.changed(fusion="sum"), config)
        if (info := self._by_student.get(key)) is not None:
            return self._with_map_of(info, setting), None
        begun = time.monotonic()
        info = train(self.data, model=setting.model, config=config, out=self.out, source=str(self.data.root))
        seconds = time.monotonic() - begun
        self._by_student[key] = info
        return Predictor.load(info.folder), seconds

    def _first_look(self, setting: Setting) -> Predictor:
        model = SKRD4AD(build_teacher(setting.model.net), build_student(setting.model, seed=self.seed))
        learn, _ = split_holdout(self.data.train, share=setting.train.holdout, seed=self.seed)
        size = setting.model.image_size
        alignment, _ = fit_alignment(self.data.train, setting.train.align, size=size)
        with cache_features(model.teacher, learn, image_size=size, alignment=alignment) as learning:
            bank = memory_bank(learning, seed=self.seed)
            normality = fit_first_look(bank, learning, fusion=setting.model.fusion)
        info = ModelInfo(
            dataset=self.data.dataset,
            class_name=self.data.name,
            model=setting.model,
            train=None,
            teacher_digest="",
            alignment=alignment,
        )
        return Predictor(SKRD4AD(model.teacher, model.student, normality).eval().requires_grad_(False), info)

    def _with_map_of(self, info: ModelInfo, setting: Setting) -> Predictor:
        assert info.train is not None
        model, _ = load_model(info.folder)
        learn, _ = split_holdout(self.data.train, share=info.train.holdout, seed=self.seed)
        size = setting.model.image_size
        with cache_features(model.teacher, learn, image_size=size, alignment=info.alignment) as learning:
            normality = fit_normality(model.student, learning, model=setting.model, seed=self.seed)
        other = SKRD4AD(model.teacher, model.student, normality).eval().requires_grad_(False)
        return Predictor(other, replace(info, model=setting.model))


def measured(trained: Trained, setting: Setting) -> dict[str, float | None]:
    """Figures of one setting."""
    data = trained.data
    predictor, seconds = trained.predictor(setting)
    scored = score_samples(predictor, data.test)
    maps, scores = scored.maps, scored.scores
    labels = np.array([sample.label for sample in data.test])
    figures = {"image_auroc": auroc(labels, scores), "pixel_auroc": None, "aupro": None}
    if predictor.info.alignment is None:
        figures |= other_scores(predictor, data, maps, labels)
    if data.has_masks:
        masks = load_masks(data.test, predictor.image_size)
        pool = pool_pixels(maps, masks.masks, labelled=masks.has_mask)
        figures |= {"pixel_auroc": pool.auroc, "aupro": aupro(pool)}
    return figures | {"seconds": seconds, "ms": milliseconds(predictor, data)}


def other_scores(
    predictor: Predictor, data: DatasetClass, maps: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, float | None]:
    """Image AUROC by the scores of ``SCORES``."""
    pixels = np.sort(maps.reshape(len(maps), -1), axis=1)
    found = [pixels[:, -max(1, pixels.shape[1] // parts) :].mean(axis=1) for parts in (1000, 100)]
    flipped = [
        predictor.batch(load_images([s], predictor.image_size)[:, :, ::-1].copy()).maps[0, :, ::-1] for s in data.test
    ]
    found.append((maps + np.stack(flipped)).max(axis=(1, 2)))
    return {name: auroc(labels, scores) for name, scores in zip(SCORES, found, strict=True)}


def milliseconds(predictor: Predictor, data: DatasetClass, *, images: int = 20) -> float:
    """Median time of one image."""
    alignment = predictor.info.alignment
    pictures = load_images(data.test[:images], predictor.image_size, alignment=alignment)
    times = []
    for picture in pictures:
        begun = time.perf_counter()
        predictor.batch(picture[None])
        times.append(time.perf_counter() - begun)
    return 1000 * statistics.median(times)


def rows_of(path: Path) -> list[dict[str, str]]:
    """What was measured already."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def add_row(path: Path, row: dict[str, object]) -> None:
    """Store one more row, at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.4f}" if isinstance(value, float) else value for name, value in row.items()})


def table(rows: list[dict[str, str]], columns: dict[str, int]) -> Iterator[str]:
    """Markdown: mean ± standard deviation over the seeds, of fields with their digits."""
    yield f"| class | setting | seeds | {' | '.join(HEADS[name] for name in columns)} |"
    yield "| --- " * (3 + len(columns)) + "|"
    for name, setting in sorted({(row["class"], row["setting"]) for row in rows}):
        own = [row for row in rows if (row["class"], row["setting"]) == (name, setting)]
        cells = [spread(own, field, digits=digits) for field, digits in columns.items()]
        yield f"| {' | '.join([name, setting, str(len(own)), *cells])} |"


def side_by_side(rows: list[dict[str, str]], costs: dict[str, dict[str, str]]) -> Iterator[str]:
    """Markdown: one row a setting, a column for each class and figure; means, with the number of seeds in brackets.

    Classes are those on which most settings were measured. The last two columns are the costs of an image and of a
    training as ratios to the setting "plain".
    """
    measured_on = {name: {row["setting"] for row in rows if row["class"] == name} for name in classes_in(rows)}
    columns = [
        (name, figure)
        for name, settings in measured_on.items()
        if 2 * len(settings) > len({row["setting"] for row in rows})
        for figure in ("image_auroc", "aupro")
        if any(row["class"] == name and row[figure] for row in rows)
    ]
    names = [f"{name}, {HEADS[figure]}" for name, figure in columns]
    yield f"| setting | {' | '.join(names)} | cost of an image | of a training |"
    yield "| --- " * (3 + len(columns)) + "|"
    for setting, kind in SETTINGS.items():
        own = [row for row in rows if row["setting"] == setting]
        if own:
            cells = [mean_of([row for row in own if row["class"] == name], figure) for name, figure in columns]
            cells += [
                f"{float(costs[setting][field]) / float(costs['plain'][field]):.2f}" if setting in costs else "–"
                for field in ("openvino_ms", "training_seconds")
            ]
            yield f"| {setting}: {kind.about} | {' | '.join(cells)} |"


def classes_in(rows: list[dict[str, str]]) -> list[str]:
    """Names of the classes, in order."""
    return sorted({row["class"] for row in rows})


def mean_of(rows: list[dict[str, str]], field: str) -> str:
    """Mean of a field and the number of rows that have it, or a dash."""
    values = [float(row[field]) for row in rows if row[field]]
    return f"{statistics.mean(values):.4f} ({len(values)})" if values else "–"


def put_into(document: Path, tables: dict[str, Iterator[str]]) -> None:
    """Replace what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``."""
    text = document.read_text(encoding="utf-8")
    for name, lines in tables.items():
        before, rest = text.split(f"<!-- {name}: begin -->\n")
        _, after = rest.split(f"<!-- {name}: end -->")
        text = f"{before}<!-- {name}: begin -->\n" + "\n".join(lines) + f"\n<!-- {name}: end -->{after}"
    document.write_text(text, encoding="utf-8")


def spread(rows: list[dict[str, str]], field: str, *, digits: int) -> str:
    """Mean ± standard deviation of a field, or a dash."""
    values = [float(row[field]) for row in rows if row.get(field)]
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def plot(rows: list[dict[str, str]], path: Path) -> None:
    """Image AUROC of each class, one point a training, coloured by setting, as an HTML page."""
    figure = go.Figure()
    for setting in dict.fromkeys(row["setting"] for row in rows):
        own = [row for row in rows if row["setting"] == setting]
        figure.add_scatter(
            x=[row["class"] for row in own],
            y=[float(row["image_auroc"]) for row in own],
            mode="markers",
            name=setting,
            marker={"size": 9, "opacity": 0.7},
        )
    figure.update_layout(yaxis_title="image AUROC", template="plotly_white", scattermode="group")
    figure.write_html(path, include_plotlyjs=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of mvtec and magnetic_tile")
    parser.add_argument("--classes", nargs="+", metavar="C", help="names of classes (default: all)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["plain", "default"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--align", choices=get_args(Align), help="in place of that of the settings")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="only print the table and write the plot")
    parser.add_argument("--document", type=Path, help="Markdown file whose tables are replaced")
    arguments = parser.parse_args()
    if not arguments.table:
        classes = classes_of(arguments.data, arguments.classes or [])
        settings = {name: SETTINGS[name] for name in arguments.settings}
        if arguments.align:
            settings = {
                f"{name}, align {arguments.align}": replace(each, train=replace(each.train, align=arguments.align))
                for name, each in settings.items()
            }
        for name, seed in itertools.product(arguments.classes or classes, arguments.seeds):
            with tempfile.TemporaryDirectory() as out:
                trained = Trained(classes[name], seed=seed, out=Path(out))
                for setting, chosen in settings.items():
                    key = {"class": name, "seed": str(seed), "setting": setting}
                    if any(key.items() <= row.items() for row in rows_of(arguments.results)):
                        continue
                    row = key | measured(trained, chosen)
                    add_row(arguments.results, row)
                    print(row, flush=True)
    rows = rows_of(arguments.results)
    figures, scores = dict.fromkeys(FIGURES, 4) | {"seconds": 0, "ms": 1}, dict.fromkeys(("image_auroc", *SCORES), 4)
    costs = {row["setting"]: row for row in rows_of(COSTS)}
    for lines in (table(rows, figures), table(rows, scores), side_by_side(rows, costs)):
        print("\n".join(lines), end="\n\n")
    if arguments.document:
        main_rows = [row for row in rows if row["setting"] in ("plain", "default", "first-look")]
        by_default = [row for row in rows if row["setting"] == "default"]
        tables = {"results": table(main_rows, figures), "settings": side_by_side(rows, costs)}
        put_into(arguments.document, tables | {"scores": table(by_default, scores)})
    if rows:
        plot(rows, arguments.results.with_suffix(".html"))
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    return 0


if __name__ == "__main__":
    sys.exit(main())
