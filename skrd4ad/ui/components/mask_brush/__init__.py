"""Draw a mask on a part: brush, eraser, polygon, box, and regions of the anomaly map, at the image's own resolution."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from skrd4ad.digests import content_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.ui.components.browser import load_component
from skrd4ad.ui.components.envelope import pack
from skrd4ad.ui.components.pictures import jpeg, require_image, require_map
from skrd4ad.ui.components.runs import decode_runs, encode_runs
from skrd4ad.ui.theme import CHART_COLOURS_LIGHT, VERDICTS

Colour = Literal["ignore", "defect"]
COLOURS: dict[Colour, str] = {"ignore": CHART_COLOURS_LIGHT[5], "defect": VERDICTS["NG"].colour}
"""Ignored regions are hatched as well, so that the two differ without colour."""
LABELS: dict[Colour, str] = {"ignore": "Draw the regions to ignore", "defect": "Draw the defect"}

_component = load_component(
    Path(__file__).parent,
    *("../envelope.js", "../page_keys.js", "../map_viewer/analysis.js"),  # the same outlines as in the viewer
    *("raster.js", "mask.js", "heat_source.js", "stage.js", "preview.js", "strokes.js"),
)


def mask_brush(
    image: NDArray[np.uint8],
    *,
    image_id: str,
    key: str,
    mask: NDArray[np.bool_] | None = None,
    anomaly_map: NDArray[np.floating] | None = None,
    threshold: float | None = None,
    colour: Colour = "defect",
    max_height: int = 640,
    picture: tuple[str, bytes] | None = None,
    page_keys: bool = False,
    on_change: Callable[[str, NDArray[np.bool_]], None] | None = None,
) -> NDArray[np.bool_] | None:
    """Let the user draw a mask on an image; every change is reported when the pointer is released.

    A page keeps the mask of the answer and passes it on the next run: then the drawing is still there when the user
    leaves the page and comes back. Once the user has drawn, the browser's drawing counts until ``image_id`` changes or
    the component leaves the page; a mask that Python changes meanwhile needs an ``image_id`` of its own.

    Args:
        image: (H, W, 3) RGB.
        image_id: Names the image with its map; the browser loads again only when it changes.
        key: Widget key; one key for a place on a page keeps tool, size and opacity from image to image.
        mask: (H, W), where the drawing starts, or None for an empty one.
        anomaly_map: (h, w) raw scores of any size to take regions from, or None.
        threshold: Where the slider for those regions starts, in the unit of the map; None is halfway to its peak.
        max_height: Limit of the picture's height in CSS pixels; a low window may lower it.
        picture: Id and JPEG of the image as it is sent, when a page keeps it. While the id stays, another ``image_id``
            is another drawing on the same picture: the browser keeps picture, zoom and threshold, and when the mask is
            the one before the last stroke it takes the stroke back, so that it can be drawn again by "redo".
        page_keys: Whether the keys of the tools work wherever the focus is on the page. Then Z alone is the page's, and
            the last stroke is taken back by Ctrl+Z.
        on_change: Called as ``on_change(image_id, mask)`` before the page runs, so that a last stroke is kept even
            when the same run goes on to another image.

    Returns:
        The drawing (H, W) as of the last change, or None while this image is untouched.
    """
    _check(image, mask, anomaly_map, threshold=threshold, colour=colour, max_height=max_height)
    memory = f"{key}-sent"
    report = _read(st.session_state.get(key))
    sent = _follow(st.session_state.get(memory), report, image_id=image_id)
    if sent.drawn:
        mask = _mask(report, image.shape[:2])
    start = _digest(image, mask, threshold=threshold, colour=colour, max_height=max_height)
    if not sent.payload or (not sent.drawn and sent.start != start):
        header = {"id": image_id, "load": secrets.token_hex(8), "base": sent.base, "colour": COLOURS[colour]}
        header |= {"hatched": colour == "ignore", "label": LABELS[colour], "maxHeight": max_height}
        picture_id, encoded = (None, None) if picture is None else picture
        header |= {"picture": picture_id, "pageKeys": page_keys}
        payload = _payload(header, image, mask=mask, anomaly_map=anomaly_map, threshold=threshold, encoded=encoded)
        sent = replace(sent, start=start, payload=payload)

    def tell() -> None:
        _tell(on_change, st.session_state.get(key), st.session_state.get(memory), image.shape[:2])

    _component(key=key, data=sent.payload, on_mask_change=tell)
    st.session_state[memory] = sent  # after the call above, where Streamlit may break the run off
    return mask if sent.drawn else None


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """What the browser was given last. It goes out unchanged while the user draws: the picture is large."""

    image_id: str
    base: int
    """Revision where the drawing of this image started; a report up to it is stale."""
    revision: int
    """Of the last report."""
    start: str = ""
    """Digest of what the drawing starts from."""
    payload: bytes = b""

    @property
    def drawn(self) -> bool:
        return self.revision > self.base


def _follow(sent: _Sent | None, report: Mapping[str, Any] | None, *, image_id: str) -> _Sent:
    """What is sent and drawn, now that the browser may have reported; without a payload it is to be sent anew."""
    if sent is None:
        drawn = report is not None and report["id"] == image_id
        return _Sent(image_id=image_id, base=0, revision=report["rev"] if report and drawn else 0)
    latest = max(sent.revision, report["rev"]) if report else sent.revision
    came_back = report is None and sent.drawn  # what the browser knew is gone with the component
    if sent.image_id != image_id or came_back:
        return _Sent(image_id=image_id, base=latest, revision=latest)
    if report and report["id"] == image_id and report["rev"] > sent.base:
        return replace(sent, revision=report["rev"])
    return sent


def _read(value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The report in a component's value; its runs are looked at by whoever needs the mask."""
    report = value.get("mask") if value else None
    if not report:
        return None
    whole = isinstance(report, Mapping) and all(type(report.get(name)) is int for name in ("rev", "w", "h"))
    if not whole or not isinstance(report.get("id"), str):
        raise DataError("The drawing came without its image, revision and size; load the page again.")
    return report


