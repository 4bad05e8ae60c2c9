"""SK-RD4AD Studio: skip-connected reverse distillation for one-class anomaly detection.

::

    import skrd4ad

    model = skrd4ad.train("parts", "bottle")
    print(model.evaluate().metrics.image_auroc)
    model.predict("x.png").show()

An image goes one way through the package, from file to verdict::

    data → models → anomaly_map → model_folder → inference → services → api, ui, cli
"""

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Model", "Predictor", "Result", "load", "train"]

# torch's threads otherwise keep their cores busy while they wait for work, which slows down whatever else runs
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# imported when they are used: the package itself, and a command that needs none of them, starts at once
_PLACES = {
    "Model": "api.model",
    "Predictor": "inference.predict",
    "Result": "api.result",
    "load": "api.model",
    "train": "api.model",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    errors = import_module(f"{__name__}.errors")
    with errors.needing_extras(f"{__name__}.{name}"):
        globals()[name] = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
