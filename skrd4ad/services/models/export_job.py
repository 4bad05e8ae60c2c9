"""An export of a model with its certificate, made here or in the background; :mod:`.exports` lists them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from skrd4ad import documents
from skrd4ad.data.images.read import image_header
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.export.certificate import Certificate
from skrd4ad.export.check import CheckImages, check_export, given_images, images_of
from skrd4ad.export.manifest import Export, ExportSettings
from skrd4ad.export.write import Report, Step, export_model
from skrd4ad.format import fetching_weights
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.history import record
from skrd4ad.services.jobs.queue import JobHandle, queue
from skrd4ad.types import DatasetClass

KIND = "export"
"""Kind of the background jobs. Their progress holds ``phase`` (weights, tracing, converting, quantising, checking),
``done``, ``total``, ``share`` (0 to 1 over all phases) and ``words`` ("comparing image 12 of 40"). Their result holds
``folder`` (of the export), ``model``, ``passed`` (None when it was not checked), ``words`` and ``certificate``."""

Phase = Literal["weights"] | Step

_SHARES: dict[Phase, tuple[float, float]] = {
    "weights": (0.0, 0.1),
    "tracing": (0.1, 0.2),
    "converting": (0.2, 0.4),
    "quantising": (0.4, 0.6),
    "checking": (0.6, 1.0),
}
"""Where each phase begins and ends, of the whole."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """One export to make. Its JSON form is all that is needed to ask for the same again."""

    model: str
    """Model folder."""
    settings: ExportSettings
    max_flips: float | None = None
    """Share of verdicts that may differ; None for what the precision is allowed."""
    weights: str | None = None
    """Weights file of the teacher, instead of the usual places."""


@dataclass(frozen=True, kw_only=True)
class MadeExport:
    """An export that was just made."""

    export: Export
    certificate: Certificate | None
    unchecked: str
    """Why there is no certificate; empty when there is one."""


def make_export(
    predictor: Predictor,
    settings: ExportSettings,
    *,
    data: DatasetClass | None,
    images: Sequence[Path] = (),
    out: Path | None = None,
    max_flips: float | None = None,
    threads: int | None = None,
    report: Report = lambda _step, _done, _total: None,
    check: Callable[[], None] = lambda: None,
) -> MadeExport:
    """Export a model and compare the export with it. When the comparison cannot end, the export is taken away again.

    Args:
        predictor: the model.
        settings: format, precision and batch.
        data: the class it was trained on; its good training images are for int8, its test images to compare on.
        images: to compare on instead; their labels are not known.
        out: folder of the export, must not exist; None for a new one in the model folder.
        max_flips: share of verdicts that may differ; None for what the precision is allowed.
        threads: for the export while it is compared; None leaves it to its runtime.
        report: is told of the progress.
        check: called often; may raise to stop.

    Raises:
        ConfigError: int8 is asked for without training images, or a Python package is missing.
        CheckpointError: the export cannot be written.
        ImageError: an image cannot be read.
    """
    chosen, unchecked = _check_images(data, images)
    normals = () if data is None else data.train
    export = export_model(predictor, settings, out=out, normals=normals, report=report, check=check)
    certificate = None
    if chosen is not None:
        try:
            certificate = check_export(
                export, predictor, chosen, max_flips=max_flips, threads=threads, report=report, check=check
            )
        except BaseException:
            shutil.rmtree(export.folder, ignore_errors=True)
            raise
    made = MadeExport(export=export, certificate=certificate, unchecked=unchecked if chosen is None else "")
    passed = None if certificate is None else certificate.passed
    record(
        "exported",
        predictor.info,
        details={**documents.to_plain(settings), "folder": str(export.folder), "passed": passed},
    )
    return made


def submit_export(request: ExportRequest) -> str:
    """Put an export at the end of the background queue; returns the id of its job.

    Images to compare on are those of the class the model was trained on, where it may be read. An export of the same
    request that waits or runs already is not doubled: its id is returned.

    Raises:
        CheckpointError: there is no such model.
        StorageError: the job cannot be stored.
    """
    info = read_info(Path(request.model))
    for job in queue().active():
        if job.kind == KIND and job.request == documents.to_plain(request) and job.wish != "cancel":
            return job.id

    def work(handle: JobHandle) -> Mapping[str, Any]:
        tell = _teller(handle)
        tell("weights", 0, 0)
        weights = None if request.weights is None else Path(request.weights)
        predictor = Predictor.load(
            Path(request.model), weights=weights, progress=lambda done, total: tell("weights", done, total)
        )
        handle.check()
        made = make_export(
            predictor,
            request.settings,
            data=_data_of(predictor.info),
            max_flips=request.max_flips,
            report=tell,
            check=handle.check,
        )
        return result_of(made, Path(request.model))

    title = f"Export of {info.class_name} · {info.folder.name} · {request.settings.name}"
    return queue().submit(kind=KIND, title=title, request=documents.to_plain(request), work=work)


def repeat_export(job_id: str) -> str:
    """Submit the request of a job that was interrupted, cancelled or failed once more.

    Raises:
        ConfigError: the job was no export, or has not ended.
        CheckpointError: its model is not there any more.
        StorageError: there is no such job.
    """
    job = queue().get(job_id)
    if job.kind != KIND or job.active:
        raise ConfigError(f"The job {job.title!r} ({job.kind}, {job.state}) is no export that has ended.")
    return submit_export(documents.decode(job.request, ExportRequest, what=f"The request of {job.title!r}"))


def result_of(made: MadeExport, model: Path) -> dict[str, Any]:
    """What came of an export, as its job and the command line tell it: JSON-ready."""
    certificate = made.certificate
    return {
        "folder": str(made.export.folder),
        "model": str(model),
        "passed": None if certificate is None else certificate.passed,
        "words": f"not checked: {made.unchecked}" if certificate is None else certificate.words,
        "certificate": None if certificate is None else certificate.to_plain(),
    }


def _data_of(info: ModelInfo) -> DatasetClass | None:
    try:
        return class_of_model(info)
    except DataError:
        return None


def _check_images(data: DatasetClass | None, images: Sequence[Path]) -> tuple[CheckImages | None, str]:
    if images:
        for path in images:
            image_header(path)  # a file that is no image is better known before minutes of converting
        return given_images(images), ""
    if data is None:
        return None, "the images that the model was trained on are not at hand, and no others were given"
    return images_of(data), ""


def _teller(handle: JobHandle) -> Callable[[Phase, int, int], None]:
    def tell(phase: Phase, done: int, total: int) -> None:
        start, end = _SHARES[phase]
        share = start + (end - start) * (min(done / total, 1.0) if total else 0.0)
        words = _words(phase, done, total)
        handle.report({"phase": phase, "done": done, "total": total, "share": round(share, 4), "words": words})

    return tell


def _words(phase: Phase, done: int, total: int) -> str:
    if phase == "weights":
        return fetching_weights(done, total) if total else "loading"
    if phase == "tracing":
        return "reading the network's operations"
    if phase == "converting":
        return "converting"
    if phase == "quantising":
        return f"quantising with good image {done} of {total}"
    return f"comparing image {done} of {total}"
