"""Importing labels in the background: a job looks at a file or folder, another one stores what the user agreed to.

What is found is kept as the result of its job, so it is still there when the user comes back, after a restart too. The
second job reads the file again: only what was looked at is stored.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePath
from typing import Any

from skrd4ad import documents
from skrd4ad.digests import content_digest
from skrd4ad.errors import ConfigError, DataError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import read_regular, workspace
from skrd4ad.services.access import needs, signed
from skrd4ad.services.jobs.handle import JobHandle
from skrd4ad.services.jobs.kind import JobKind
from skrd4ad.services.jobs.view import JobView
from skrd4ad.services.labelling.annotate import reviewer_name
from skrd4ad.services.labelling.exchange.merge import Conflicts, Kind
from skrd4ad.services.labelling.exchange.records import Format, Problem
from skrd4ad.services.labelling.exchange.store import ImportPlan, run_import
from skrd4ad.services.labelling.exchange.transfer import imported_lines, plan_import
from skrd4ad.services.labelling.files import keep_content

KEPT = timedelta(days=1)
"""An upload that was looked at and not imported is kept so long, and what came of an import is shown so long."""
SHOWN_PROBLEMS = 200
_UPLOADS = "imports"


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What the user wants of an import that was looked at."""

    reviewer: str
    conflicts: Conflicts
    skip_bad: bool
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """Labels to look at or to import. Its JSON form is all that is needed to ask for the same again."""

    dataset: str
    class_name: str
    source: str
    """Folder on the server, or the upload as it is kept in the workspace."""
    name: str | None
    """Name of the uploaded file; None for a folder."""
    empty_is_good: bool
    pixel_centres: bool = False
    agreed: Agreed | None = None
    """None while it is only looked at."""

    @property
    def named(self) -> str:
        """What people call the source."""
        return self.name or self.source

    @property
    def is_there(self) -> bool:
        """Whether the source can still be read; an upload is kept for a day."""
        return Path(self.source).exists()


@dataclass(frozen=True, kw_only=True)
class ImportPreview:
    """What a file or folder holds for a class, and what importing it would change."""

    format: Format
    usable: int
    kinds: Mapping[Kind, int]
    changed: Mapping[Conflicts, int]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]
    n_problems: int
    fingerprint: str


def preview_of(result: Mapping[str, Any]) -> ImportPreview:
    """What a job found, from its result.

    Raises:
        DocumentError: it is no such result.
    """
    return documents.decode(
        dict(result), ImportPreview, what="The result of the import", remedy="Check the file again."
    )


@needs("engineer", "import labels")
def submit_preview(
    info: ModelInfo,
    source: Path | bytes,
    *,
    name: str | None = None,
    empty_is_good: bool = False,
    pixel_centres: bool = False,
) -> str:
    """Look at labels for the class of a model, in the background; returns the id of the job.

    ``source`` is a folder on the server, or the content of an uploaded file.
    """
    _forget_uploads()
    if isinstance(source, bytes):
        source = keep_content(source, _UPLOADS, PurePath(name or "").suffix.lower())
        source.touch()  # its day begins anew
    else:
        name = None
    return IMPORT.submit(
        ImportRequest(
            dataset=info.dataset,
            class_name=info.class_name,
            source=str(source),
            name=name,
            empty_is_good=empty_is_good,
            pixel_centres=pixel_centres,
        )
    )


@needs("engineer", "import labels")
def submit_import(request: ImportRequest, agreed: Agreed) -> str:
    """Store labels that were looked at, in the background; returns the id of the job."""
    return IMPORT.submit(replace(request, agreed=replace(agreed, reviewer=reviewer_name(signed(agreed.reviewer)))))


def latest_import(info: ModelInfo) -> JobView | None:
    """The newest job that looked at labels for the class of a model or imported them; None when there was none."""
    return IMPORT.latest(dataset=info.dataset, class_name=info.class_name)


@needs("engineer", "import labels")
def drop_upload(request: ImportRequest) -> None:
    """Delete the uploaded file of a request; a folder on the server stays."""
    if request.name is not None:
        with suppress(OSError):
            Path(request.source).unlink()


def _title(request: ImportRequest) -> str:
    for job in IMPORT.active(dataset=request.dataset, class_name=request.class_name):
        raise ConfigError(f"{job.title} is not done yet. Wait for it, or cancel it first.")
    return f"{request.class_name} · {'check' if request.agreed is None else 'import'} of labels"


def _run(request: ImportRequest, job: JobHandle) -> Mapping[str, Any]:
    agreed = request.agreed
    source: Path | bytes = Path(request.source)
    if request.name is not None:
        try:
            source = read_regular(Path(request.source))
        except OSError as error:
            raise DataError(
                f"{request.name} is not kept any more ({error.strerror}). Choose the file again."
            ) from error
    checking = job.task.part(0, 1 if agreed is None else 0.5, "checking labels, {done} of {total}")
    # what a large file holds is read in one go
    plan = job.task.beside(
        lambda: plan_import(
            source,
            name=request.name,
            dataset=request.dataset,
            class_name=request.class_name,
            empty_is_good=request.empty_is_good,
            pixel_centres=request.pixel_centres,
            task=checking,
        )
    )
    if agreed is None:
        preview = ImportPreview(
            format=plan.valid.format,
            usable=len(plan.valid.entries),
            kinds=dict(plan.kinds),
            changed=dict(plan.changed),
            notes=plan.valid.notes,
            problems=plan.valid.problems[:SHOWN_PROBLEMS],
            n_problems=len(plan.valid.problems),
            fingerprint=_fingerprint(plan),
        )
        return asdict(preview)
    if _fingerprint(plan) != agreed.fingerprint:
        raise DataError(f"{request.named} was changed since it was looked at, so nothing was stored. Check it again.")
    imported = run_import(
        plan,
        reviewer=agreed.reviewer,
        conflicts=agreed.conflicts,
        skip_bad=agreed.skip_bad,
        task=job.task.part(0.5, 1, "storing labels, {done} of {total}"),
    )
    drop_upload(request)
    return {"lines": imported_lines(imported, agreed.conflicts)}


IMPORT = JobKind(name="labels", lane="labels", request=ImportRequest, title=_title, run=_run)
"""Its result is an :class:`ImportPreview` in its JSON form, or for an import ``lines``: texts on what it did."""


def _fingerprint(plan: ImportPlan) -> str:
    """Names what a file or folder says; images and masks count by their content."""
    return content_digest(
        *(repr((e.digest, e.name, e.latest, e.history, e.split, e.known_type)) for e in plan.valid.entries),
        *(repr(tuple(problem)) for problem in plan.valid.problems),
    )


def _forget_uploads() -> None:
    """Delete uploads that nobody imported within a day."""
    needed = {job.request["source"] for job in IMPORT.active()}
    folder = workspace() / _UPLOADS
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):
            if str(path) not in needed and path.stat().st_mtime < time.time() - KEPT.total_seconds():
                path.unlink()
