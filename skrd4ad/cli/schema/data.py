"""Documents on data sets, labels and the workspace."""

from dataclasses import dataclass
from typing import Any

from msgspec import Struct, field

from skrd4ad.cli.schema.base import Document
from skrd4ad.data.doctor.report import ClassSummary, Finding
from skrd4ad.types import Role


@dataclass(frozen=True, kw_only=True)
class AppDocument(Document):
    """What is started, with which options of Streamlit."""

    script: str
    options: list[str]
    workspace: str
    models: str


@dataclass(frozen=True, kw_only=True)
class DoctorDocument(Document):
    """What the examination of a data set found; ``ok``: no error among the findings."""

    ok: bool
    classes: list[ClassSummary]
    findings: list[Finding]


class DrawnClass(Struct, kw_only=True):
    """A class that was drawn."""

    class_: str = field(name="class")
    train: int
    test: int
    defects: list[str]


@dataclass(frozen=True, kw_only=True)
class DemoDocument(Document):
    """The data set that was written."""

    folder: str
    classes: list[DrawnClass]


@dataclass(frozen=True, kw_only=True)
class LeftOutLabels:
    """What is not among exported labels: counts, and the names of images without file or with unusable masks."""

    unsure: int
    undecided: int
    missing: list[str]
    unusable: list[str]


@dataclass(frozen=True, kw_only=True)
class LabelsExportDocument(Document):
    """Of ``labels export`` and ``labels dataset``: what was written; ``out`` is null with ``--dry-run``."""

    out: str | None
    images: int
    masks: int
    good_train: int
    good_test: int
    defects: int
    unsure: int
    left_out: LeftOutLabels


@dataclass(frozen=True, kw_only=True)
class WrongEntry:
    """An entry that cannot be imported."""

    where: str
    what: str


@dataclass(frozen=True, kw_only=True)
class LabelsImportDocument(Document):
    """Of ``labels import``: what was stored."""

    format: str
    problems: list[WrongEntry]
    notes: list[str]
    kinds: dict[str, int]
    take: str
    decisions: int
    images: int


@dataclass(frozen=True, kw_only=True)
class HistoryRow:
    """Who did what to what, and when."""

    id: int
    at: str
    who: str
    what: str
    dataset: str
    class_name: str
    model_folder: str
    model_digest: str
    previous: str
    hash: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class HistoryDocument(Document):
    """The history of the workspace, newest first."""

    total: int
    head: str
    rows: list[HistoryRow]


@dataclass(frozen=True, kw_only=True)
class HistoryFile(Document):
    """Of ``history --csv``: the file that was written."""

    file: str


@dataclass(frozen=True, kw_only=True)
class HistoryVerification(Document):
    """Of ``history --verify``: whether the chain of hashes holds, and the first row that does not fit."""

    verified: bool
    rows: int
    head: str
    altered: int | None
    problem: str


@dataclass(frozen=True, kw_only=True)
class RolesDocument(Document):
    """Who may do what in the app; ``default`` holds for all others who are logged in."""

    file: str
    default: Role
    roles: dict[str, Role]


@dataclass(frozen=True, kw_only=True)
class ServeDocument(Document):
    """What is started, and where it answers; ``model``: the only one that is served, null for all in ``root``."""

    url: str
    root: str
    model: str | None
    workers: int


@dataclass(frozen=True, kw_only=True)
class ListedKey:
    """Who has a key of the service."""

    name: str
    role: Role
    created_at: str


@dataclass(frozen=True, kw_only=True)
class ServeKeysDocument(Document):
    """The keys of the service; ``key``: the one that was made now, which is shown this once."""

    file: str
    key: str | None
    keys: list[ListedKey]
