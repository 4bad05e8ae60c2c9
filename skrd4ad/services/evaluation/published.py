"""Published figures of RD4AD and SK-RD4AD, to stand beside one's own: what they are, and why they are not the same."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Method = Literal["RD4AD", "SK-RD4AD"]
METHODS: tuple[Method, ...] = ("RD4AD", "SK-RD4AD")

SOURCE = "RD4AD: Deng and Li, CVPR 2022. SK-RD4AD: CVPR 2025 workshop VAND 3.0."
PROTOCOL_DIFFERENCE = (
    "Published figures are marked as such and are not measured as ours are. They come from a Wide ResNet-50-2 teacher, "
    "200 epochs at 256x256 pixels, and from code that keeps the epoch which is best on the test set. Its AUPRO is an "
    'average over images of a curve with 200 thresholds and a rescaled axis; compare it with ours as "AUPRO (paper '
    'protocol)", not with the exact AUPRO. Ours choose nothing on test images unless badged "test-selected".'
)


@dataclass(frozen=True, kw_only=True)
class PublishedMatch:
    """Figures that belong to a class, and how sure that is."""

    figures: Mapping[tuple[Method, str], float]
    """0 to 1, by method and our metric that comes closest: ``image_auroc``, ``pixel_auroc`` or ``aupro_paper``."""
    by_name_only: bool
    """Nothing says that the data set is the published one; only the name of the class is the same."""
    text: str

    def value(self, method: Method, metric: str) -> float | None:
        """One figure, 0 to 1; None when it was not published."""
        return self.figures.get((method, metric))


_PIXEL = {
    "MVTec AD": {
        "carpet": ((98.9, 97.0), (99.2, 97.7)),
        "bottle": ((98.7, 96.6), (98.8, 96.9)),
        "hazelnut": ((98.9, 95.5), (99.1, 96.2)),
        "leather": ((99.4, 99.1), (99.6, 99.2)),
    },
    "VisA": {
        "pcb1": ((99.6, 43.2), (99.6, 93.7)),
        "pcb2": ((98.3, 46.4), (98.3, 89.2)),
        "pcb3": ((99.3, 80.3), (98.3, 90.3)),
        "pcb4": ((98.2, 72.2), (98.6, 89.0)),
        "pipe_fryum": ((99.1, 68.3), (99.1, 94.8)),
    },
}
"""Pixel AUROC and AUPRO in percent, by method."""
_VAD = (84.5, 87.0)
"""Image AUROC in percent of the one class, by method."""

_NAMES = {
    "MVTec AD": r"mvtec(ad|anomalydetection)?",
    "VisA": r"visa",
    "VAD": r"vad|valeoanomalydataset|valeovad",
}
"""What the name of a data set says, without case, marks and the words of ``_ADDITIONS``."""
_ADDITIONS = re.compile(
    r"(fullsize|full|small|subset|sample|converted|pytorch|1cls|data(set)?|resized|\d+x\d+|\d+px)+$"
)
_OTHERS = re.compile(
    r"^(elpv|synthetic|btad|mpdd|dagm|kolektor|ksdd|realiad|magnetictile|mvtecloco|mvtec3d|mvtecad2|aitex|severstal)"
)
"""Names of data sets that are clearly others, though their classes may be called alike."""


def published_for(dataset: str, class_name: str) -> PublishedMatch | None:
    """Published figures for a class; None when there are none, or when the data set is clearly another.

    A data set is known by its name ("mvtec", "MVTec AD", "visa_pytorch", …). One with a name that says nothing, such as
    "parts", is matched by the name of the class alone, and the match says so.
    """
    known, name = _published_name(dataset), _plain(class_name)
    if known == "VAD":
        text = f"Published for VAD, one class (image AUROC). {SOURCE}"
        return PublishedMatch(figures=_by_method("image_auroc", _VAD), by_name_only=False, text=text)
    if known is None and _OTHERS.match(_plain(dataset)):
        return None
    for candidate in _PIXEL if known is None else (known,):
        figures = _figures(candidate, name)
        if figures:
            text = (
                f"Published for {known}, class {class_name}. {SOURCE}"
                if known
                else f"Published for the class {class_name} of {candidate}. Matched by the name of the class alone: "
                f"nothing says that the data set {dataset} is {candidate}. {SOURCE}"
            )
            return PublishedMatch(figures=figures, by_name_only=known is None, text=text)
    return None


def _published_name(dataset: str) -> str | None:
    plain = _plain(dataset)
    shortened = _ADDITIONS.sub("", plain)
    for name, pattern in _NAMES.items():
        if re.fullmatch(pattern, plain) or re.fullmatch(pattern, shortened):
            return name
    return None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def _figures(dataset: str, plain_class: str) -> dict[tuple[Method, str], float]:
    """Figures of a class; none when there are none."""
    for class_name, pairs in _PIXEL[dataset].items():
        if _plain(class_name) == plain_class:
            aurocs, aupros = zip(*pairs, strict=True)
            return _by_method("pixel_auroc", aurocs) | _by_method("aupro_paper", aupros)
    return {}


def _by_method(metric: str, percents: Sequence[float]) -> dict[tuple[Method, str], float]:
    return {(method, metric): round(value / 100, 6) for method, value in zip(METHODS, percents, strict=True)}