def _mask(report: Mapping[str, Any] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if report is None or (report["h"], report["w"]) != tuple(shape):
        given = f"{report['w']} x {report['h']}" if report else "none"
        raise DataError(f"The drawing's size is {given}; allowed: the image's, {shape[1]} x {shape[0]}.")
    return decode_runs(report.get("runs"), width=report["w"], height=report["h"])


def _tell(
    on_change: Callable[[str, NDArray[np.bool_]], None] | None,
    value: Mapping[str, Any] | None,
    sent: _Sent | None,
    shape: tuple[int, ...],
) -> None:
    if on_change is None or sent is None:
        return
    try:
        report = _read(value)
        if report is None or report["id"] != sent.image_id or report["rev"] <= sent.base:
            return
        mask = _mask(report, shape)
    except DataError:
        return  # the run that follows raises it where the page can show it
    on_change(sent.image_id, mask)


def _digest(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    *,
    threshold: float | None,
    colour: str,
    max_height: int,
) -> str:
    drawn = np.packbits(mask).tobytes() if mask is not None and mask.any() else b""
    return content_digest(repr((image.shape, threshold, colour, max_height)), drawn)[:16]


def _payload(
    header: dict[str, Any],
    image: NDArray[np.uint8],
    *,
    mask: NDArray[np.bool_] | None,
    anomaly_map: NDArray[np.floating] | None,
    threshold: float | None,
    encoded: bytes | None = None,
) -> bytes:
    runs = [image.shape[0] * image.shape[1]] if mask is None else encode_runs(mask)
    header = {**header, "width": image.shape[1], "height": image.shape[0], "map": None, "threshold": threshold}
    blobs = {"image": jpeg(image) if encoded is None else encoded, "runs": np.asarray(runs, "<u4").tobytes()}
    if anomaly_map is not None:
        header["map"] = {"width": anomaly_map.shape[1], "height": anomaly_map.shape[0]}
        blobs["map"] = np.ascontiguousarray(anomaly_map, "<f4").tobytes()
    return pack(header, blobs)


def _check(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    anomaly_map: NDArray[np.floating] | None,
    *,
    threshold: float | None,
    colour: str,
    max_height: int,
) -> None:
    require_image(image)
    if mask is not None and (mask.shape != image.shape[:2] or mask.dtype != np.bool_):
        raise DataError(
            f"The mask has the shape {mask.shape} and type {mask.dtype}; "
            f"allowed: {image.shape[:2]} bool, the size of the image."
        )
    if anomaly_map is not None:
        require_map(anomaly_map)
    if threshold is not None and not np.isfinite(threshold):
        raise ConfigError(f"The threshold is {threshold}; allowed: a finite number, or None.")
    if colour not in COLOURS:
        raise ConfigError(f"The colour is {colour!r}; allowed: {', '.join(COLOURS)}.")
    if max_height < 200:
        raise ConfigError(f"The largest height is {max_height} CSS pixels; allowed: from 200 on.")
