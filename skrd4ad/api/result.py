"""What a model says of one image, to look at, keep or send on."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from skrd4ad.format import plural
from skrd4ad.inference.predictions import Inspection
from skrd4ad.services.inspection.input_files import output_names
from skrd4ad.services.inspection.inspect import mask_of, overlay_of, png_bytes, to_record, write_outputs
from skrd4ad.types import Pitch, Region, Verdict


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a model says of one image, or why it cannot say anything. A notebook shows it as its overlay."""

    inspection: Inspection
    """All that is known, with the original image."""

    @property
    def name(self) -> str:
        """Path of the image, or ``image-1`` and so on by its place."""
        return self.inspection.name

    @property
    def score(self) -> float | None:
        """Highest value of the map that counts, in raw units; None for an image that cannot be read."""
        return self.inspection.score

    @property
    def verdict(self) -> Verdict | None:
        """OK, REVIEW, NG, or CANNOT JUDGE where the image is unlike the training images; None without a limit."""
        return self.inspection.verdict

    @property
    def limit(self) -> float | None:
        """A part is NG above this score; None for a model without a calibration, when no threshold was given."""
        limits = self.inspection.limits
        return None if limits is None else limits.reject

    @property
    def map(self) -> NDArray[np.float32] | None:
        """Raw scores, (H, W) at the model's image size or of joined tiles; None for an unreadable image."""
        prediction = self.inspection.prediction
        return None if prediction is None else prediction.anomaly_map

    @property
    def regions(self) -> tuple[Region, ...]:
        """Defects by their highest score, in pixels of the image; none without a limit."""
        return self.inspection.regions

    @property
    def refusal(self) -> str | None:
        """Why the image cannot be judged; None when it can."""
        return self.inspection.refusal

    @property
    def error(self) -> str | None:
        """Why the image cannot be read; None when it can."""
        return self.inspection.error

    @property
    def overlay(self) -> NDArray[np.uint8]:
        """The image with the heat of its map and the outlines of its defects, (H, W, 3) RGB.

        Raises:
            DataError: the image cannot be read.
        """
        return overlay_of(self.inspection)

    @property
    def mask(self) -> NDArray[np.uint8] | None:
        """Pixels of defects, (H, W) 0 or 255; None without a limit. Raises as :attr:`overlay`."""
        return mask_of(self.inspection)

    def save(self, folder: str | Path, *, name: str | None = None) -> dict[str, Path]:
        """Write NAME_map.npy (float32, raw scores), NAME_overlay.png and, with a limit, NAME_mask.png.

        Args:
            folder: made when missing.
            name: by default the image's own, without folders and suffix; give one where images of several folders have
                the same, as files are replaced.

        Returns:
            The files by kind: ``map``, ``overlay``, ``mask``.

        Raises:
            DataError: the image cannot be read, or a file cannot be written.
        """
        return write_outputs(self.inspection, Path(folder), name=name or output_names([Path(self.name)])[0])

    def show(self) -> None:
        """Open the overlay: in the notebook where there is one, else in the system's viewer. Raises as that."""
        notebook = sys.modules.get("IPython")
        if notebook is not None and notebook.get_ipython() is not None:
            notebook.display.display(self)
        else:
            Image.fromarray(self.overlay).show(self.name)

    def to_dict(self, *, mm_per_pixel: Pitch | None = None) -> dict[str, Any]:
        """Ready for JSON, as an entry of ``images`` of ``skrd4ad predict --json`` but for its files.

        Args:
            mm_per_pixel: scale of the image, one number or (x, y); regions then have area_mm2, box_mm and
                centroid_mm too.
        """
        return to_record(self.inspection, mm_per_pixel=mm_per_pixel)

    def _repr_png_(self) -> bytes | None:
        return None if self.error is not None else png_bytes(self.overlay)

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Result({self.name}: unreadable, {self.error})"
        limit = "no limit" if self.limit is None else f"limit {self.limit:.4g}"
        verdict = self.verdict or "no verdict"
        return f"Result({self.name}: {verdict}, score {self.score:.4g}, {limit}, {plural(len(self.regions), 'region')})"
