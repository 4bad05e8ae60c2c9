"""Labels at random until its process is killed, and tells every step once it is stored."""

import os
import random
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from skrd4ad.data.images.read import image_size
from skrd4ad.services.labelling import annotate
from skrd4ad.services.labelling.files import stored_path
from skrd4ad.storage.annotations import Revision
from skrd4ad.storage.label_queue import QueueFilter, QueueItem
from tests.label_world import page_of_queue


def label_until_killed(home: Path, images: QueueFilter, seed: int, out: Connection) -> None:
    """Draw, decide and undo at random in a workspace."""
    os.environ["SKRD4AD_HOME"] = str(home)
    chance = random.Random(seed)
    digests = [item.digest for item in page_of_queue(images)[0]]
    out.send({"ready": len(digests)})
    while True:
        item = annotate.item_of(images, chance.choice(digests))
        made, drawn = one_step(item, chance)
        if made is not None:
            out.send(
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
