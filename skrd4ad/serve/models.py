"""The models that are served: found by name, opened once, and followed when their files change.

A request looks at the state of its model's files first, so a calibration that was saved, or another model under the
same name, holds from the next request on. Requests under way end with what they began with.
"""

import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import STREAMS, Limits, limits_of
from skrd4ad.inference.reference import Reference, read_reference
from skrd4ad.model_folder.info import CALIBRATION, CONFIG, REFERENCE, WEIGHTS, ModelInfo, read_info
from skrd4ad.serve.problems import Refusal
from skrd4ad.serve.settings import ServeSettings
from skrd4ad.services.inspection.runtimes import RuntimeRequest, open_predictor
from skrd4ad.services.models.list import default_model, list_models, model_name

MOST_OPEN = 8
"""Models that a worker keeps open; the one used least lately goes first."""
LISTED_SECONDS = 1.0
"""For so long a list of models is taken as it was."""
_SHOWN = 10

State = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenModel:
    """A model as one request sees it."""

    name: str
    predictor: Predictor
    limits: Limits | None
    reference: Reference | None
    network: State
    """Of the files that the network and its guards come from."""
    calibration: State

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        return self.predictor.info


class ServedModels:
    """The models of one worker; may be called from several threads."""

    def __init__(self, settings: ServeSettings) -> None:
        self._settings = settings
        self._open: OrderedDict[Path, OpenModel] = OrderedDict()
        self._lock = threading.Lock()
        self._opening: dict[Path, threading.Lock] = {}
        self._listed: tuple[float, list[ModelInfo]] | None = None

    def all(self) -> list[ModelInfo]:
        """The models there are, newest first in each class."""
        if self._settings.model is not None:
            return [read_info(self._settings.model)]
        now = time.monotonic()
        if self._listed is None or now - self._listed[0] > LISTED_SECONDS:
            self._listed = (now, list_models(self._settings.root)[0])
        return self._listed[1]

    def find(self, name: str | None) -> ModelInfo:
        """The model of a name: ``dataset/class/run``; or ``dataset/class`` or ``class``, which stand for the one that
        the app offers first, its newest in use. None where there is only one class.

        Raises:
            Refusal: there is none, or the name stands for several classes.
        """
        models = self.all()
        found = [each for each in models if name in (None, model_name(each))] or [
            each for each in models if name in (each.class_name, f"{each.dataset}/{each.class_name}")
        ]
        names = ", ".join([model_name(each) for each in models][:_SHOWN]) or "none"
        more = f" and {len(models) - _SHOWN} more, see /v1/models" if len(models) > _SHOWN else ""
        if len({(each.dataset, each.class_name) for each in found}) > 1:
            what = "No model is named" if name is None else f"The model {name!r} may be of several data sets"
            raise Refusal(400, f"{what}, and there are several: {names}{more}. Name one of them.")
        chosen = default_model(found)
        if chosen is None:
            what = "" if name is None else f" {name!r}"
            raise Refusal(404, f"There is no model{what}; there are: {names}{more}.")
        return chosen

    def current(self, name: str | None) -> OpenModel:
        """The model of a name as it is now, opened if need be; see :meth:`find`.

        Raises:
            CheckpointError: it is damaged.
            ConfigError: it cannot be run here.
        """
        folder = self.find(name).folder
        with self._lock:
            opening = self._opening.setdefault(folder, threading.Lock())
        with opening:  # one thread opens it, and those that want another model do not wait
            known, network, calibration = self._open.get(folder), _state(folder, *_NETWORK), _state(folder, CALIBRATION)
            if known is None or (known.network, known.calibration) != (network, calibration):
                if known is None or known.network != network:
                    predictor = open_predictor(folder, RuntimeRequest(), streams=STREAMS)
                    reference = read_reference(folder)
                else:
                    predictor, reference = known.predictor.with_info(read_info(folder)), known.reference
                known = OpenModel(
                    name=model_name(predictor.info),
                    predictor=predictor,
                    limits=limits_of(predictor.info),
                    reference=reference,
                    network=network,
                    calibration=calibration,
                )
        with self._lock:
            self._open[folder] = known
            self._open.move_to_end(folder)
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)
        return known

    def is_open(self, info: ModelInfo) -> bool:
        """Whether a model needs not be opened any more."""
        return info.folder in self._open


_NETWORK = (CONFIG, WEIGHTS, REFERENCE)


def _state(folder: Path, *names: str) -> State:
    return tuple(_file_state(folder / name) for name in names)


def _file_state(path: Path) -> tuple[int, int, int] | None:
    with suppress(OSError):
        state = path.stat()
        return state.st_ino, state.st_size, state.st_mtime_ns
    return None
