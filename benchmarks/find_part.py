"""What it costs to look at the part instead of the whole photograph: ``python -m benchmarks.find_part``.

Drawn screws at several sizes: resizing the whole photograph to 256x256, finding the part, both finding it and turning
and cropping it to 256x256, and laying a map back over the photograph. One thread of OpenCV; in turn, so that a busy
machine slows all alike.
"""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.plain import in_turn, parser_of, print_table
from skrd4ad.data.alignment import fit_alignment
from skrd4ad.data.images.find_part import aligned, find_part
from skrd4ad.data.images.read import resize_image
from skrd4ad.data.synthetic.write import render, write_synthetic

SIDE = 256


def main() -> None:
    arguments = parser_of(__doc__, images=8, rounds=9, train=24).parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        sizes = {"train": arguments.train, "test_good": 0, "per_defect": 0, "size": SIDE}
        (screws,) = write_synthetic(Path(folder) / "screws", classes=["loose_screw"], **sizes)
        alignment, _ = fit_alignment(screws.train, "rotate", size=SIDE)
    assert alignment is not None, "it was asked for"
    plane = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    for size in (256, 512, 1024):
        images = [render("loose_screw", index=i, split="test", size=size)[0] for i in range(arguments.images)]
        seen = [each for image in images if (each := aligned(image, (SIDE, SIDE), alignment)) is not None]
        ways = {
            "the whole photograph, resized": lambda images=images: [resize_image(image, SIDE) for image in images],
            "the part found": lambda images=images: [find_part(image) for image in images],
            "the part found, turned and cropped": lambda images=images: [
                aligned(image, (SIDE, SIDE), alignment) for image in images
            ],
            "a map back on the photograph": lambda seen=seen: [each.on_photograph(plane) for each in seen],
        }
        print_table(f"{size} x {size} pixels", in_turn(ways, rounds=arguments.rounds), per=len(images))


if __name__ == "__main__":
    main()
