"""An export of a model with its certificate, made here or in the background; :mod:`.exports` lists them."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.data.images.read import image_header
from skrd4ad.errors import DataError
from skrd4ad.export.certificate import Certificate
from skrd4ad.export.check import check_export, given_images, images_of
from skrd4ad.export.manifest import EXPORTS, Export, ExportSettings, free_folder
from skrd4ad.inference.predict import Predictor
from skrd4ad.model_folder.folder import read_info
from skrd4ad.models.installed import require_torch
from skrd4ad.services.access import needs
from skrd4ad.services.datasets import class_of_model
from skrd4ad.services.history import record
from skrd4ad.services.jobs.child_process import in_child
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.task import QUIET, Task
from skrd4ad.types import DatasetClass

UNCHECKED = "not checked: the images that the model was trained on are not at hand, and no others were given"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """One export to make. Its JSON form is all that is needed to ask for the same again."""

    model: str
    settings: ExportSettings
    max_flips: float | None = None
    """Share of verdicts that may differ; None for what the precision is allowed."""
    weights: str | None = None


@needs("engineer", "export a model")
def make_export(
    predictor: Predictor,
    settings: ExportSettings,
    *,
    data: DatasetClass | None,
    images: Sequence[Path] = (),
    out: Path | None = None,
    max_flips: float | None = None,
    threads: int | None = None,
    task: Task = QUIET,
) -> tuple[Export, Certificate | None]:
    """Export a model and compare the export with it. When the comparison cannot end, the export is taken away again.

    There is no certificate without images to compare on.

    Args:
        data: the class it was trained on; its good training images are for int8, its test images to compare on.
        images: to compare on instead; their labels are not known.
        out: folder of the export, must not exist; None for a new one in the model folder.
        max_flips: share of verdicts that may differ; None for what the precision is allowed.
        threads: for the export while it is compared; None leaves it to its runtime.
    """
    require_torch("Exporting a model")
    from skrd4ad.export.write import export_model

    for path in images:
        image_header(path)  # a file that is no image is better known before minutes of converting
    chosen = given_images(images) if images else None if data is None else images_of(data)
    normals = () if data is None else data.train
    export = export_model(predictor, settings, out=out, normals=normals, task=task.part(0, 0.55))
    certificate = None
    if chosen is not None:
        checking = task.part(0.55, 1)
        try:
            certificate = check_export(export, predictor, chosen, max_flips=max_flips, threads=threads, task=checking)
        except BaseException:
            shutil.rmtree(export.folder, ignore_errors=True)
            raise
    passed = None if certificate is None else certificate.passed
    details = {**documents.to_plain(settings), "folder": str(export.folder), "passed": passed}
    record("exported", predictor.info, details=details)
    return export, certificate


@needs("engineer", "export a model")
def export_to(request: ExportRequest, target: Path, *, task: Task) -> dict[str, Any]:
    """Make the export of a request in a new folder; the result of its job."""
    task.report(0, 0, "loading the model")
    weights = None if request.weights is None else Path(request.weights)
    predictor = Predictor.load(Path(request.model), weights=weights, task=task.part(0, 0.1))
    try:
        data = class_of_model(predictor.info)
    except DataError:
        data = None
    export, certificate = make_export(
        predictor, request.settings, data=data, out=target, max_flips=request.max_flips, task=task.part(0.1, 1)
    )
    return result_of(export, certificate, Path(request.model))


def _title(request: ExportRequest) -> str:
    info = read_info(Path(request.model))
    return f"Export of {info.class_name} · {info.folder.name} · {request.settings.name}"


def _run(request: ExportRequest, job: JobHandle) -> Mapping[str, Any]:
    parent = Path(request.model) / EXPORTS
    target = free_folder(parent, request.settings.name)
    try:
        # tracing, converting and quantising block for minutes, and keep the pages waiting
        return in_child(export_to, request, target, task=job.task)
    except BaseException:
        for left in (target, *parent.glob(f".{target.name}.*")):
            shutil.rmtree(left, ignore_errors=True)
        raise


EXPORT = JobKind(name="export", lane="long", request=ExportRequest, title=_title, run=_run)
"""Its images to compare on are those of the class the model was trained on, where it may be read. Its result holds
``folder`` (of the export), ``model``, ``passed`` (None when it was not checked), ``words`` and ``certificate``."""


def result_of(export: Export, certificate: Certificate | None, model: Path) -> dict[str, Any]:
    """What came of an export, as its job and the command line tell it: JSON-ready."""
    return {
        "folder": str(export.folder),
        "model": str(model),
        "passed": None if certificate is None else certificate.passed,
        "words": UNCHECKED if certificate is None else certificate.text,
        "certificate": None if certificate is None else certificate.to_plain(),
    }
