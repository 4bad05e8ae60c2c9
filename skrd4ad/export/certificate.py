"""What a comparison of an export with its model found: ``certificate.json`` beside the export."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skrd4ad import documents
from skrd4ad.digests import file_digest
from skrd4ad.documents import Count
from skrd4ad.errors import CheckpointError
from skrd4ad.export.manifest import MANIFEST, Export, Precision
from skrd4ad.files import write_json
from skrd4ad.model_folder.calibration import this_moment

CERTIFICATE = "certificate.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What an export may differ in and still pass."""

    flips: float
    """Share of images whose verdict may be another one."""
    score: float
    """Largest difference of a score, as a share of the scale; beyond it the conversion is broken."""
    auroc: float


TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(flips=0.0, score=1e-3, auroc=1e-3),
    "fp16": Tolerance(flips=0.01, score=0.02, auroc=0.01),
    "bf16": Tolerance(flips=0.01, score=0.15, auroc=0.01),
    "int8": Tolerance(flips=0.01, score=0.2, auroc=0.01),
}


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a comparison of an export with torch found. Scores are those that limits are compared with."""

    images: Count
    data: str
    good: Count
    """Images labelled good; 0 together with ``defective`` where no labels are known."""
    defective: Count
    scale: float
    """The reject limit, or without one the median of torch's scores: what differences are a share of."""
    score_difference: float | None
    """Largest, in the unit of the scores; None when a score is not finite."""
    mean_score_difference: float | None
    map_difference: float | None
    """Largest of any pixel."""
    mean_map_difference: float | None
    verdict_flips: Count | None
    """Images whose verdict is another one; None without limits."""
    ties: Count
    """Flips of images on a limit, where rounding alone decides; they are among ``verdict_flips`` and not held against
    the export."""
    auroc_torch: float | None
    """None where good or defective images are missing."""
    auroc_export: float | None
    tolerance: Tolerance
    problems: tuple[str, ...]
    """Why it failed, in words; empty when it passed."""
    model_digest: str = ""
    """Empty where two runtimes were compared and no export."""
    export_digest: str = ""
    """SHA-256 of the export's manifest, and so of all its files."""
    environment: dict[str, str] = field(default_factory=dict)
    made_at: str = field(default_factory=this_moment)

    @property
    def passed(self) -> bool:
        """Whether the export may be used in place of the model."""
        return not self.problems

    @property
    def text(self) -> str:
        """One line for people."""
        parts = ["passed" if self.passed else "failed", f"{self.images} images"]
        if self.score_difference is not None:
            share = 100 * self.score_difference / self.scale
            of = "usual score" if self.verdict_flips is None else "limit"
            parts.append(f"largest score difference {self.score_difference:.3g} ({share:.2g} % of the {of})")
        if self.verdict_flips is not None:
            parts.append(f"{self.verdict_flips} verdict{'s differ' if self.verdict_flips != 1 else ' differs'}")
        if self.auroc_torch is not None and self.auroc_export is not None:
            parts.append(f"AUROC {self.auroc_export:.4f}, torch {self.auroc_torch:.4f}")
        return ", ".join(parts)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"format": FORMAT, "passed": self.passed, **documents.to_plain(self)}

    @staticmethod
    def from_plain(values: Mapping[str, Any], what: str) -> "Certificate":
        """Certificate from its JSON form; ``what`` names it in messages."""
        remedy = "Check the export again."
        found = documents.decode(values, Certificate, what=what, format=FORMAT, ignore=("passed",), remedy=remedy)
        if found.passed is not values.get("passed"):
            raise documents.damaged(what, "it says passed and names problems, or neither", remedy=remedy)
        return found


def read_certificate(export: Export) -> Certificate | None:
    """The certificate of an export; None when it was not compared.

    Raises:
        CheckpointError: the certificate is damaged, or of another export.
    """
    path = export.folder / CERTIFICATE
    if not path.is_file():
        return None
    certificate = Certificate.from_plain(documents.read_values(path), str(path))
    if certificate.export_digest != export_digest(export):
        raise CheckpointError(f"{path} is the certificate of another export; check this one again.")
    return certificate


def write_certificate(export: Export, certificate: Certificate) -> None:
    """Store a certificate beside its export, in place of the one before."""
    write_json(export.folder / CERTIFICATE, certificate.to_plain())


def export_digest(export: Export) -> str:
    """SHA-256 of an export's manifest, which holds those of its files."""
    return file_digest(export.folder / MANIFEST)
