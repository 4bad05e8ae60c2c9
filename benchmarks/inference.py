"""One image from pixels to map and score: each runtime against the published procedure. From the project's folder::

    python -m benchmarks.inference          wide_res50 in fp32, bf16 and int8, with random weights
    python -m benchmarks.inference --lite0  efficientnet_lite0 (the disc demo), beside wide_res50 as published

All ways take turns. In the first table each looks at images one after the other for a third of a second a round, in the
second at one image after a rest, when the caches hold something else. For efficientnet_lite0 there is a third table:
batches of eight, which the runtimes compute two at a time, as for folders.
"""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.plain import SIZE, WIDE, in_turn, ours_of, parser_of, plain_maps, plain_wide, print_table
from skrd4ad.data.synthetic.write import write_synthetic
from skrd4ad.export.runtimes import RuntimeChoice, by_runtime, load_runtime
from skrd4ad.inference.network import tensor_of
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import STREAMS
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.types import Sample

IN_A_ROW = 0.3
"""Seconds of looking at images one after the other."""
DEMO = Path("checkpoints/synthetic/machined_disc/demo")
CHOICES = [
    RuntimeChoice("torch"),
    RuntimeChoice("onnxruntime"),
    RuntimeChoice("openvino"),
    RuntimeChoice("openvino", "bf16"),
    RuntimeChoice("openvino", "int8"),
]


def drawn_parts(folder: Path) -> list[Sample]:
    write_synthetic(folder / "parts", classes=("machined_disc",), train=20, test_good=1, per_defect=1, size=SIZE)
    return [Sample(path, "train", 0, "good") for path in sorted((folder / "parts").rglob("train/good/*.png"))]


def of_batches(published: Callable[[Tensor], object], *, rounds: int) -> dict[str, float]:
    """Median seconds an image in batches of eight: as published one after the other, by the runtimes two at a time."""
    images = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    turns = 3 * STREAMS
    ways: dict[str, Callable[[], object]] = {"wide_res50 as published, fp32": lambda: published(tensor_of(images))}
    with ThreadPoolExecutor(STREAMS) as pool:
        for choice in CHOICES[1:4]:
            predictor = load_runtime(DEMO, choice, streams=STREAMS)
            ways[f"lite0, {choice.text}"] = lambda p=predictor: list(pool.map(p.batch, [images] * turns))  # type: ignore[misc]
        seconds = in_turn(ways, rounds=rounds)
    return {name: value / (8 if name.startswith("wide") else 8 * turns) for name, value in seconds.items()}


def main() -> None:
    parser = parser_of(__doc__, rounds=9)
    parser.add_argument("--lite0", action="store_true")
    given = parser.parse_args()
    teacher, student = plain_wide()
    student.eval()
    image = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    ways = {"wide_res50 as published, fp32": lambda: plain_maps(teacher, student, tensor_of(image))}
    with tempfile.TemporaryDirectory() as place:
        os.environ["SKRD4AD_HOME"] = place  # conversions of random weights are of no further use
        normals = drawn_parts(Path(place))
        for choice in CHOICES:
            if given.lite0:
                predictor = load_runtime(DEMO, choice, normals=normals)
            else:
                info = ModelInfo(dataset="none", class_name="none", model=WIDE, train=None, teacher_digest="random")
                predictor = by_runtime(Predictor(ours_of(teacher, student), info), choice, normals=normals)
            name = f"{'lite0' if given.lite0 else 'wide_res50'}, {choice.text}"
            ways[name] = lambda predictor=predictor: predictor.batch(image)
        print(f"Images of {SIZE}x{SIZE}, {torch.get_num_threads()} threads")
        print_table("One after the other", in_turn(ways, rounds=given.rounds, warm_up=2, least=IN_A_ROW), per=1)
        print_table("One after a rest", in_turn(ways, rounds=given.rounds), per=1)
        if given.lite0:
            found = of_batches(lambda images: plain_maps(teacher, student, images), rounds=3)
            print_table("Batches of 8", found, per=1)


if __name__ == "__main__":
    main()
