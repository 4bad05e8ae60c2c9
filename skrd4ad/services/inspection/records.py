"""The files of a whole batch in one ZIP, made in the same pass as its report."""

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from skrd4ad.services.inspection.input_files import distinct
from skrd4ad.services.inspection.inspect import Inspection, mask_of, overlay_of, png_bytes

T = TypeVar("T")


def masks_archive(
    inspections: Iterable[Inspection], *, names: Sequence[str], report: Callable[[Iterable[Inspection]], T]
) -> tuple[T, bytes]:
    """What ``report`` makes of the inspections, and a ZIP file with overlay, mask and raw map of each.

    Every inspection is looked at once. Unreadable images have no files; without a threshold there are no masks.

    Args:
        inspections: in the order of the parts.
        names: of the images, in the same order; their files keep the folders in them, and get different names.
        report: takes all of them.
    """
    content = io.BytesIO()
    stems = distinct(_stem(name) for name in names)
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:

        def kept() -> Iterator[Inspection]:
            for stem, inspection in zip(stems, inspections, strict=True):
                if inspection.prediction is not None:
                    _add(archive, inspection, stem)
                yield inspection

        made = report(kept())
    return made, content.getvalue()


def _add(archive: zipfile.ZipFile, inspection: Inspection, name: str) -> None:
    assert inspection.prediction is not None
    archive.writestr(f"{name}_overlay.png", png_bytes(overlay_of(inspection)))
    mask = mask_of(inspection)
    if mask is not None:
        archive.writestr(f"{name}_mask.png", png_bytes(mask))
    scores = io.BytesIO()
    np.save(scores, inspection.prediction.anomaly_map, allow_pickle=False)
    archive.writestr(f"{name}_map.npy", scores.getvalue())


def _stem(name: str) -> str:
    """Name without suffix; a path keeps its folders, without leading anywhere else."""
    parts = name.replace("\\", "/").rsplit(".", 1)[0].split("/")
    return "/".join(part for part in parts if part not in ("", ".", "..")) or "image"
