"""A program that labels at random until it is killed: ``python -m tests.labeller DATASET CLASS SEED``.

It writes a line of JSON to its output for every step, once the step is stored.
"""

import json
import random
import sys

import numpy as np

from skrd4ad.data.images.read import image_size
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from tests.label_world import page_of_queue


def label_until_killed(images: QueueFilter, chance: random.Random) -> None:
    """Draw, decide and undo at random; every step is told once it is stored."""
    digests = [item.digest for item in page_of_queue(images)[0]]
    tell({"ready": len(digests)})
    while True:
        item = annotate.item_of(images, chance.choice(digests))
        made, drawn = one_step(item, chance)
        if made is not None:
            tell(
                {
                    "digest": item.digest,
                    "revision": made.number,
                    "label": made.label,
                    "mask_file": made.mask_file,
                    "drawn": drawn,
                }
            )


def one_step(item: QueueItem, chance: random.Random) -> tuple[Revision | None, int]:
    """A decision on an image, and the pixels of its drawing; 0 where nothing was drawn."""
    what = chance.choice(["draw", "draw", "good", "defect", "undo"])
    if what == "draw":
        width, height = image_size(stored_path(item.file))
        mask = np.zeros((height, width), bool)
        mask.ravel()[: chance.randint(1, mask.size)] = True
        return annotate.draw(item, mask, reviewer="Anna"), int(mask.sum())
    if what == "undo":
        return annotate.undo(item, reviewer="Anna"), 0
    if what == "good":
        return annotate.decide(item, "good", reviewer="Anna"), 0
    return annotate.decide(item, "defect", reviewer="Anna", defect_type="dent"), 0


def tell(step: dict[str, object]) -> None:
    print(json.dumps(step), flush=True)


if __name__ == "__main__":
    dataset, class_name, seed = sys.argv[1:]
    label_until_killed(QueueFilter(dataset=dataset, class_name=class_name, model_digest=""), random.Random(int(seed)))
