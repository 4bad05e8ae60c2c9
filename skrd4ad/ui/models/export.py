"""Asking for an export, and following the exports that are being made."""

from collections.abc import Mapping, Sequence

import streamlit as st

from skrd4ad.errors import DataError, DocumentError
from skrd4ad.export import optional_dependencies
from skrd4ad.export.certificate import TOLERANCES
from skrd4ad.export.check import images_of
from skrd4ad.export.manifest import LARGEST_BATCH, PRECISIONS, ExportSettings, Format, Precision
from skrd4ad.format import ago, plural
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.models.export_job import EXPORT, ExportRequest
from skrd4ad.types import DatasetClass
from skrd4ad.ui.cache import training_class
from skrd4ad.ui.job_progress import follow_jobs, show_job
from skrd4ad.ui.text import STATES, plain
from skrd4ad.ui.widgets import button, choose, permitted, rerun

FORMATS: dict[Format, str] = {"onnx": "ONNX", "openvino": "OpenVINO IR"}
_ABOUT_FORMATS: dict[Format, str] = {
    "onnx": "One file, model.onnx, for ONNX Runtime and all that reads ONNX. In bf16 and int8 there is OpenVINO only: "
    "ONNX Runtime computes bf16 on no CPU, and int8 models are made for OpenVINO.",
    "openvino": "Two files, model.xml and model.bin, for the OpenVINO runtime.",
}
_ABOUT_PRECISIONS: dict[Precision, str] = {
    "fp32": "Numbers in 32 bits, as the model itself: scores differ by rounding only.",
    "fp16": "Weights stored in 16 bits and computed with in 32: smaller files, scores move a little.",
    "bf16": "Computed in bf16 where the processor can: scores move more than in fp16.",
    "int8": "Convolutions in 8-bit integers: scores move most. The ranges of values are taken from good training "
    "images, never from test images.",
}
_BATCHES = {"any": "Any number", "one": "One", "fixed": "A fixed number"}


def pick_export(info: ModelInfo) -> None:
    """The settings of a new export, and the button that asks for it."""
    format_ = choose("Format", FORMATS, default="onnx", key="models-export-format")
    st.caption(_ABOUT_FORMATS[format_])
    precision = _precision(format_)
    batch = _batch()
    data, why_not = _data_of(info)
    flips = _flips(info, precision)
    st.caption(_check_text(info, data, why_not))
    impossible = precision == "int8" and (data is None or not data.train)
    if impossible:
        st.warning(
            "int8 needs the good training images, and they are not at hand. Choose another precision.",
            icon=":material/warning:",
        )
    if button(
        f"Make the export in {FORMATS[format_]}, {precision}",
        type="primary",
        icon=":material/deployed_code:",
        key="models-export",
        **permitted(EXPORT.why_not, disabled=impossible),
    ):
        settings = ExportSettings(format=format_, precision=precision, batch=batch)
        EXPORT.submit(ExportRequest(model=str(info.folder), settings=settings, max_flips=flips))
        rerun()


def watch_exports(info: ModelInfo) -> None:
    """Exports of a model that are being made, or the last one that was not."""
    follow_jobs(lambda: EXPORT.active(model=str(info.folder)), lambda jobs: _jobs(info, jobs))


def _jobs(info: ModelInfo, jobs: Sequence[JobView]) -> None:
    for job in jobs:
        with st.container(border=True, key=f"models-job-{job.id}"):
            show_job(job, _settings_text(job.request))
    if not jobs:
        _unfinished(info)


def _unfinished(info: ModelInfo) -> None:
    """The last export, if it did not come to its end."""
    job = EXPORT.latest(model=str(info.folder))
    if job is None or job.state == "done":
        return
    when = "" if job.finished_at is None else f", {ago(job.finished_at)}"
    st.warning(
        f"The export as {plain(_settings_text(job.request))} was not made: {STATES[job.state]}{when}. "
        f"{plain(job.error or '')}",
        icon=":material/warning:",
    )
    if button("Try again", icon=":material/replay:", key=f"models-again-{job.id}", **permitted(EXPORT.why_not)):
        EXPORT.repeat(job.id)
        rerun()


def _settings_text(request: Mapping[str, object]) -> str:
    try:
        settings = EXPORT.request_of(request).settings
    except DocumentError:  # of another version: its words are enough
        return "an export"
    return settings_text(settings)


def settings_text(settings: ExportSettings) -> str:
    """``ONNX, fp32, any number of images in one call``."""
    batch = "any number of images" if settings.batch is None else plural(settings.batch, "image")
    return f"{FORMATS[settings.format]}, {settings.precision}, {batch} in one call"


def _precision(format_: Format) -> Precision:
    options: dict[Precision, str] = {precision: precision for precision in PRECISIONS[format_]}
    chosen = choose("Precision", options, default="fp32", key=f"models-export-precision-{format_}")
    st.caption(_ABOUT_PRECISIONS[chosen])
    if chosen == "bf16" and not _computes_bf16():
        st.warning(
            "This processor does not compute in bf16. The export can be made here, but not checked here: its "
            "certificate will say failed.",
            icon=":material/warning:",
        )
    return chosen


def _batch() -> int | None:
    kind = choose(
        "Images in one call",
        _BATCHES,
        default="any",
        key="models-export-batch",
        help="A fixed number is written into the file, which then takes neither more nor fewer.",
    )
    if kind == "any":
        return None
    if kind == "one":
        return 1
    return int(st.number_input("How many", 1, LARGEST_BATCH, 8, key="models-export-count", width=160))


def _flips(info: ModelInfo, precision: Precision) -> float | None:
    """Share of verdicts that may differ; None for what is usual, and without limits, where there are no verdicts."""
    usual = TOLERANCES[precision].flips
    if info.calibration is None:
        return None
    percent = st.number_input(
        "Verdicts that may differ, %",
        0.0,
        100.0,
        100 * usual,
        0.5,
        format="%g",
        key=f"models-export-flips-{precision}",
        width=240,
        help="An export whose verdicts differ on a larger share of the compared images is marked failed.",
    )
    return None if percent == 100 * usual else float(percent) / 100


def _data_of(info: ModelInfo) -> tuple[DatasetClass | None, str]:
    """The class the model was trained on, or why it is not at hand."""
    if not info.data.get("source"):
        return None, "nobody knows what the model was trained on"
    try:
        return training_class(info), ""
    except DataError:
        return None, "the images of its class are not there any more, or may not be read by this app"


def _check_text(info: ModelInfo, data: DatasetClass | None, why_not: str) -> str:
    try:
        images = None if data is None else images_of(data)
    except DataError as error:
        images, why_not = None, str(error).rstrip(".")
    if images is None:
        return f"It will not be checked against the model: {plain(why_not)}. It carries no certificate then."
    text = f"It will be checked against the model on {plain(images.text)}; nothing is fitted to them."
    if info.calibration is None:
        text += " The model has no limits, so scores and maps are compared, not verdicts."
    return text


@st.cache_resource(show_spinner="Asking the processor …")
def _computes_bf16() -> bool:
    return optional_dependencies.computes_bf16()
