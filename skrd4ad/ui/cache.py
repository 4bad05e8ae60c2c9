"""What is kept between the reruns of a page: loaded models, data sets and reports."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from skrd4ad.data.doctor.examine import DoctorReport
from skrd4ad.digests import content_digest
from skrd4ad.export.manifest import Precision
from skrd4ad.export.runtimes import RuntimeChoice, RuntimeName, load_runtime
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import class_of_model, classes_of, preflight
from skrd4ad.services.inspection.runtimes import background
from skrd4ad.task import Task
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels

KEPT_REPORTS = 64


def predictor_of(info: ModelInfo) -> Predictor:
    """The model of a folder with what is known of it now, its calibration above all.

    The network is loaded once for all users as long as its file does not change. It runs by the graph that the model
    carries, or on torch where it has none, until the fastest runtime is known, which a process of its own finds out.
    """
    choice, _ = runtime_of(info)
    return _predictor(str(info.folder), info.digest, choice.runtime, choice.precision).with_info(info)


def runtime_of(info: ModelInfo) -> tuple[RuntimeChoice, str]:
    """What computes for a model now, and a line about it for people."""
    return background().choice_for(info)


@st.cache_resource(max_entries=4, show_spinner="Loading the model …")
def _predictor(
    folder: str,
    digest: str,  # noqa: ARG001 - a new digest is a new model
    runtime: RuntimeName,
    precision: Precision,
) -> Predictor:
    return load_runtime(Path(folder), RuntimeChoice(runtime, precision))


@st.cache_data(max_entries=32, ttl="2m", show_spinner="Reading the data set …")
def dataset_classes(source: str, layout: str) -> list[DatasetClass]:
    """Classes of a data set; read again after two minutes."""
    return classes_of(source, layout=layout)


def training_class(info: ModelInfo) -> DatasetClass:
    """The class that a model was trained on; read again after two minutes.

    Raises:
        DataError: it is not at hand.
    """
    source, layout = info.data.get("source"), info.data.get("layout")
    return _training_class(f"{source} {layout} {info.dataset}/{info.class_name}", info)


@st.cache_data(max_entries=16, ttl="2m", show_spinner="Reading the data set …")
def _training_class(key: str, _info: ModelInfo) -> DatasetClass:  # noqa: ARG001 - another key is another class
    return class_of_model(_info)


def doctor_report(
    data: Sequence[DatasetClass], *, image_size: ImageSize | None, levels: Levels | None, align: Align, task: Task
) -> DoctorReport:
    """The doctor's report on classes, kept as long as their files do not change.

    Streamlit's own cache would record what ``task`` draws and fail to draw it again in the next session.
    """
    reports = _reports()
    key = (image_size, levels, align, _state_of_files(data))
    if key not in reports:
        if len(reports) >= KEPT_REPORTS:
            reports.clear()
        reports[key] = preflight(data, image_size=image_size, levels=levels, align=align, task=task)
    return reports[key]


@st.cache_resource(show_spinner=False)
def _reports() -> dict[tuple[ImageSize | None, Levels | None, Align, str], DoctorReport]:
    return {}


def _state_of_files(data: Sequence[DatasetClass]) -> str:
    parts = []
    for each in data:
        parts.append(f"{each.dataset}/{each.name}/{each.layout}")
        for path in (path for sample in each.samples for path in (sample.path, *sample.masks)):
            state = path.stat() if path.exists() else None
            parts.append(f"{path}:{state and (state.st_mtime_ns, state.st_size)}")
    return content_digest(*(part.encode("utf-8", "surrogateescape") for part in parts))
