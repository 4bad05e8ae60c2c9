"""What the preflight found, as values, JSON-ready form and text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote_plus

from skrd4ad.documents import to_plain
from skrd4ad.format import plural
from skrd4ad.types import ImageSize, Remark

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
MAX_EXAMPLES = 5
Size = tuple[int, int]


@dataclass(frozen=True)
class Finding:
    """One thing to know about a class, with examples."""

    severity: Severity
    """An error makes training or its figures wrong; a warning deserves a look; a note explains."""
    code: str
    class_name: str
    message: str
    paths: tuple[Path, ...] = ()
    """At most ``MAX_EXAMPLES`` of the files concerned."""
    count: int = 0
    asks: bool = False
    """An error that an option settles, or ``--yes``."""


def counted(
    severity: Severity,
    code: str,
    noun: str,
    message: str,
    paths: Sequence[Path],
    *,
    count: int | None = None,
    asks: bool = False,
) -> Iterator[Remark]:
    """A remark that begins with how many there are, of paths unless ``count`` says otherwise; none without paths."""
    if paths:
        yield Remark(severity, code, f"{plural(count or len(paths), noun)} {message}", tuple(paths), asks)


@dataclass(frozen=True)
class ClassSummary:
    """What a class holds. Sizes are (width, height) in pixels."""

    dataset: str
    name: str
    layout: str
    train_good: int
    test_good: int
    test_defects: dict[str, int]
    masks: int
    min_size: Size | None
    """Of the image with the fewest pixels; None when no image can be read."""
    max_size: Size | None
    modes: dict[str, int]
    image_size: ImageSize
    """Of the input that training resizes to."""


@dataclass(frozen=True)
class DoctorReport:
    """Result of a preflight; findings are sorted by severity, then class."""

    classes: tuple[ClassSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against training."""
        return not any(f.severity == "error" for f in self.findings)

    @property
    def only_asks(self) -> bool:
        """Whether all that speaks against training are questions, which a user may insist on."""
        return all(f.asks for f in self.findings if f.severity == "error")

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"ok": self.ok, **to_plain(self)}

    def to_text(self) -> str:
        """Form for people, one line a class and a finding."""
        lines = [_class_line(c) for c in self.classes]
        for finding in self.findings:
            lines += ["", f"{finding.severity.upper()} {finding.class_name}: {finding.message} [{finding.code}]"]
            lines += [f"    {path}" for path in finding.paths]
            if finding.count > len(finding.paths) > 0:
                lines.append(f"    and {finding.count - len(finding.paths)} more")
        counts = Counter(f.severity for f in self.findings)
        total = ", ".join(plural(counts[s], s) for s in SEVERITIES if counts[s]) or "nothing found"
        verdict = "Ready to train" if self.ok else "Not ready: training or its figures would be wrong"
        return "\n".join([*lines, "", f"{verdict} ({total})."])


def asked_of(report: DoctorReport, class_name: str) -> str:
    """What the doctor asks of a class, for the record of a training that is insisted on; empty when it asks nothing."""
    asked = [f.message for f in report.findings if f.asks and f.class_name == class_name]
    return f"Trained although the doctor asks: {' '.join(asked)}" if asked else ""


def _class_line(summary: ClassSummary) -> str:
    defects = ", ".join(f"{kind} {count}" for kind, count in sorted(summary.test_defects.items()))
    title = f"{summary.dataset}/{summary.name} (layout {unquote_plus(summary.layout)})"
    parts = [
        f"{title}: {plural(summary.train_good, 'good image')} to train on",
        f"test: {summary.test_good} good, {plural(sum(summary.test_defects.values()), 'defect')}"
        + (f" ({defects})" if defects else ""),
        plural(summary.masks, "mask") if summary.masks else "no masks",
    ]
    if summary.min_size and summary.max_size:
        low, high = (f"{width} x {height}" for width, height in (summary.min_size, summary.max_size))
        parts.append(low if low == high else f"{low} to {high}")
    if summary.modes:
        parts.append(", ".join(f"{mode} {count}" for mode, count in sorted(summary.modes.items())))
    return "; ".join(parts)
