"""What can be evaluated: every model with the test images it may be measured on, and how that stands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from skrd4ad.errors import DataError, SkrdError
from skrd4ad.inference.evaluate import unseen_test_images
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.evaluation.compare import COMPARISON
from skrd4ad.services.evaluation.evaluate import EVALUATION, EvaluationRequest, find_evaluation
from skrd4ad.services.evaluation.result import EvaluationSummary, StoredEvaluation
from skrd4ad.services.jobs.queue import queue
from skrd4ad.services.jobs.view import JobView
from skrd4ad.types import DatasetClass
from skrd4ad.ui.cache import dataset_classes
from skrd4ad.ui.text import STATES

KINDS = (EVALUATION.name, COMPARISON.name)
_REMEMBERED_JOBS = 50


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model and test images to measure it on."""

    info: ModelInfo
    source: str
    """Empty when nobody knows what the model was trained on."""
    layout: str
    class_name: str

    @property
    def id(self) -> str:
        """Names the target; the same model and images have the same."""
        return "|".join((str(self.info.folder), self.source, self.class_name))

    def request(self, *, again: bool = False) -> EvaluationRequest:
        """What to ask the service for."""
        return EvaluationRequest(
            model=str(self.info.folder),
            source=self.source,
            layout=self.layout,
            class_name=self.class_name,
            again=again,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Standing:
    """How a target stands."""

    target: Target
    stored: StoredEvaluation | None
    """What is known, current or not."""
    n_images: int = 0
    """Test images there are now."""
    problem: str = ""
    """Why it cannot be evaluated."""
    job: JobView | None = None
    """Runs or waits."""
    ended: JobView | None = None
    """The last try, when it came to nothing and nothing was measured since."""

    @property
    def is_current(self) -> bool:
        """Whether what is known describes model and images as they are."""
        return self.stored is not None and self.stored.is_current

    @property
    def is_missing(self) -> bool:
        """Whether an evaluation could start and would find something new."""
        return not self.is_current and not self.problem and self.job is None

    @property
    def words(self) -> str:
        """The state in a few words."""
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
    jobs = [job for job in queue().list(limit=_REMEMBERED_JOBS) if job.kind == EVALUATION.name]
    own = {target.id: target for target in map(_own_target, ordered)}
    others = {target.id: target for target in _other_targets(ordered, summaries, jobs) if target.id not in own}
    found: list[Standing] = []
    known: set[str] = set()
    for target in (*own.values(), *others.values()):
        standing = _standing(target, summaries, jobs)
        key = None if standing.stored is None else standing.stored.summary.key
        # the same images may have been named in two ways
        if target.id in own or standing.job is not None or key is None or key not in known:
            found.append(standing)
        known |= {key} if key is not None else set()
    return found


def _own_target(info: ModelInfo) -> Target:
    return Target(
        info=info,
        source=str(info.data.get("source") or ""),
        layout=str(info.data.get("layout", "auto")),
        class_name=info.class_name,
    )


def _other_targets(
    models: Sequence[ModelInfo], summaries: Sequence[EvaluationSummary], jobs: Sequence[JobView]
) -> Iterator[Target]:
    by_folder = {str(info.folder): info for info in models}
    for job in jobs:
        request, info = job.request, by_folder.get(str(job.request.get("model")))
        if info is not None and job.state != "done":
            yield Target(
                info=info, source=request["source"], layout=request["layout"], class_name=request["class_name"]
            )
    for summary in summaries:
        info = by_folder.get(str(summary.model_folder))
        if info is not None and info.digest == summary.model_digest:
            yield Target(info=info, source=summary.source, layout=summary.layout, class_name=summary.class_name)


def _standing(target: Target, summaries: Sequence[EvaluationSummary], jobs: Sequence[JobView]) -> Standing:
    mine = [job for job in jobs if _is_of(job, target)]
    active = next((job for job in mine if job.active), None)
    try:
        data = _images_of(target)
        unseen, why_not = unseen_test_images(target.info, data)
        # the files are read, to tell whether they changed, only when there is something to hold them against
        known = any(summary.model_digest == target.info.digest for summary in summaries)
        stored = find_evaluation(target.info, data) if known else None
    except SkrdError as error:
        return Standing(target=target, stored=None, problem=str(error), job=active)
    if not unseen:
        return Standing(target=target, stored=stored, problem=why_not, job=active)
    last = mine[0] if mine and not mine[0].active and mine[0].state != "done" else None
    if last is not None and stored is not None and last.created_at < datetime.fromisoformat(stored.summary.created_at):
        last = None
    return Standing(target=target, stored=stored, n_images=len(unseen), job=active, ended=last)


def _is_of(job: JobView, target: Target) -> bool:
    request = job.request
    wanted = (str(target.info.folder), target.source, target.class_name)
    return (request.get("model"), request.get("source"), request.get("class_name")) == wanted


def _images_of(target: Target) -> DatasetClass:
    if not target.source:
        raise DataError("Nobody knows what this model was trained on: it was imported. Choose other test images below.")
    classes = {data.name: data for data in dataset_classes(target.source, target.layout)}
    if target.class_name not in classes:
        raise DataError(f"The class {target.class_name} is not in {target.source} any more.")
    return classes[target.class_name]
