"""Preflight: everything about a data set that would make training or its figures wrong, found before any training."""

import itertools
from collections import Counter
from collections.abc import Sequence

from skrd4ad.data.doctor.checks import check_class
from skrd4ad.data.doctor.facts import ImageFacts, read_facts
from skrd4ad.data.doctor.report import SEVERITIES, ClassSummary, DoctorReport, Finding
from skrd4ad.data.doctor.shape import input_size
from skrd4ad.data.images.levels import levels_of
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels

__all__ = ["ClassSummary", "DoctorReport", "Finding", "examine"]


def examine(
    classes: Sequence[DatasetClass],
    *,
    image_size: ImageSize | None = None,
    levels: Levels | None = None,
    align: Align = "auto",
    task: Task = QUIET,
) -> DoctorReport:
    """Read every image and mask of the classes once, and report. ``image_size`` is what training would resize to,
    None what :func:`input_size` says; ``levels`` is what it is given for images above 8 bit, ``align`` whether it crops
    them to the part."""
    total = sum(len(cls.samples) for cls in classes)
    done = itertools.count(1)

    def advance() -> None:
        task.report(next(done), total)

    summaries: list[ClassSummary] = []
    findings: list[Finding] = []
    for cls in classes:
        shown = levels or levels_of(sample.path for sample in cls.train)
        size = image_size or input_size(cls.train, align, levels=shown)
        facts = read_facts(cls.samples, image_size=size, levels=shown, advance=advance)
        summaries.append(_summary(cls, facts, size))
        findings += check_class(cls, facts, image_size=size, levels=shown, given=levels is not None, align=align)
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))
    return DoctorReport(tuple(summaries), tuple(findings))


def _summary(cls: DatasetClass, facts: Sequence[ImageFacts], size: ImageSize) -> ClassSummary:
    sizes = sorted((f.size for f in facts if f.size is not None), key=lambda size: (size[0] * size[1], size))
    return ClassSummary(
        dataset=cls.dataset,
        name=cls.name,
        layout=cls.layout,
        train_good=len(cls.train),
        test_good=sum(s.label == 0 for s in cls.test),
        test_defects=dict(Counter(s.defect_type for s in cls.test if s.label == 1)),
        masks=sum(s.mask_path is not None for s in cls.samples),
        min_size=sizes[0] if sizes else None,
        max_size=sizes[-1] if sizes else None,
        modes=dict(Counter(f.mode for f in facts if f.mode)),
        image_size=size,
    )
