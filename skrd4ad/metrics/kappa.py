"""Do verdicts of the same part agree, with each other and with the truth: an attribute agreement study.

After the AIAG's Measurement Systems Analysis (4th edition, chapter III, section C). Repeated verdicts of one part are
not independent, so every interval here is of a count of parts.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skrd4ad.errors import DataError
from skrd4ad.metrics.bootstrap import Interval
from skrd4ad.metrics.escapes import Truth, binomial_interval
from skrd4ad.types import Verdict

RIGHT: dict[Truth, Verdict] = {"good": "OK", "defect": "NG"}
"""The verdict that says what a part is; REVIEW and CANNOT JUDGE are neither right nor an escape or a false alarm."""
WRONG: dict[Truth, Verdict] = {"good": "NG", "defect": "OK"}

Verdicts = Mapping[str, Mapping[str, Sequence[Verdict]]]
"""Part → setting → verdicts of one part in one setting, as often as it was judged."""


@dataclass(frozen=True)
class PartShare:
    """So many of so many parts."""

    count: int
    total: int

    @property
    def share(self) -> float | None:
        """None of a total of 0."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> Interval:
        """95 % Clopper-Pearson interval of the share: exact for independent parts."""
        return binomial_interval(self.count, self.total)


@dataclass(frozen=True, kw_only=True)
class AttributeStudy:
    """How verdicts agree. What needs the truth counts the parts whose truth is known."""

    repeatable: PartShare
    """Parts with the same verdict each time in each setting."""
    reproducible: PartShare | None
    """Parts with the same verdict each time in all settings; None with one setting."""
    effective: PartShare
    """Parts that were judged right each time."""
    escaped: PartShare
    """Defective parts that were passed (OK) at least once."""
    alarmed: PartShare
    """Good parts that were rejected (NG) at least once."""
    miss_rate: float | None
    """Share of the verdicts on defective parts that are OK."""
    false_alarm_rate: float | None
    """Share of the verdicts on good parts that are NG."""
    kappa: float | None
    """Fleiss' kappa between all verdicts of a part; None where all of all parts are the same."""
    truth_kappa: float | None
    """Cohen's kappa between verdicts and truth; None where one of both never changes."""


def attribute_study(verdicts: Verdicts, truths: Mapping[str, Truth]) -> AttributeStudy:
    """Analyse verdicts. ``truths``: of the parts whose truth is known.

    Raises:
        DataError: there is no part, or no part was judged twice.
    """
    flat = {part: [verdict for of in settings.values() for verdict in of] for part, settings in verdicts.items()}
    if not any(len(of) > 1 for of in flat.values()):
        raise DataError("No part was judged twice, so nothing is known of agreement: give two images of each part.")
    settings = {setting for of in verdicts.values() for setting in of}
    known = [(truths[part], of) for part, of in flat.items() if part in truths]
    by_truth: dict[Truth, list[list[Verdict]]] = {
        truth: [of for each, of in known if each == truth] for truth in ("good", "defect")
    }

    def parts_with_wrong(truth: Truth) -> PartShare:
        return PartShare(sum(WRONG[truth] in of for of in by_truth[truth]), len(by_truth[truth]))

    def rate_of_wrong(truth: Truth) -> float | None:
        every = [verdict for of in by_truth[truth] for verdict in of]
        return every.count(WRONG[truth]) / len(every) if every else None

    return AttributeStudy(
        repeatable=PartShare(sum(all(_same(of) for of in each.values()) for each in verdicts.values()), len(flat)),
        reproducible=PartShare(sum(map(_same, flat.values())), len(flat)) if len(settings) > 1 else None,
        effective=PartShare(sum(set(of) == {RIGHT[truth]} for truth, of in known), len(known)),
        escaped=parts_with_wrong("defect"),
        alarmed=parts_with_wrong("good"),
        miss_rate=rate_of_wrong("defect"),
        false_alarm_rate=rate_of_wrong("good"),
        kappa=fleiss_kappa([of for of in flat.values() if len(of) > 1]),
        truth_kappa=cohen_kappa(
            [RIGHT[truth] for truth, of in known for _ in of], [verdict for _, of in known for verdict in of]
        ),
    )


def fleiss_kappa(ratings: Sequence[Sequence[str]]) -> float | None:
    """Agreement of ratings of the same subject beyond chance (Fleiss 1971), 1 at most; None where all are the same.

    ``ratings``: of each subject, two or more; where their numbers differ, each pair of a subject's ratings counts by
    one over their number less one, as in Krippendorff's alpha and Gwet (2014).
    """
    totals = Counter(rating for of in ratings for rating in of)
    n = totals.total()
    expected = sum((count / n) ** 2 for count in totals.values()) if n else 1.0
    if expected >= 1:
        return None
    agreement = np.mean(
        [sum(count * (count - 1) for count in Counter(of).values()) / (len(of) * (len(of) - 1)) for of in ratings]
    )
    return float((agreement - expected) / (1 - expected))


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement of two raters beyond chance (Cohen 1960), 1 at most; None where one of both never changes."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    one, two, n = Counter(first), Counter(second), len(first)
    expected = sum(one[rating] * two[rating] for rating in one) / n**2
    return (sum(map(str.__eq__, first, second)) / n - expected) / (1 - expected)


def parts_needed(rate: float) -> int:
    """Parts that must all be judged right before the 95 % interval of the wrong ones ends at this rate."""
    if not 0 < rate < 1:
        raise DataError(f"The rate is {rate}; allowed: above 0 and below 1.")
    parts = max(1, math.ceil(math.log(0.025) / math.log1p(-rate)) - 1)
    return parts if binomial_interval(0, parts).high <= rate else parts + 1


def _same(verdicts: Sequence[Verdict]) -> bool:
    return len(set(verdicts)) == 1
