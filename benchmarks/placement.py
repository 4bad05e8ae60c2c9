"""Images of the right size whose part lies elsewhere: how many false rejects they make, and how many are refused.

``python -m benchmarks.placement DATA CLASS [--model DIR]``. Good test images are cropped, shifted and scaled, and
judged by a model (trained for a few epochs where none is given) and by its guards without and with the placement of
the part. Both references are made anew from the class's good training images; no test image takes part. What a shift
brings into view continues the border.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.guards import BATCH, RGB, cropped
from benchmarks.plain import in_turn, print_table
from skrd4ad.config import PRESETS
from skrd4ad.data.dataset import iter_images
from skrd4ad.data.images.read import read_image, resize_image
from skrd4ad.data.sources import open_dataset
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of, predict_batch
from skrd4ad.inference.reference import Reference, refusal_of
from skrd4ad.regions import score_under
from skrd4ad.training.placement import drawn
from skrd4ad.training.reference import make_reference, measure
from skrd4ad.training.train import train
from skrd4ad.types import DatasetClass

ROUNDS = 9
TIMED = 16
"""Images of which the guards are timed."""


def cut_corner(share: float) -> Callable[[RGB], RGB]:
    """The upper left corner, ``share`` of both sides."""
    return lambda image: image[: round(share * image.shape[0]), : round(share * image.shape[1])]


def moved(scale: float, x: float, y: float) -> Callable[[RGB], RGB]:
    return lambda image: drawn(image, scale, x, y)


CHANGES: dict[str, Callable[[RGB], RGB]] = {
    "good, crop to 80 % (part at 125 %)": cropped(0.8),
    "good, corner of 80 %": cut_corner(0.8),
    "good, 10 % to the right": moved(1, 0.1, 0),
    "good, 10 % up": moved(1, 0, -0.1),
    "good, 20 % to the left": moved(1, -0.2, 0),
    "good, 20 % down": moved(1, 0, 0.2),
    "good, part at 80 %": moved(0.8, 0, 0),
}


def references(predictor: Predictor, data: DatasetClass) -> tuple[Reference, Reference]:
    """Without and with the placement of the part."""
    size, alignment = predictor.image_size, predictor.info.alignment
    statistics, thumbnails, places = measure(data.train, image_size=size, alignment=alignment)
    batches = iter_images(data.train, size, batch=BATCH, alignment=alignment)
    embeddings = np.concatenate([predictor.batch(images).embeddings for _, images in batches])
    before = make_reference(statistics, embeddings, image_size=size)
    return before, make_reference(statistics, embeddings, image_size=size, thumbnails=thumbnails, places=places)


def outcome(predictor: Predictor, images: Sequence[RGB], guards: Sequence[Reference]) -> NDArray[np.bool_]:
    """(N, 1 + guards): whether each image's score is above the threshold, and whether each guard refuses it."""
    limits = limits_of(predictor.info)
    assert limits is not None, "images were held out"
    rows: list[list[bool]] = []
    for at in range(0, len(images), BATCH):
        batch = [np.ascontiguousarray(image) for image in images[at : at + BATCH]]
        found = [predict_batch(predictor, batch, reference=guard, tiling="off") for guard in guards]
        for each in zip(*found, strict=True):
            above = score_under(each[0].anomaly_map, limits.mask) > limits.reject
            rows.append([above, *(prediction.refusal is not None for prediction in each)])
    return np.array(rows, bool)


def row(name: str, found: NDArray[np.bool_]) -> str:
    above, before, after = found.T
    caught = f"{100 * after[above].mean():.0f} % of {above.sum()}" if above.any() else "–"
    shares = " | ".join(f"{100 * each.mean():.1f} %" for each in (above, before, after))
    return f"| {name} | {len(found)} | {shares} | {caught} |"


def run(data: DatasetClass, predictor: Predictor) -> None:
    guards = references(predictor, data)
    placement = guards[1].placement
    assert placement is not None, "it was asked for"
    good = [read_image(sample.path) for sample in data.test if sample.label == 0]
    defects = [read_image(sample.path) for sample in data.test if sample.label == 1]
    print(f"{data.dataset}/{data.name}: {guards[1].n} training images, by {placement.kind}, {placement.noticed:.0%}")
    print("| images | n | above | refused before | refused now | refused now of those above |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(row("good, unchanged", outcome(predictor, good, guards)))
    print(row("defects, unchanged", outcome(predictor, defects, guards)), flush=True)
    for name, change in CHANGES.items():
        print(row(name, outcome(predictor, [change(image) for image in good], guards)), flush=True)
    if predictor.info.alignment is not None:
        return  # the finder is timed by benchmarks.find_part
    for words, change in (("good", np.asarray), ("cropped", CHANGES["good, crop to 80 % (part at 125 %)"])):
        timed = [resize_image(np.ascontiguousarray(change(image)), predictor.image_size) for image in good[:TIMED]]
        ways = {
            name: lambda guard=guard, timed=timed: [refusal_of(image, None, guard) for image in timed]
            for name, guard in zip(("without placement", "with placement"), guards, strict=True)
        }
        print_table(f"the guards of one image, {words}", in_turn(ways, rounds=ROUNDS), per=len(timed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of a data set, or elpv, or synthetic")
    parser.add_argument("class_name", metavar="class")
    parser.add_argument("--model", type=Path, help="folder of a trained model")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data = open_dataset(arguments.data, class_name=arguments.class_name)[0]
    if arguments.model is not None:
        run(data, Predictor.load(arguments.model))
        return
    config = replace(PRESETS["fast"].train, epochs=arguments.epochs, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        info = train(data, model=PRESETS["fast"].model, config=config, out=Path(folder), source=arguments.data)
        run(data, Predictor.load(info.folder))


if __name__ == "__main__":
    main()
