"""Learn from good parts, measure, and look at one: python docs/use_python.py DATA CLASS IMAGE [EPOCHS]

DATA is a folder in a known layout, or ``elpv`` or ``synthetic``, which need no download.
"""

import sys

import skrd4ad

data, name, image, *epochs = sys.argv[1:]
model = skrd4ad.train(data, name, epochs=int(epochs[0]) if epochs else None)
print(f"model folder {model.folder}")

metrics = model.evaluate().metrics
print(f"image AUROC {metrics.image_auroc:.3f} on {metrics.n_good} good and {metrics.n_defect} defective test images")

found = model.predict(image)
print(f"score {found.score:.3f}, limit {found.limit:.3f}, {found.verdict}, {len(found.regions)} regions")
found.save("results")
