"""A part with the heat of its anomaly map; threshold, opacity and views move in the browser without the server."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.types import Verdict
from skrd4ad.ui.components.envelope import jpeg, pack
from skrd4ad.ui.theme import ON_REJECT, VERDICTS
from skrd4ad.visualize import heat_table

LARGEST_SIDE = 2048
"""Pixels of the picture that is sent for viewing; positions are still told in the pixels of the image."""
SHOWN_VERDICTS: tuple[Verdict, ...] = ("OK", "NG")

_FOLDER = Path(__file__).parent
_component = st.components.v2.component(
    "skrd4ad_map_viewer",
    html=(_FOLDER / "map_viewer.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "map_viewer.css").read_text(encoding="utf-8"),
    # a component is one module
    js="\n".join(
        (_FOLDER / name).read_text(encoding="utf-8")
        for name in ("../envelope.js", "analysis.js", "drawing.js", "reveal.js", "map_viewer.js")
    ),
)


@dataclass(frozen=True, kw_only=True)
class ViewerState:
    """What the user chose in a viewer, as of the last release of a control or click on a region."""

    threshold: float
    """In the unit of the map. It stays when the next image is shown, as long as the model's limit is the same."""
    region: int | None = None
    """Number of the region of this image that is marked, in the order of ``skrd4ad.regions.find_regions`` above
    ``threshold``; None when none is."""
    clicked: int = 0
    """Grows with every click that marks or unmarks a region: tells a new click from one that was answered already."""


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
    highlight: int | None = None,
    mask: NDArray[np.bool_] | None = None,
    colour_map: str = "inferno",
    opacity: float = 0.6,
) -> ViewerState | None:
    """Show a part with its anomaly map.

    Args:
        image: (H, W, 3) RGB.
        anomaly_map: (h, w) raw scores, of any size; it is sent without loss, so counts are exact.
        image_id: Names the content: the browser loads pictures and maps again only when it changes.
        key: Widget key; one key for a place on a page keeps view, opacity and trial threshold from image to image.
        threshold: The model's limit, marked on the slider and the legend.
        top: The score at which colours saturate, usually the highest of the calibration.
        level_maps: (L, h, w), one map a feature level, or None.
        level_names: L names, shown as views.
        comparison_maps: Further maps of the same image by name, each (h', w') raw scores; shown as views over the
            picture in the colours of ``anomaly_map``, whose outlines stay. They may come and go while the image stays.
        highlight: Number, from 0, of the region to emphasise, in the order of ``find_regions`` above the threshold
            that the viewer shows; None leaves that to clicks. A number without a region emphasises nothing.
        mask: (h', w') ground truth to outline, or None.
        colour_map: One of ``skrd4ad.visualize.COLOUR_MAPS``.
        opacity: 0 to 1, where the opacity slider starts.

    Returns:
        What the user chose, or None while the slider is untouched and no region was clicked.

    Raises:
        ConfigError: a setting is outside what is allowed.
        DataError: an array has a wrong shape or holds something that is no number.
    """
    payload = _payload(
        image,
        anomaly_map,
        image_id=image_id,
        threshold=threshold,
        top=top,
        level_maps=level_maps,
        level_names=level_names,
        comparison_maps=comparison_maps or {},
        highlight=highlight,
        mask=mask,
        colour_map=colour_map,
        opacity=opacity,
    )
    result = _component(key=key, data=payload, on_choice_change=lambda: None)
    return _state(result.get("choice"), limit=threshold, image_id=image_id)


def _state(choice: Mapping[str, Any] | None, *, limit: float, image_id: str) -> ViewerState | None:
    """A choice made against another limit is stale, such as that of the model shown before; so is another's region."""
    if not choice or choice["limit"] != limit:
        return None
    region = choice.get("region") if choice.get("id") == image_id else None
    return ViewerState(
        threshold=float(choice["threshold"]),
        region=None if region is None else int(region),
        clicked=int(choice.get("clicked", 0)),
    )


def _payload(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    *,
    image_id: str,
    threshold: float,
    top: float,
    level_maps: NDArray[np.floating] | None,
    level_names: Sequence[str],
    comparison_maps: Mapping[str, NDArray[np.floating]],
    highlight: int | None,
    mask: NDArray[np.bool_] | None,
    colour_map: str,
    opacity: float,
) -> bytes:
    _check(image, anomaly_map, threshold=threshold, top=top, opacity=opacity)
    if highlight is not None and highlight < 0:
        raise ConfigError(f"The region to emphasise is {highlight}; allowed: 0 or more, or None.")
    header: dict[str, Any] = {
        "id": image_id,
        "width": image.shape[1],
        "height": image.shape[0],
        "map": {"width": anomaly_map.shape[1], "height": anomaly_map.shape[0]},
        "limit": float(threshold),
        "top": float(top),
        "opacity": float(opacity),
        "verdicts": {name: asdict(VERDICTS[name]) for name in SHOWN_VERDICTS},
        "onReject": ON_REJECT,
        "levels": None,
        "others": [],
        "highlight": highlight,
        "mask": None,
    }
    blobs = {
        "image": jpeg(_for_viewing(image)),
        "map": _exact(anomaly_map),
        "heat": heat_table(colour_map).tobytes(),
    }
    if level_maps is not None:
        header["levels"], blobs["levels"] = _levels(level_maps, level_names)
    for number, (name, other) in enumerate(comparison_maps.items(), start=1):
        _check_map(other, f"comparison map {name!r}")
        header["others"].append({"name": name, "width": other.shape[1], "height": other.shape[0]})
        blobs[f"other-{number}"] = _exact(other)
    if mask is not None:
        if mask.ndim != 2 or mask.size == 0:
            raise DataError(f"The mask has the shape {mask.shape}; allowed: (H, W), at least one pixel.")
        header["mask"] = {"width": mask.shape[1], "height": mask.shape[0]}
        blobs["mask"] = np.packbits(mask.astype(bool)).tobytes()
    return pack(header, blobs)


def _check(
    image: NDArray[np.uint8], anomaly_map: NDArray[np.floating], *, threshold: float, top: float, opacity: float
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise DataError(f"The image has the shape {image.shape} and type {image.dtype}; allowed: (H, W, 3) uint8.")
    _check_map(anomaly_map, "anomaly map")
    if not (np.isfinite(threshold) and np.isfinite(top)):
        raise ConfigError(f"The threshold is {threshold} and the top {top}; allowed: finite numbers.")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"The opacity is {opacity}; allowed: 0 to 1.")


def _check_map(scores: NDArray[np.floating], what: str) -> None:
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise DataError(f"The {what} (shape {scores.shape}) must be (H, W) and hold finite numbers only.")


def _exact(scores: NDArray[np.floating]) -> bytes:
    return np.ascontiguousarray(scores, "<f4").tobytes()


def _for_viewing(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = LARGEST_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _levels(level_maps: NDArray[np.floating], names: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """Levels on one scale from 0 to the highest of all, so that they can be compared; 8 bits are enough to look at."""
    if level_maps.ndim != 3 or len(level_maps) != len(names) or level_maps.size == 0:
        raise DataError(
            f"The level maps have the shape {level_maps.shape} and {len(names)} names; allowed: (L, H, W) with L names."
        )
    top = float(np.nanmax(level_maps))
    scaled = np.clip(level_maps * (255 / top if top > 0 else 0), 0, 255)
    header = {"names": list(names), "width": level_maps.shape[2], "height": level_maps.shape[1], "top": max(top, 0.0)}
    return header, np.rint(np.nan_to_num(scaled)).astype(np.uint8).tobytes()
