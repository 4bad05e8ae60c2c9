"""The whole chain from pixels to the anomaly map and the score as one graph, for conversion to other runtimes.

Inside: normalising, teacher, bottleneck, student, level maps, their sum, the blur, the score. Outside: decoding an
image file and resizing it to the model's size (:func:`skrd4ad.data.images.read.resize_image`), because the antialiased
resizing of Pillow cannot be had bit for bit in ONNX.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skrd4ad.anomaly_map import anomaly_map, image_score, level_maps
from skrd4ad.export.manifest import SCORING_OUTPUTS, VERDICT_OUTPUTS
from skrd4ad.models.skrd import SKRD4AD
from skrd4ad.types import ImageSize, height_width

MOST_IMAGES = 4096
"""In one call of a graph for any number of images."""


class ScoringGraph(nn.Module):
    """All that :class:`skrd4ad.inference.predict.Predictor` computes of a batch, raw: no calibration is in it."""

    outputs = SCORING_OUTPUTS

    def __init__(self, model: SKRD4AD, *, size: ImageSize) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images (N, H, W, 3) uint8 RGB → score (N,), map (N, H, W), levels (N, L, H, W), embedding (N, C)."""
        features, restored = self.model(images.permute(0, 3, 1, 2))
        normality = self.model.normality
        levels = level_maps(features, restored, size=self.size, normality=normality)
        maps = anomaly_map(levels, normality=normality)
        return image_score(maps), maps, levels, features[-1].float().mean(dim=(2, 3))


class VerdictGraph(nn.Module):
    """Map and score as a verdict uses them: pixels that the calibration ignores are 0."""

    outputs = VERDICT_OUTPUTS
    ignored: Tensor | None

    def __init__(self, scoring: ScoringGraph, *, ignored: NDArray[np.bool_] | None = None) -> None:
        """Make the graph. ``ignored``: (H, W), true where the map is ignored; None when nothing is."""
        super().__init__()
        self.scoring = scoring
        self.register_buffer("ignored", None if ignored is None else torch.from_numpy(ignored))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, H, W, 3) uint8 RGB → highest value of the map (N,), and the map (N, H, W), float32."""
        _, maps, _, _ = self.scoring(images)
        if self.ignored is not None:
            maps = maps.masked_fill(self.ignored, 0.0)
        return image_score(maps), maps


def trace(graph: VerdictGraph | ScoringGraph, *, size: ImageSize, batch: int | None) -> torch.export.ExportedProgram:
    """The operations of a graph. ``batch``: images in one call; None for any number from 1 to ``MOST_IMAGES``."""
    # one image would be taken for a constant
    images = torch.zeros((batch or 2, *height_width(size), 3), dtype=torch.uint8)
    shapes = None if batch is not None else ({0: torch.export.Dim("batch", min=1, max=MOST_IMAGES)},)
    with torch.no_grad():
        return torch.export.export(graph.eval(), (images,), dynamic_shapes=shapes)
