"""Studies in the background, kept in the workspace: one file each under ``<workspace>/studies``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from skrd4ad import documents
from skrd4ad.errors import CheckpointError, StorageError
from skrd4ad.export.runtimes import load_runtime
from skrd4ad.files import write_json
from skrd4ad.inference.predictions import STREAMS
from skrd4ad.model_folder.folder import read_info
from skrd4ad.paths import inside_data_roots, workspace
from skrd4ad.services.access import needs
from skrd4ad.services.history import record
from skrd4ad.services.inspection.runtimes import runtime_now
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.study.design import read_design
from skrd4ad.services.study.measure import StudyRecord, measure

FORMAT = 1
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """One study to make. Its JSON form is all that is needed to ask for the same again."""

    model: str
    source: str
    """Folder or CSV table below the data roots."""


@needs("engineer", "keep a study")
def save_study(study: StudyRecord) -> str:
    """Keep a study; returns its id, which begins with the moment it was made."""
    made_at = datetime.fromisoformat(study.made_at)
    name = f"{made_at:%Y%m%d-%H%M%S}-{study.model_digest[:8]}"
    try:
        _folder().mkdir(exist_ok=True)
        write_json(_folder() / f"{name}.json", study, format=FORMAT, indent=None)
    except (CheckpointError, OSError) as error:
        raise StorageError(f"The study cannot be kept: {error}") from error
    record("studied", folder=study.model, details={"study": name, "photographs": len(study.measurements)})
    return name


def study_ids() -> list[str]:
    """Studies of the workspace, newest first, damaged ones among them."""
    return sorted((path.stem for path in _folder().glob("*.json") if _ID.fullmatch(path.stem)), reverse=True)


def load_study(name: str) -> StudyRecord:
    """A study by its id.

    Raises:
        DocumentError: there is none, or it is damaged.
    """
    file = _folder() / f"{name if _ID.fullmatch(name) else 'none'}.json"
    return documents.read(file, StudyRecord, format=FORMAT, remedy="Remove it, and make the study again.")


@needs("engineer", "remove a study")
def delete_study(name: str) -> None:
    """Remove a study; the photographs stay."""
    if _ID.fullmatch(name):
        (_folder() / f"{name}.json").unlink(missing_ok=True)


def _folder() -> Path:
    return workspace() / "studies"


def _run(request: StudyRequest, job: JobHandle) -> Mapping[str, Any]:
    source = inside_data_roots(request.source)
    photographs = read_design(source)
    for each in photographs:
        inside_data_roots(each.file)
    info = read_info(Path(request.model))
    predictor = job.task.beside(lambda: load_runtime(info.folder, runtime_now(info), streams=STREAMS))
    return {"study": save_study(measure(predictor, photographs, source=source, task=job.task))}


STUDY = JobKind(
    name="study",
    lane="short",
    request=StudyRequest,
    title=lambda request: f"Study of {Path(request.source).name} · {Path(request.model).name}",
    run=_run,
)
"""Its result names the study."""
