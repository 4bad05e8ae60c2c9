"""What the settings of the accuracy benchmark cost, in turn with the plain student. From the project's folder::

    python -m benchmarks.cost
    python -m benchmarks.cost --settings plain default lite2

Printed for each setting, and written to ``benchmarks/results/cost.csv``: one image by torch and by OpenVINO in fp32,
and the steps of a whole training from cached features; printed with ratios to the first setting. Students are
untrained and patches drawn, which changes no operation; the figures of accuracy that belong to them are in
``docs/accuracy.md``.
"""

import csv
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.accuracy import SETTINGS, Setting
from benchmarks.plain import in_turn, parser_of
from benchmarks.training import our_loop
from skrd4ad.config import Fusion
from skrd4ad.export.runtimes import RuntimeChoice, by_runtime
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.models.normality import Normality, patch_descriptors
from skrd4ad.models.skrd import SKRD4AD, build_student
from skrd4ad.models.teachers import build_teacher
from skrd4ad.training.normality import PATCHES

MEASURED = ("plain", "default", "no-retrieval", "narrow", "0-skips", "1-skip", "lite1", "lite2", "320", "384")
RESULTS = Path(__file__).parent / "results" / "cost.csv"
IN_A_ROW = 0.2
"""Seconds of looking at images one after the other, a round."""
IMAGES = 240
"""Good images of a training whose number of steps is counted in epochs."""
BATCH = 16


def drawn_normality(features: list[Tensor], *, fusion: Fusion) -> Normality:
    """Patches as many and as long as fitted ones."""
    levels, length = len(features) + 1, patch_descriptors(features).shape[1]
    return Normality(
        weights=torch.ones(levels),
        centre=torch.zeros(length),
        scale=torch.ones(length),
        patches=torch.randn(PATCHES, length),
        usual=torch.rand(PATCHES, levels),
        source=torch.zeros(PATCHES, 3, dtype=torch.int64),
        floor=torch.rand(levels) if fusion == "agreement" else None,
    )


def predictors(setting: Setting, name: str) -> tuple[Predictor, Predictor]:
    """An untrained model of a setting by torch and by OpenVINO."""
    model = setting.model
    teacher, student = build_teacher(model.net), build_student(model, seed=0)
    with torch.no_grad():
        features = teacher(torch.zeros((1, 3, model.image_size, model.image_size), dtype=torch.uint8))
    normality = drawn_normality(features, fusion=model.fusion) if model.retrieval else None
    info = ModelInfo(dataset="none", class_name=name, model=model, train=None, teacher_digest=name, folder=Path(name))
    whole = SKRD4AD(teacher, student, normality).eval().requires_grad_(False)
    predictor = Predictor(whole, info)
    return predictor, by_runtime(predictor, RuntimeChoice("openvino"))


def main() -> None:
    parser = parser_of(__doc__, rounds=9)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=MEASURED)
    given = parser.parse_args()
    looks: dict[str, Callable[[], object]] = {}
    steps: dict[str, Callable[[], object]] = {}
    numbers: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as home:
        os.environ["SKRD4AD_HOME"] = home
        for name in given.settings:
            setting = SETTINGS[name]
            size, train = setting.model.image_size, setting.train
            image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
            for words, predictor in zip(("torch", "OpenVINO"), predictors(setting, name), strict=True):
                looks[f"{name} {words}"] = lambda p=predictor, i=image: p.batch(i)  # type: ignore[misc]
            batch = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8)
            loop = our_loop(build_teacher(setting.model.net), setting.model, batch, torch.float32)
            steps[name] = lambda loop=loop: loop._epoch(1, 0.0)  # type: ignore[misc]
            numbers[name] = train.epochs_for(IMAGES) * -(-IMAGES // BATCH)
        of_image = in_turn(looks, rounds=given.rounds, warm_up=3, least=IN_A_ROW)
    of_step = in_turn(steps, rounds=given.rounds, warm_up=2)
    first = given.settings[0]
    print(f"{torch.get_num_threads()} threads; ratios to {first}")
    print("| setting | torch, ms an image | OpenVINO, ms an image | steps of a training, s |")
    print("| --- | --- | --- | --- |")
    with RESULTS.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("setting", "torch_ms", "openvino_ms", "training_seconds"))
        for name in given.settings:
            own, base = (
                (1000 * of_image[f"{each} torch"], 1000 * of_image[f"{each} OpenVINO"], of_step[each] * numbers[each])
                for each in (name, first)
            )
            rows.writerow((name, *(f"{value:.2f}" for value in own)))
            cells = [f"{a:.1f} ({a / b:.2f})" for a, b in zip(own, base, strict=True)]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
