"""What can be evaluated: every model with the test images it may be measured on, and how that stands."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from skrd4ad.data.sources import opens_at_once
from skrd4ad.errors import DataError, DocumentError, SkrdError
from skrd4ad.inference.evaluate import unseen_test_images
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.evaluation.compare import COMPARISON
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest, find_evaluation
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.services.evaluation.store import load_evaluation
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.types import DatasetClass
from skrd4ad.ui.cache import dataset_classes
from skrd4ad.ui.text import STATES

KINDS = (EVALUATION.name, COMPARISON.name)
_REMEMBERED_JOBS = 50
_NAMES = ("model", "source", "class_name")


@dataclass(frozen=True, eq=False, kw_only=True)
class Standing:
    """A model and test images to measure it on, and how that stands."""

    info: ModelInfo
    request: EvaluationRequest
    """Its source is empty when nobody knows what the model was trained on."""
    stored: StoredEvaluation | None
    n_images: int = 0
    problem: str = ""
    job: JobView | None = None
    ended: JobView | None = None
    """The last try, when it came to nothing and nothing was measured since."""

    @property
    def id(self) -> str:
        """Names model and images."""
        return "|".join(_names(self.request))

    @property
    def is_current(self) -> bool:
        """Whether what is known describes model and images as they are."""
        return self.stored is not None and self.stored.is_current

    @property
    def is_missing(self) -> bool:
        """Whether an evaluation could start and would find something new."""
        return not self.is_current and not self.problem and self.job is None

    @property
    def state(self) -> str:
        """In a few words."""
        if self.job is not None:
            return "running" if self.job.state == "running" else "waiting"
        if self.problem:
            return "cannot be evaluated"
        if self.ended is not None:
            return STATES[self.ended.state]
        if self.stored is None:
            return "never evaluated"
        return "up to date" if self.stored.is_current else "changed since"


def standings_of(
    models: Sequence[ModelInfo], chosen: ModelInfo, summaries: Sequence[EvaluationSummary]
) -> list[Standing]:
    """Every model on the test images of its own class, the chosen one first, then on others it was measured on."""
    ordered = [chosen, *(info for info in models if info.folder != chosen.folder)]
    by_folder = {str(info.folder): info for info in ordered}
    jobs = [job for job in queue().list(limit=_REMEMBERED_JOBS) if job.kind == EVALUATION.name]
    own = {_names(request): request for request in map(_own_request, ordered)}
    others = {_names(request): request for request in _other_requests(by_folder, summaries, jobs)}
    found: list[Standing] = []
    known: set[str] = set()
    for name, request in (own | {name: other for name, other in others.items() if name not in own}).items():
        standing = _standing(by_folder[request.model], request, summaries, jobs)
        key = None if standing.stored is None else standing.stored.summary.key
        # the same images may have been named in two ways
        if name in own or standing.job is not None or key is None or key not in known:
            found.append(standing)
        known |= {key} if key is not None else set()
    return found


def request_for(info: ModelInfo, *, source: str, layout: str, class_name: str) -> EvaluationRequest:
    """What to ask for, to measure a model on images."""
    return EvaluationRequest(model=str(info.folder), source=source, layout=layout, class_name=class_name)


def _own_request(info: ModelInfo) -> EvaluationRequest:
    source, layout = str(info.data.get("source") or ""), str(info.data.get("layout", "auto"))
    return request_for(info, source=source, layout=layout, class_name=info.class_name)


def _other_requests(
    models: Mapping[str, ModelInfo], summaries: Sequence[EvaluationSummary], jobs: Sequence[JobView]
) -> Iterator[EvaluationRequest]:
    for job in jobs:
        info = models.get(str(job.request.get("model")))
        if info is not None and job.state != "done":
            with suppress(DocumentError):  # a damaged job is told of where jobs are listed
                given = EVALUATION.request_of(job.request)
                yield request_for(info, source=given.source, layout=given.layout, class_name=given.class_name)
    for summary in summaries:
        info = models.get(str(summary.model_folder))
        if info is not None and info.digest == summary.model_digest:
            yield request_for(info, source=summary.source, layout=summary.layout, class_name=summary.class_name)


def _standing(
    info: ModelInfo, request: EvaluationRequest, summaries: Sequence[EvaluationSummary], jobs: Sequence[JobView]
) -> Standing:
    mine = [job for job in jobs if tuple(job.request.get(name) for name in _NAMES) == _names(request)]
    standing = Standing(info=info, request=request, stored=None, job=next((job for job in mine if job.active), None))
    if not opens_at_once(request.source):
        return _undrawn(standing, summaries)
    try:
        data = _images_of(request)
        unseen, why_not = unseen_test_images(info, data)
        # the files are read, to tell whether they changed, only when there is something to hold them against
        known = any(summary.model_digest == info.digest for summary in summaries)
        stored = find_evaluation(info, data) if known else None
    except SkrdError as error:
        return replace(standing, problem=str(error))
    if not unseen:
        return replace(standing, stored=stored, problem=why_not)
    last = mine[0] if mine and not mine[0].active and mine[0].state != "done" else None
    if last is not None and stored is not None and last.created_at < datetime.fromisoformat(stored.summary.created_at):
        last = None
    return replace(standing, stored=stored, n_images=len(unseen), ended=last)


def _undrawn(standing: Standing, summaries: Sequence[EvaluationSummary]) -> Standing:
    """A model and images that a job would draw first: what is known of the model stands, as the images are always the
    same."""
    known = [summary for summary in summaries if summary.model_digest == standing.info.digest]
    newest = max(known, key=lambda summary: summary.created_at, default=None)
    stored = None if newest is None else load_evaluation(newest.key)
    return replace(standing, stored=stored, n_images=0 if stored is None else stored.summary.n_images)


def _names(request: EvaluationRequest) -> tuple[str, ...]:
    return tuple(getattr(request, name) for name in _NAMES)


def _images_of(request: EvaluationRequest) -> DatasetClass:
    if not request.source:
        raise DataError("Nobody knows what this model was trained on: it was imported. Choose other test images below.")
    classes = {data.name: data for data in dataset_classes(request.source, request.layout)}
    if request.class_name not in classes:
        raise DataError(f"The class {request.class_name} is not in {request.source} any more.")
    return classes[request.class_name]
