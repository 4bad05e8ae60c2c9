"""How many false rejects the guards prevent, and what that costs: ``python -m benchmarks.guards DATA CLASS [OTHER]``.

A model is trained for a few epochs. Its test images are judged as they are, and good ones again after changes that a
camera, a lamp or a mistake makes. For each change: the share of changed good images whose score is above the model's
threshold (they would be false rejects), the share of all that the guard refuses, and the share of the false rejects
that it refuses. Nothing is fitted on these images.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from skrd4ad.config import PRESETS
from skrd4ad.data.images.read import read_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of, predict_batch
from skrd4ad.inference.reference import Reference, read_reference
from skrd4ad.regions import score_under
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass

RGB = NDArray[np.uint8]
BATCH = 8
OTHER_PARTS = 40


def exposed(factor: float) -> Callable[[RGB], RGB]:
    return lambda image: np.clip(image * np.float32(factor), 0, 255).astype(np.uint8)


def blurred(sigma: float) -> Callable[[RGB], RGB]:
    return lambda image: cv2.GaussianBlur(image, (0, 0), sigma * image.shape[1] / 256).astype(np.uint8)


def noisy(sigma: float) -> Callable[[RGB], RGB]:
    def change(image: RGB) -> RGB:
        grain = np.random.default_rng(int(image.sum())).normal(0, sigma, image.shape)
        return np.clip(image + grain, 0, 255).astype(np.uint8)

    return change


def tinted(*gains: float) -> Callable[[RGB], RGB]:
    return lambda image: np.clip(image * np.array(gains, np.float32), 0, 255).astype(np.uint8)


def cropped(share: float) -> Callable[[RGB], RGB]:
    def change(image: RGB) -> RGB:
        height, width = image.shape[:2]
        top, left = (round(side * (1 - share) / 2) for side in (height, width))
        return image[top : height - top, left : width - left]

    return change


def shrunk(share: float) -> Callable[[RGB], RGB]:
    def change(image: RGB) -> RGB:
        height, width = image.shape[:2]
        pad_y, pad_x = (round(side * (1 / share - 1) / 2) for side in (height, width))
        return np.asarray(cv2.copyMakeBorder(image, pad_y, pad_y, pad_x, pad_x, cv2.BORDER_REPLICATE), np.uint8)

    return change


CHANGES: dict[str, Callable[[RGB], RGB]] = {
    "light x0.5": exposed(0.5),
    "light x0.7": exposed(0.7),
    "light x0.85": exposed(0.85),
    "light x1.2": exposed(1.2),
    "light x1.5": exposed(1.5),
    "light x2": exposed(2.0),
    "blur 1": blurred(1.0),
    "blur 2": blurred(2.0),
    "blur 4": blurred(4.0),
    "noise 6": noisy(6),
    "noise 15": noisy(15),
    "red +15 %": tinted(1.15, 1, 0.9),
    "blue +15 %": tinted(0.9, 1, 1.15),
    "crop to 80 %": cropped(0.8),
    "crop to 50 %": cropped(0.5),
    "part at 70 %": shrunk(0.7),
    "squeezed 1:1.3": lambda image: cv2.resize(image, (image.shape[1], round(image.shape[0] / 1.3))).astype(np.uint8),
}


def outcome(predictor: Predictor, reference: Reference, images: Sequence[RGB]) -> NDArray[np.bool_]:
    """(N, 2): whether each image's score is above the threshold, and whether the guard refuses it."""
    limits = limits_of(predictor.info)
    assert limits is not None, "images were held out"
    rows: list[tuple[bool, bool]] = []
    for begin in range(0, len(images), BATCH):
        batch = images[begin : begin + BATCH]
        found = predict_batch(predictor, batch, reference=reference, tiling="off")
        rows += [(score_under(p.anomaly_map, limits.mask) > limits.reject, p.refusal is not None) for p in found]
    return np.array(rows, bool)


def row(name: str, found: NDArray[np.bool_]) -> str:
    above, refused = found.T
    caught = f"{100 * refused[above].mean():6.0f} % of {above.sum()}" if above.any() else "     –"
    return f"{name:<26}{len(found):>6}{100 * above.mean():>10.1f} %{100 * refused.mean():>10.1f} %   {caught}"


def run(data: DatasetClass, other: DatasetClass | None, *, epochs: int, source: str) -> None:
    config = replace(PRESETS["fast"].train, epochs=epochs, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        info = train(data, model=PRESETS["fast"].model, config=config, out=Path(folder), source=source)
        predictor, reference = Predictor.load(info.folder), read_reference(info.folder)
    assert reference is not None, "training writes it"
    good = [read_image(sample.path) for sample in data.test if sample.label == 0]
    defects = [read_image(sample.path) for sample in data.test if sample.label == 1]
    print(f"{data.dataset}/{data.name}: {epochs} epochs, {reference.n} training images, {reference.refusal_rate:.1%}")
    print(f"{'images':<26}{'n':>6}{'above':>12}{'refused':>12}   refused of those above")
    print(row("good, unchanged", outcome(predictor, reference, good)))
    print(row("defects, unchanged", outcome(predictor, reference, defects)))
    for name, change in CHANGES.items():
        print(row(f"good, {name}", outcome(predictor, reference, [change(image) for image in good])), flush=True)
    if other is not None:
        parts = [read_image(sample.path) for sample in other.train[:OTHER_PARTS]]
        print(row(f"parts of {other.name}", outcome(predictor, reference, parts)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of a data set, or elpv, or synthetic")
    parser.add_argument("class_name", metavar="class")
    parser.add_argument("other", nargs="?", help="DATA:CLASS of other parts")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = open_dataset(arguments.data, class_name=arguments.class_name)[0]
    other = None
    if arguments.other:
        place, _, name = arguments.other.rpartition(":")
        other = open_dataset(place, class_name=name)[0]
    run(data, other, epochs=arguments.epochs, source=arguments.data)


if __name__ == "__main__":
    main()
