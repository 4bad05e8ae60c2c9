"""Train the models that come with the app: ``python -m benchmarks.demo_models`` (``make demo-models``).

They are ordinary models of the "fast" preset, evaluated on the test images of their own class. Pictures of parts and
the evaluation lie in their folders.
"""

import shutil
import sys
from pathlib import Path

from skrd4ad.cli import main
from skrd4ad.data.sources import open_dataset
from skrd4ad.services.evaluation.evaluate import evaluate_class
from skrd4ad.services.models.shipped import ship_evaluation

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
        (data,) = open_dataset(source, class_name=name)
        ship_evaluation(evaluate_class(home / "demo", data, source=source))
    return 0


if __name__ == "__main__":
    sys.exit(train_demo_models(CHECKPOINTS))
