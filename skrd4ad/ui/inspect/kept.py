"""The last inspections with their images and maps, so that stepping through parts does not run the model again."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

import streamlit as st

from skrd4ad.inference.predictions import Inspection

MOST_BYTES = 192 * 2**20
"""Of images and maps, for all tabs of the server together."""


class KeptInspections:
    """The inspections that were asked for last; one is kept whatever its size."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, Inspection] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Inspection | None:
        """The inspection of a key; None when it was not kept, or not so long."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, inspection: Inspection) -> None:
        """Keep an inspection, in place of those that nobody asked for the longest."""
        with self._lock:
            self._drop(key)
            self._kept[key] = inspection
            self._bytes += _size(inspection)
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        if (dropped := self._kept.pop(key, None)) is not None:
            self._bytes -= _size(dropped)


@st.cache_resource(show_spinner=False)
def kept_inspections() -> KeptInspections:
    """Those of this server."""
    return KeptInspections()


def _size(inspection: Inspection) -> int:
    prediction = inspection.prediction
    arrays = [inspection.image, inspection.scored_map]
    if prediction is not None:
        arrays += [prediction.anomaly_map, prediction.level_maps]
    return sum(array.nbytes for array in arrays if array is not None)
