"""A part with the heat of its anomaly map; threshold, opacity and views move in the browser without the server."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.types import Pitch, pitch_xy
from skrd4ad.ui.components.browser import load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.pictures import jpeg, reduced, require_image, require_map
from skrd4ad.ui.theme import ON_REJECT, VERDICTS
from skrd4ad.visualize import heat_table

LARGEST_SIDE = 2048
"""Pixels of the picture that is sent for viewing; positions are still told in the pixels of the image."""
_SCRIPTS = ("../envelope.js", "../page_keys.js", "analysis.js", "drawing.js", "reveal.js", "zoom.js", "region_table.js")
_component = load_component(Path(__file__).parent, *_SCRIPTS)


@dataclass(frozen=True, kw_only=True)
class About:
    """What stands beside the picture, in the words of the page."""

    title: str = ""
    truth: str | None = None
    """What the data set says: ``good`` or the type of the defect; None when it says nothing."""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Begin:
    """What a page wants to be shown, such as what its address names."""

    turn: int
    """Grows with every wish."""
    view: str | None
    """As in :class:`ViewerState`; None and what is no view leave it as it is."""
    threshold: float | None
    """None leaves it as it is."""


@dataclass(frozen=True, kw_only=True)
class ViewerState:
    """What the user chose in a viewer, as of the last release of a control."""

    threshold: float
    """In the unit of the map. It stays when the next image is shown, as long as the model's limit is the same."""
    view: str = "overlay"
    """``overlay``, ``image``, ``compare``, ``map``, or a number after ``level-`` or ``other-``."""


def map_viewer(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    *,
    image_id: str,
    key: str,
    threshold: float,
    top: float,
    level_maps: NDArray[np.floating] | None = None,
    level_names: Sequence[str] = (),
    comparison_maps: Mapping[str, NDArray[np.floating]] | None = None,
    mask: NDArray[np.bool_] | None = None,
    colour_map: str = "inferno",
    opacity: float = 0.6,
    refused: bool = False,
    judged: bool = True,
    score: float | None = None,
    review: float | None = None,
    pixel: float | None = None,
    pitch: Pitch | None = None,
    about: About = About(),
    begin: Begin | None = None,
    one_screen: bool = False,
) -> ViewerState | None:
    """Show a part with its anomaly map, its verdict and its regions.

    Args:
        image: (H, W, 3) RGB.
        anomaly_map: (h, w) raw scores, of any size; it is sent without loss, so counts are exact.
        image_id: Names the content: the browser loads pictures and maps again only when it changes.
        key: Widget key; one key for a place on a page keeps view, opacity and trial threshold from image to image.
        threshold: The model's limit, marked on the slider and the legend.
        top: The score at which colours saturate, usually the highest of the calibration.
        level_maps: (L, h, w), one map a feature level, shown as views with the L ``level_names``.
        comparison_maps: Further maps of the same image by name, each (h', w') raw scores: views in the colours of
            ``anomaly_map``, whose outlines stay. They may come and go while the image stays.
        mask: (h', w') ground truth to outline.
        colour_map: One of ``skrd4ad.visualize.COLOUR_MAPS``.
        opacity: 0 to 1, where the opacity slider starts.
        refused: The image cannot be judged, whatever the threshold.
        judged: False where the threshold is for viewing only: there is no verdict.
        score: What the verdict rests on; the highest of the map where it is None.
        review: The image is for review above this score, and not above ``threshold``.
        pixel: Where regions begin while the threshold is the model's; ``threshold`` where it is None.
        pitch: Millimetres a pixel of the image; None for regions in pixels.
        about: What is said of the image beside it.
        begin: What is shown in place of what the user chose last, once for each turn.
        one_screen: The picture is as high as leaves room in the window for the head of a page and a strip of parts.

    Returns:
        What the user chose, or None while slider and views are untouched.
    """
    require_image(image)
    require_map(anomaly_map)
    if not (np.isfinite(threshold) and np.isfinite(top)):
        raise ConfigError(f"The threshold is {threshold} and the top {top}; allowed: finite numbers.")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"The opacity is {opacity}; allowed: 0 to 1.")
    header: dict[str, Any] = {
        "id": image_id,
        **_size(image),
        "map": _size(anomaly_map),
        "limit": float(threshold),
        "top": float(top),
        "opacity": float(opacity),
        "verdicts": {name: asdict(look) for name, look in VERDICTS.items()},
        "onReject": ON_REJECT,
        "refused": refused,
        "judged": judged,
        "score": float(anomaly_map.max() if score is None else score),
        "review": review,
        "pixel": float(threshold if pixel is None else pixel),
        "pitch": None if pitch is None else pitch_xy(pitch),
        "title": about.title,
        "truth": about.truth,
        "notes": [*((note, False) for note in about.notes), *((note, True) for note in about.warnings)],
        "begin": None if begin is None else asdict(begin),
        "oneScreen": one_screen,
        "levels": None,
        "others": [],
        "mask": None,
    }
    blobs = {
        "image": jpeg(reduced(image, LARGEST_SIDE)),
        "map": _exact(anomaly_map),
        "heat": heat_table(colour_map).tobytes(),
    }
    if level_maps is not None:
        header["levels"], blobs["levels"] = _levels(level_maps, level_names)
    for number, (name, other) in enumerate((comparison_maps or {}).items(), start=1):
        require_map(other, f"comparison map {name!r}")
        header["others"].append({"name": name, **_size(other)})
        blobs[f"other-{number}"] = _exact(other)
    if mask is not None:
        if mask.ndim != 2 or mask.size == 0:
            raise DataError(f"The mask has the shape {mask.shape}; allowed: (H, W), at least one pixel.")
        header["mask"] = _size(mask)
        blobs["mask"] = np.packbits(mask.astype(bool)).tobytes()
    result = _component(key=key, data=pack(header, blobs), on_choice_change=lambda: None)
    return _state(result.get("choice"), limit=threshold)


def _state(choice: Mapping[str, Any] | None, *, limit: float) -> ViewerState | None:
    """A choice made against another limit is stale, such as that of the model shown before."""
    if not choice or choice["limit"] != limit:
        return None
    return ViewerState(threshold=float(choice["threshold"]), view=str(choice["view"]))


def _size(plane: NDArray[Any]) -> dict[str, int]:
    return {"width": plane.shape[1], "height": plane.shape[0]}


def _exact(scores: NDArray[np.floating]) -> bytes:
    return np.ascontiguousarray(scores, "<f4").tobytes()


def _levels(level_maps: NDArray[np.floating], names: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """Levels on one scale from 0 to the highest of all, so that they can be compared; 8 bits are enough to look at."""
    if level_maps.ndim != 3 or len(level_maps) != len(names) or level_maps.size == 0:
        raise DataError(
            f"The level maps have the shape {level_maps.shape} and {len(names)} names; allowed: (L, H, W) with L names."
        )
    top = float(np.nanmax(level_maps))
    scaled = np.clip(level_maps * (255 / top if top > 0 else 0), 0, 255)
    header = {"names": list(names), **_size(level_maps[0]), "top": max(top, 0.0)}
    return header, np.rint(np.nan_to_num(scaled)).astype(np.uint8).tobytes()
