"""Which images two thresholds pass, send to review and reject: by truth, by type and by size of defect.

Every count keeps the indices of its images in the test set, so that a page can open them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skrd4ad.metrics.bootstrap import CONFIDENCE, Interval
from skrd4ad.metrics.ranking import finite_scores
from skrd4ad.types import Verdict

Truth = Literal["good", "defect"]
MOST_SIZES = 4
FEWEST_IN_SIZE = 3
"""Images that a range of sizes has at least, unless there are fewer in all."""


@dataclass(frozen=True, kw_only=True)
class ConfusionCell:
    """Images of one truth with one verdict."""

    truth: Truth
    verdict: Verdict
    indices: tuple[int, ...]
    """Of the images in the test set, highest score first."""
    share: float | None
    """Of the images of this truth; None when there are none."""

    @property
    def count(self) -> int:
        """How many images."""
        return len(self.indices)


@dataclass(frozen=True, kw_only=True)
class OutcomeRate:
    """What a plant asks first: how many parts go wrong or need a person, of how many."""

    name: Literal["false_rejects", "escapes", "for_review", "cannot_judge"]
    count: int
    total: int
    """Good parts for false rejects, defects for escapes, else all images."""
    share: float | None
    """None of a total of 0."""
    interval: Interval
    """95 % Clopper-Pearson interval of the share: exact for a count of independent images."""


@dataclass(frozen=True, kw_only=True)
class EscapeGroup:
    """Defective images of one type or one range of sizes. An escape is a defect with the verdict OK; one for review
    is none, because a person looks at it."""

    name: str
    """Type of the defect, or the range of sizes in words, such as "12 to 40 px"."""
    indices: tuple[int, ...]
    """Of all images of the group."""
    escaped: tuple[int, ...]
    """Indices of the defects that would be passed as good, highest score first."""
    reviewed: tuple[int, ...]
    rejected: tuple[int, ...]
    refused: tuple[int, ...]
    """Indices of images that cannot be judged: no escapes, because a person looks at them."""
    rate: float
    """Share that escapes, 0 to 1."""
    interval: Interval
    """95 % Clopper-Pearson interval of the rate: exact for a count of independent images."""
    sizes: tuple[int, int] | None = None
    """Smallest and largest area of the group in pixels of the map; None for types."""


@dataclass(frozen=True, kw_only=True)
class EscapesBySize:
    """Escapes by the area of the mask, in pixels of the map."""

    groups: tuple[EscapeGroup, ...]
    """Smallest defects first."""
    text: str
    """How the ranges were made, and what was left out."""
    without_mask: tuple[int, ...]
    vanished: tuple[int, ...]


def confusion(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    reject: float,
    review: float | None,
    refused: Sequence[bool | None] | None = None,
) -> tuple[ConfusionCell, ...]:
    """Cells of good parts, then of defects, each in the order OK, REVIEW, NG, CANNOT JUDGE: REVIEW only with a limit
    for it, CANNOT JUDGE only where an image is refused. ``labels``: (N,) 0 good, 1 defect. ``scores``: (N,). NG above
    ``reject``, REVIEW above ``review``. ``refused``: (N,) cannot be judged whatever its score; None where nobody
    looked."""
    images = _Judged.of(labels, scores, reject=reject, review=review, refused=refused)
    possible: dict[Verdict, bool] = {
        "OK": True,
        "REVIEW": review is not None,
        "NG": True,
        "CANNOT JUDGE": bool(images.refused.any()),
    }
    verdicts = [verdict for verdict, there in possible.items() if there]
    truths: tuple[tuple[Truth, int], ...] = (("good", 0), ("defect", 1))
    cells = []
    for truth, label in truths:
        kind = images.labels == label
        for verdict in verdicts:
            indices = images.indices(kind, verdict)
            share = len(indices) / np.count_nonzero(kind) if kind.any() else None
            cells.append(ConfusionCell(truth=truth, verdict=verdict, indices=indices, share=share))
    return tuple(cells)


def outcome_rates(cells: Sequence[ConfusionCell]) -> tuple[OutcomeRate, ...]:
    """False rejects, escapes, images for review and images that cannot be judged, of the cells of :func:`confusion`."""
    good, defect = (sum(cell.count for cell in cells if cell.truth == truth) for truth in ("good", "defect"))

    def rate(name: Any, verdict: Verdict, total: int, truths: tuple[Truth, ...] = ("good", "defect")) -> OutcomeRate:
        count = sum(cell.count for cell in cells if cell.verdict == verdict and cell.truth in truths)
        return OutcomeRate(
            name=name,
            count=count,
            total=total,
            share=count / total if total else None,
            interval=binomial_interval(count, total),
        )

    return (
        rate("false_rejects", "NG", good, ("good",)),
        rate("escapes", "OK", defect, ("defect",)),
        rate("for_review", "REVIEW", good + defect),
        rate("cannot_judge", "CANNOT JUDGE", good + defect),
    )


def escapes_by_type(
    labels: ArrayLike,
    scores: ArrayLike,
    defect_types: Sequence[str],
    *,
    reject: float,
    review: float | None,
    refused: Sequence[bool | None] | None = None,
) -> tuple[EscapeGroup, ...]:
    """Escapes of each type of defect, sorted by name. Arguments as for :func:`confusion`."""
    images = _Judged.of(labels, scores, reject=reject, review=review, refused=refused)
    types, defect = np.array(defect_types, object), images.labels == 1
    return tuple(
        images.group(str(name), defect & (types == name)) for name in sorted({str(name) for name in types[defect]})
    )


def escapes_by_size(
    labels: ArrayLike,
    scores: ArrayLike,
    areas: Sequence[int | None],
    *,
    reject: float,
    review: float | None,
    refused: Sequence[bool | None] | None = None,
) -> EscapesBySize:
    """Escapes by size of defect: up to four ranges with about as many images each. ``areas``: (N,) area of each image's
    mask in pixels of the map; None without a mask. The others are as for :func:`confusion`."""
    images = _Judged.of(labels, scores, reject=reject, review=review, refused=refused)
    sizes = np.array([-1 if area is None else area for area in areas], np.int64)
    defect = images.labels == 1
    measured = defect & (sizes > 0)
    known = np.sort(sizes[measured])
    n_groups = min(MOST_SIZES, max(known.size // FEWEST_IN_SIZE, 1)) if known.size else 0
    # the largest area of each range; images of one area stay together
    ends = np.unique([known[-(-number * known.size // n_groups) - 1] for number in range(1, n_groups + 1)])
    groups = []
    for number, end in enumerate(ends):
        start = ends[number - 1] if number else 0
        inside = measured & (sizes > start) & (sizes <= end)
        low, high = int(sizes[inside].min()), int(sizes[inside].max())
        name = f"{low} px" if low == high else f"{low} to {high} px"
        groups.append(replace(images.group(name, inside), sizes=(low, high)))
    without, vanished = np.flatnonzero(defect & (sizes < 0)), np.flatnonzero(defect & (sizes == 0))
    return EscapesBySize(
        groups=tuple(groups),
        text=_size_text(known.size, len(groups), n_without=without.size, n_vanished=vanished.size),
        without_mask=tuple(without.tolist()),
        vanished=tuple(vanished.tolist()),
    )


def binomial_interval(count: int, total: int) -> Interval:
    """95 % Clopper-Pearson interval of the share behind ``count`` of ``total``; all of 0 to 1 for a total of 0."""
    from scipy.special import betaincinv  # as in thresholds

    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return Interval(low, high)


@dataclass(frozen=True, eq=False)
class _Judged:
    """Images with their verdicts."""

    labels: NDArray[np.int64]
    verdicts: NDArray[np.str_]
    refused: NDArray[np.bool_]
    order: NDArray[np.int64]
    """Indices, highest score first."""

    @staticmethod
    def of(
        labels: ArrayLike,
        scores: ArrayLike,
        *,
        reject: float,
        review: float | None,
        refused: Sequence[bool | None] | None,
    ) -> "_Judged":
        values = finite_scores(scores)
        unlike = np.zeros(values.shape, bool) if refused is None else np.array(refused, bool)
        lower = reject if review is None else review
        verdicts = np.where(values > np.float64(reject), "NG", np.where(values > np.float64(lower), "REVIEW", "OK"))
        verdicts = np.where(unlike, "CANNOT JUDGE", verdicts)
        return _Judged(np.asarray(labels, np.int64), verdicts, unlike, np.argsort(-values, kind="stable"))

    def indices(self, chosen: NDArray[np.bool_], verdict: Verdict | None = None) -> tuple[int, ...]:
        """Of the chosen images, with one verdict or any, highest score first."""
        wanted = chosen if verdict is None else chosen & (self.verdicts == verdict)
        return tuple(self.order[wanted[self.order]].tolist())

    def group(self, name: str, chosen: NDArray[np.bool_]) -> EscapeGroup:
        """Escapes among chosen images, at least one."""
        total = int(np.count_nonzero(chosen))
        escaped = self.indices(chosen, "OK")
        return EscapeGroup(
            name=name,
            indices=self.indices(chosen),
            escaped=escaped,
            reviewed=self.indices(chosen, "REVIEW"),
            rejected=self.indices(chosen, "NG"),
            refused=self.indices(chosen, "CANNOT JUDGE"),
            rate=len(escaped) / total,
            interval=binomial_interval(len(escaped), total),
        )


def _size_text(n_images: int, n_groups: int, *, n_without: int, n_vanished: int) -> str:
    ranges = "one range" if n_groups == 1 else f"{n_groups} ranges with about as many images each"
    words = f"{n_images} defective images by the area of their mask, in pixels of the map: {ranges}."
    if n_without:
        words += f" {n_without} defective images without a mask are left out: their size is not known."
    if n_vanished:
        words += f" {n_vanished} are left out because nothing of their mask is left at the size of the map."
    return words
