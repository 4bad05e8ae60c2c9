"""Train the models that come with the app: ``python -m benchmarks.demo_models`` (``make demo-models``).

They are ordinary models of the "fast" preset, evaluated on the test images of their own class.
"""

import shutil
import sys
from pathlib import Path

from skrd4ad.cli import main

CLASSES = (("elpv", "solar_cell_mono"), ("synthetic", "machined_disc"))
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def train_demo_models(out: Path) -> int:
    """Train each class and move its model folder to ``<out>/<data set>/<class>/demo``; returns an exit code."""
    for source, name in CLASSES:
        home = out / source / name
        before = set(home.glob("*")) if home.is_dir() else set()
        code = main(["train", "--data", source, "--class", name, "--out", str(out)])
        if code:
            return code
        (made,) = (folder for folder in set(home.glob("*")) - before if folder.is_dir())
        shutil.rmtree(home / "demo", ignore_errors=True)
        made.rename(home / "demo")
    return 0


if __name__ == "__main__":
    sys.exit(train_demo_models(CHECKPOINTS))
