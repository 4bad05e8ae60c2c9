"""A study: every photograph inspected by a model, and what its scores and verdicts are worth as a measurement."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skrd4ad.documents import Squarable
from skrd4ad.errors import DataError
from skrd4ad.format import format_rate
from skrd4ad.inference.predict import Predictor
from skrd4ad.inference.predictions import limits_of
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.metrics.escapes import Truth
from skrd4ad.metrics.gauge import (
    Bias,
    GaugeStudy,
    Stability,
    bias,
    degrees_needed,
    deviation_interval,
    gauge_study,
    stability,
)
from skrd4ad.metrics.kappa import AttributeStudy, PartShare, attribute_study, parts_needed
from skrd4ad.services.inspection.inspect import inspect_images
from skrd4ad.services.study.design import Photograph
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Verdict

T = TypeVar("T")
PRECISION = 0.25
"""With which repeatability should be known: the upper end of its interval above the estimate."""
ESCAPES = 0.05
"""Rate of escapes that a study of defective parts should be able to exclude."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A photograph and what the model says of it."""

    photograph: Photograph
    score: Squarable
    verdict: Verdict | None
    """None for a model without limits."""


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a model said of the photographs of a study; all else is computed of it."""

    source: Path
    model: Path
    model_title: str
    model_digest: str
    made_at: str
    """ISO 8601, UTC."""
    calibration: int | None
    reject: Squarable | None
    """NG above this."""
    measurements: tuple[Measurement, ...]
    left_out: tuple[str, ...]
    """Photographs that could not be read, with the reason."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a study over all its photographs."""

    name: str
    truth: Truth | None
    mean: float
    """Of its scores."""
    lowest: float
    highest: float
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a study found. What could not be analysed is None, and ``why_not`` says why, by its name."""

    record: StudyRecord
    gauge: GaugeStudy | None
    attribute: AttributeStudy | None
    stability: Stability | None
    rounds: tuple[str, ...]
    bias: Bias | None
    why_not: Mapping[str, str]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts in the order of the study."""
        found = []
        for name, of in _grouped(self.record.measurements, lambda each: each.photograph.part).items():
            scores = [each.score for each in of]
            verdicts = tuple(each.verdict for each in of if each.verdict is not None)
            truth = of[0].photograph.truth
            extent = {"mean": float(np.mean(scores)), "lowest": min(scores), "highest": max(scores)}
            found.append(Part(name=name, truth=truth, verdicts=verdicts, **extent))
        return tuple(found)

    @property
    def room(self) -> float | None:
        """Three standard deviations of the gauge, of the way from the mean good part to the limit; None without either.

        Above 1 a usual good part may be rejected by the measurement alone.
        """
        good = [part.mean for part in self.parts if part.truth == "good"]
        if self.gauge is None or self.record.reject is None or not good or self.record.reject <= np.mean(good):
            return None
        return float(3 * self.gauge.gauge / (self.record.reject - np.mean(good)))

    @property
    def wavering(self) -> tuple[Part, ...]:
        """Parts that got more than one verdict."""
        return tuple(part for part in self.parts if len(set(part.verdicts)) > 1)

    @property
    def plan(self) -> tuple[str, ...]:
        """What the number of parts and of photographs is enough for, and what would be."""
        lines = []
        if self.gauge is not None:
            have, need = self.gauge.degrees, degrees_needed(PRECISION)
            more = deviation_interval(1.0, have).high - 1
            repeats = max(2, -(-need // (self.gauge.parts * self.gauge.settings)) + 1)
            enough = (
                "That is enough."
                if have >= need
                else f"{need} degrees are needed, such as {repeats} photographs of each of these parts in each setting."
            )
            lines.append(
                f"Repeatability may be up to {format_rate(more)} larger than it seems ({have} degrees of freedom); "
                f"{format_rate(PRECISION)} is aimed at. {enough}"
            )
        if self.attribute is not None:
            defects, need = self.attribute.escaped.total, parts_needed(ESCAPES)
            least = format_rate(PartShare(0, defects).interval.high)
            lines.append(
                f"With {defects} defective parts, all found each time, an escape rate above {least} could be excluded; "
                f"for {format_rate(ESCAPES)} it takes {need}."
            )
        return tuple(lines)

    def document(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "model": str(self.record.model),
            "made_at": self.record.made_at,
            "calibration": self.record.calibration,
            "limit": self.record.reject,
            "photographs": len(self.record.measurements),
            "left_out": list(self.record.left_out),
            "gauge": None if self.gauge is None else _gauge_document(self.gauge),
            "room": self.room,
            "attribute": None if self.attribute is None else _attribute_document(self.attribute),
            "stability": None if self.stability is None else _stability_document(self.stability, self.rounds),
            "bias": None if self.bias is None else asdict(self.bias) | {"interval": _pair(self.bias.interval)},
            "why_not": dict(self.why_not),
            "plan": list(self.plan),
            "parts": [asdict(part) for part in self.parts],
        }


def measure(
    predictor: Predictor, photographs: Sequence[Photograph], *, source: Path, task: Task = QUIET
) -> StudyRecord:
    """Inspect the photographs of a study, in their order. What cannot be read is left out and named."""
    measurements, left_out = [], []
    found = inspect_images(predictor, [(str(each.file), each.file) for each in photographs], task=task)
    for done, (photograph, inspection) in enumerate(zip(photographs, found, strict=True), start=1):
        if inspection.score is None:
            left_out.append(inspection.error or f"{inspection.name} has no score.")
        else:
            measurement = Measurement(photograph=photograph, score=inspection.score, verdict=inspection.verdict)
            measurements.append(measurement)
        task.report(done, len(photographs))
    if not measurements:
        raise DataError(f"None of the {len(photographs)} photographs could be read; the first: {left_out[0]}")
    info, limits = predictor.info, limits_of(predictor.info)
    return StudyRecord(
        source=source.absolute(),
        model=info.folder,
        model_title=info.title,
        model_digest=info.digest,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        calibration=None if limits is None else limits.calibration,
        reject=None if limits is None else limits.reject,
        measurements=tuple(measurements),
        left_out=tuple(left_out),
    )


def analyse(record: StudyRecord) -> Study:
    """What the scores and verdicts are worth as a measurement; takes milliseconds."""
    measurements = record.measurements
    why_not: dict[str, str] = {}

    def tried(name: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except DataError as error:
            why_not[name] = str(error)
            return None

    rounds = tuple(dict.fromkeys(each.photograph.round for each in measurements if each.photograph.round))
    return Study(
        record=record,
        gauge=tried("gauge", lambda: gauge_study(_by_part(measurements, lambda each: each.score))),
        attribute=tried("attribute", lambda: _attribute(measurements)),
        stability=tried("stability", lambda: stability(_by_round(measurements, rounds))),
        rounds=rounds,
        bias=tried("bias", lambda: bias(_differences(measurements))),
        why_not=why_not,
    )


def _attribute(measurements: Sequence[Measurement]) -> AttributeStudy:
    judged = [each for each in measurements if each.verdict is not None]
    if not judged:
        raise DataError("The model has no limits, so there are no verdicts: calibrate it.")
    truths = {each.photograph.part: each.photograph.truth for each in judged if each.photograph.truth is not None}
    return attribute_study(_by_part(judged, lambda each: each.verdict), truths)


def _by_round(measurements: Sequence[Measurement], rounds: Sequence[str]) -> NDArray[np.float64]:
    if not rounds:
        raise DataError("The table names no rounds (shifts, days), so nothing is said of stability.")
    parts = _grouped(measurements, lambda each: each.photograph.part)
    values = np.full((len(parts), len(rounds)), np.nan)
    for row, (part, of) in enumerate(parts.items()):
        for column, name in enumerate(rounds):
            scores = [each.score for each in of if each.photograph.round == name]
            if not scores:
                raise DataError(f"Part {part} was not measured in round {name}; every part is measured in each.")
            values[row, column] = np.mean(scores)
    return values


def _differences(measurements: Sequence[Measurement]) -> list[float]:
    known = [each for each in measurements if each.photograph.reference is not None]
    if not known:
        raise DataError("No part has a reference score, so nothing is said of bias.")
    return [
        float(np.mean([each.score - (each.photograph.reference or 0.0) for each in of]))
        for of in _grouped(known, lambda each: each.photograph.part).values()
    ]


def _by_part(
    measurements: Sequence[Measurement], value: Callable[[Measurement], Any]
) -> dict[str, dict[str, list[Any]]]:
    found: dict[str, dict[str, list[Any]]] = {}
    for each in measurements:
        at = each.photograph
        found.setdefault(at.part, {}).setdefault(at.setting, []).append(value(each))
    return found


def _grouped(measurements: Iterable[Measurement], key: Callable[[Measurement], str]) -> dict[str, list[Measurement]]:
    groups: defaultdict[str, list[Measurement]] = defaultdict(list)
    for each in measurements:
        groups[key(each)].append(each)
    return groups


def _gauge_document(gauge: GaugeStudy) -> dict[str, Any]:
    derived = {name: getattr(gauge, name) for name in ("reproducibility", "gauge", "total", "categories")}
    share = None if math.isnan(gauge.share) else gauge.share
    return asdict(gauge) | derived | {"share": share, "repeatability_interval": _pair(gauge.repeatability_interval)}


def _attribute_document(attribute: AttributeStudy) -> dict[str, Any]:
    found = {name: getattr(attribute, name) for name in asdict(attribute)}
    return {name: _share_document(value) if isinstance(value, PartShare) else value for name, value in found.items()}


def _share_document(share: PartShare) -> dict[str, Any]:
    return asdict(share) | {"share": share.share, "interval": _pair(share.interval)}


def _stability_document(found: Stability, rounds: Sequence[str]) -> dict[str, Any]:
    return asdict(found) | {"rounds": list(rounds), "out": [rounds[index] for index in found.out]}


def _pair(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
