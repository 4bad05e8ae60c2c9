"""Learn from good parts, measure, and look at one part: python docs/use_python.py DATA CLASS [EPOCHS]

DATA is a folder in a known layout, or ``elpv`` or ``synthetic``, which need no download.
"""

import sys
from dataclasses import replace
from pathlib import Path

from skrd4ad.config import PRESETS
from skrd4ad.data.sources import open_dataset
from skrd4ad.inference.evaluate import evaluate_model
from skrd4ad.inference.predict import Predictor
from skrd4ad.services.inspection.inspect import inspect_images
from skrd4ad.training.train import train

source, name = sys.argv[1:3]
preset = PRESETS["fast"]
epochs = int(sys.argv[3]) if len(sys.argv) > 3 else preset.train.epochs
data = next(each for each in open_dataset(source) if each.name == name)

config = replace(preset.train, epochs=epochs)
model = train(data, model=preset.model, config=config, out=Path("checkpoints"), source=source)
print(f"model folder {model.folder}")

predictor = Predictor.load(model.folder)
metrics = evaluate_model(predictor, data).metrics
print(f"image AUROC {metrics.image_auroc:.3f} on {metrics.n_good} good and {metrics.n_defect} defective test images")

part = data.test[-1]
[found] = inspect_images(predictor, [(part.path.name, part.path)])
print(f"{part.defect_type}: score {found.score:.3f}, {found.verdict}, {len(found.regions)} regions")
