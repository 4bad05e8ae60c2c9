"""The converted graph that a model folder carries (``graph/``), by which its images are judged without torch.

It is an export in OpenVINO's format with all that a predictor computes, made when the training ends, with its
certificate beside it. A graph that fits the model no more, is damaged, or failed the comparison counts as none.
"""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from skrd4ad.errors import CheckpointError
from skrd4ad.export.certificate import read_certificate
from skrd4ad.export.manifest import (
    GRAPH_VERSION,
    MANIFEST,
    SCORING_OUTPUTS,
    Export,
    ExportSettings,
    read_export,
    require_intact,
)
from skrd4ad.model_folder.info import GRAPH, ModelInfo

GRAPH_SETTINGS = ExportSettings(format="openvino")
FAILED = "its converted graph does not say the same as torch"
_TYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64}


def carried_graph(info: ModelInfo) -> Export | None:
    """The graph of a model folder; None where it has none that can be used."""
    return None if why_no_graph(info) else read_export(info.folder / GRAPH)


def why_no_graph(info: ModelInfo) -> str:
    """Why a model folder has no graph that can be used, in one clause; empty when it has one."""
    folder = info.folder / GRAPH
    if not (folder / MANIFEST).is_file():
        return "it was imported, or made by a build whose models carried none"
    try:
        export = read_export(folder)
        require_intact(export)
        certificate = read_certificate(export)
    except CheckpointError as error:
        return str(error).rstrip(".")
    manifest = export.manifest
    of_model = (manifest.model.get("digest"), manifest.model.get("teacher_digest"), manifest.image_size)
    if of_model != (info.digest, info.teacher_digest, info.model.image_size):
        return f"{folder} was made of another model"
    made_as = (manifest.graph_version, manifest.outputs, manifest.settings)
    if made_as != (GRAPH_VERSION, SCORING_OUTPUTS, GRAPH_SETTINGS):
        return f"{folder} was made by another version of this program"
    if certificate is None:
        return f"{folder} was not compared with the model it was made from"
    return "" if certificate.passed else f"{FAILED}: {'; '.join(certificate.problems)}"


def require_sound_graph(folder: Path) -> None:
    """See that the graph of a model folder, if there is one, is whole and holds finite numbers alone.

    Raises:
        CheckpointError: it does not.
    """
    if not (folder / GRAPH).is_dir():
        return
    export = read_export(folder / GRAPH)
    require_intact(export)
    read_certificate(export)
    try:
        weights = export.main_file.with_suffix(".bin").read_bytes()
        for layer in ElementTree.parse(export.main_file).iter("layer"):
            data = layer.find("data")
            if layer.get("type") != "Const" or data is None or data.get("element_type") not in _TYPES:
                continue
            start, size = int(data.get("offset", "")), int(data.get("size", ""))
            values = np.frombuffer(weights[start : start + size], _TYPES[data.get("element_type", "")])
            if not np.isfinite(values).all():
                raise CheckpointError(
                    f"{export.main_file} holds values that are not finite (NaN or infinity), first in "
                    f"{layer.get('name')}. No verdict can come from them: restore the model, or train it again."
                )
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise CheckpointError(f"{export.main_file} is damaged: {error}.") from error
