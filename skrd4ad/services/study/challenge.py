"""Challenge parts: images with the verdict that every model of their class must give before its limits are used.

They are kept by content under ``<workspace>/challenges``, one folder a class. A new calibration, an earlier version,
or a retrained model becomes current only if it passes; whoever insists gives a reason, which the history keeps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from skrd4ad import documents
from skrd4ad.data.images.read import read_image
from skrd4ad.digests import content_digest
from skrd4ad.errors import ChallengeError, ConfigError, DataError
from skrd4ad.export.runtimes import load_runtime
from skrd4ad.files import locked, new_file, write_json
from skrd4ad.format import format_number, plural
from skrd4ad.inference.predictions import Limits, limits_of, predict_images
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.paths import workspace
from skrd4ad.services.access import needs
from skrd4ad.services.history import record
from skrd4ad.services.inspection.input_files import distinct
from skrd4ad.services.inspection.runtimes import runtime_now
from skrd4ad.task import QUIET, Task
from skrd4ad.types import Verdict

FILE, FORMAT = "challenge.json", 1
MOST = 200
"""Parts of a class: they are judged each time before a limit is used."""
SHOWN = 5

Expected = Literal["OK", "NG"]


@dataclass(frozen=True, kw_only=True)
class ChallengePart:
    """An image and the verdict that it must get."""

    name: str
    digest: str
    """Of the file's content, by which it is kept."""
    expected: Expected


@dataclass(frozen=True, kw_only=True)
class ChallengeOutcome:
    """What a model says of a challenge part."""

    part: ChallengePart
    score: float | None
    verdict: Verdict | None
    error: str = ""
    """Why it could not be read."""

    @property
    def passed(self) -> bool:
        """Whether the verdict is the expected one."""
        return self.verdict == self.part.expected

    def __str__(self) -> str:
        said = self.error or f"{self.verdict or 'no verdict'}" + (
            "" if self.score is None else f" (score {format_number(self.score)})"
        )
        return f"{self.part.name} must be {self.part.expected} and is {said}"


@dataclass(frozen=True)
class _Parts:
    dataset: str
    class_name: str
    parts: tuple[ChallengePart, ...] = ()


def challenge_parts(info: ModelInfo) -> tuple[ChallengePart, ...]:
    """The challenge parts of a model's class, in the order in which they were added.

    Raises:
        DocumentError: their list is damaged.
    """
    return _read(info).parts


@needs("engineer", "change the challenge parts")
def add_challenge_parts(
    info: ModelInfo, images: Sequence[tuple[str, bytes]], expected: Expected
) -> tuple[ChallengePart, ...]:
    """Add images, name and content of each, to the challenge parts of a model's class; returns all of them.

    One that is there already keeps its place and gets the new name and verdict. When one cannot be read none is added.
    """
    for name, content in images:
        read_image(content, name=name, levels=info.levels)
    added = [ChallengePart(name=name, digest=content_digest(content), expected=expected) for name, content in images]
    with _changed(info) as folder:
        known = {part.digest: part for part in (*_read(info).parts, *added)}
        if len(known) > MOST:
            raise ConfigError(
                f"That would make {len(known)} challenge parts of {info.class_name}; at most {MOST} are allowed, as "
                "they are judged each time. Leave some out, or remove others."
            )
        for part, (_, content) in zip(added, images, strict=True):
            with new_file(folder / part.digest, error=DataError) as temporary:
                temporary.write_bytes(content)
        names = distinct(part.name for part in known.values())
        parts = tuple(replace(part, name=name) for part, name in zip(known.values(), names, strict=True))
        _write(info, parts)
    told = ", ".join(part.name for part in added)
    record("challenge changed", info, details={"added": told, "expected": expected})
    return parts


@needs("engineer", "change the challenge parts")
def remove_challenge_parts(info: ModelInfo, names: Sequence[str]) -> tuple[ChallengePart, ...]:
    """Remove challenge parts by their names; returns those that are left.

    Raises:
        ConfigError: there is none of a name.
    """
    with _changed(info) as folder:
        parts = _read(info).parts
        if unknown := sorted(set(names) - {part.name for part in parts}):
            there = ", ".join(part.name for part in parts) or "none"
            raise ConfigError(f"There is no challenge part {', '.join(unknown)}; there are: {there}.")
        kept = tuple(part for part in parts if part.name not in names)
        _write(info, kept)
        for digest in {part.digest for part in parts} - {part.digest for part in kept}:
            (folder / digest).unlink(missing_ok=True)
    record("challenge changed", info, details={"removed": ", ".join(names)})
    return kept


@needs("inspector", "inspect images")
def judge_challenge(
    info: ModelInfo, limits: Limits | None = None, *, weights: Path | None = None, task: Task = QUIET
) -> tuple[ChallengeOutcome, ...]:
    """What a model says of the challenge parts of its class. ``limits``: by default those of its calibration."""
    parts = challenge_parts(info)
    if not parts:
        return ()
    predictor = load_runtime(info.folder, runtime_now(info), weights=weights)
    files = [(part.name, _folder(info) / part.digest) for part in parts]
    outcomes = []
    found = predict_images(predictor, files, limits=limits or limits_of(info), task=task)
    for done, (part, inspection) in enumerate(zip(parts, found, strict=True), start=1):
        error = inspection.error or ("" if inspection.content == part.digest else "its kept file was changed")
        outcomes.append(
            ChallengeOutcome(
                part=part,
                score=None if error else inspection.score,
                verdict=None if error else inspection.verdict,
                error=error,
            )
        )
        task.report(done, len(parts))
    return tuple(outcomes)


@needs("engineer", "change which limits are used")
def require_challenge(info: ModelInfo, limits: Limits | None, *, override: str = "") -> None:
    """Refuse limits, or a model with its own, that give a challenge part another verdict than the expected one.

    ``override``: the reason for which they are used all the same. It is kept in the history with what failed.

    Raises:
        ChallengeError: a part fails, and there is no reason.
    """
    failed = [str(outcome) for outcome in judge_challenge(info, limits) if not outcome.passed]
    if not failed:
        return
    if override.strip():
        record("challenge overridden", info, details={"reason": override.strip(), "failed": "; ".join(failed)})
        return
    more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    raise ChallengeError(
        f"{plural(len(failed), 'challenge part')} of {info.class_name} would not get the expected verdict: "
        f"{'; '.join(failed[:SHOWN])}{more}. Choose other limits, or give a reason to use them all the same; the "
        "history keeps it."
    )


def _read(info: ModelInfo) -> _Parts:
    file = _folder(info) / FILE
    if not file.is_file():
        return _Parts(info.dataset, info.class_name)
    return documents.read(
        file, _Parts, format=FORMAT, remedy="Remove its folder, and add the challenge parts of the class anew."
    )


def _write(info: ModelInfo, parts: tuple[ChallengePart, ...]) -> None:
    write_json(_folder(info) / FILE, replace(_Parts(info.dataset, info.class_name), parts=parts), format=FORMAT)


@contextmanager
def _changed(info: ModelInfo) -> Iterator[Path]:
    """The folder of the parts, which nobody else changes meanwhile."""
    folder = _folder(info)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield folder


def _folder(info: ModelInfo) -> Path:
    # names of classes need not be names of folders
    return workspace() / "challenges" / content_digest(f"{info.dataset}\0{info.class_name}")[:16]
