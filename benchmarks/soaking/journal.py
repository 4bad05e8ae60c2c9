"""What a client saw confirmed, kept outside what is killed, and compared with the workspace afterwards."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.errors import SkrdError
from skrd4ad.model_folder.first_look import full_model_folder
from skrd4ad.model_folder.folder import find_models
from skrd4ad.model_folder.info import CALIBRATION, has_guards, read_history
from skrd4ad.model_folder.network import load_model
from skrd4ad.model_folder.resume_state import read_record
from skrd4ad.model_folder.unfinished import state_file, unfinished_runs
from skrd4ad.paths import checkpoints
from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.services.models.list import list_models
from skrd4ad.storage import jobs
from skrd4ad.storage.database import workspace_database


class Journal:
    """Confirmed steps, in a file that is written as they are seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
        self._versions: list[int] = []
        self._epoch = 0
        self._before: set[Path] | None = None

    def label(self, digest: str, label: str, *, reviewer: str, drawn: bool) -> None:
        """The page showed a label of an image as stored."""
        self._labels[digest].append((reviewer, label, drawn))
        self._note(digest=digest, label=label, reviewer=reviewer, drawn=drawn)

    def calibration(self, version: int) -> None:
        """The page showed a version of a calibration as saved."""
        self._versions.append(version)
        self._note(version=version)

    def training(self) -> None:
        """Another training begins now."""
        self._before = complete_models()
        self.epoch(0)

    def epoch(self, epoch: int) -> None:
        """The page showed that the training had completed an epoch."""
        self._epoch = epoch
        self._note(epoch=epoch)

    @property
    def awaits_model(self) -> bool:
        """Whether the training that was begun last has not become a model."""
        return self._before is not None and complete_models() <= self._before

    @property
    def confirmed(self) -> int:
        """Labels and calibrations that were confirmed."""
        return sum(map(len, self._labels.values())) + len(self._versions)

    def lost(self, model: Path) -> list[str]:
        """What was confirmed and is not there, in words."""
        problems = []
        for digest, steps in self._labels.items():
            stored = iter(history_of(digest))
            for reviewer, label, drawn in steps:
                held = (each for each in stored if (each.reviewer, each.label) == (reviewer, label))
                found = next(held, None)
                if found is None:
                    problems.append(f"{digest[:12]}: {label} by {reviewer} is not stored")
                elif drawn and not (found.mask_file and load_mask_file(found.mask_file).any()):
                    problems.append(f"{digest[:12]}: the drawing of {reviewer} is not stored")
        # a training that came to its end made another model the one that is calibrated
        histories = [read_history(file.parent) for file in model.parent.glob("*/" + CALIBRATION)]
        there = Counter(each.version for history in histories if history for each in history.versions)
        problems += [
            f"version {version} of the calibration is lost"
            for version, count in Counter(self._versions).items()
            if there[version] < count
        ]
        # a model that is complete has all its epochs, see half_listed; the state is gone then
        kept = max(map(_epoch_of, unfinished_runs(model.parent)), default=0)
        if kept < self._epoch and self.awaits_model:
            problems.append(f"epoch {self._epoch} was shown as completed, {kept} is kept")
        return problems

    def _note(self, **values: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def broken_models() -> list[str]:
    """Model folders that cannot be used, in words."""
    return [each.reason for each in list_models(archived=True)[1]]


def complete_models() -> set[Path]:
    """Model folders whose training is complete: no first looks."""
    return {folder for folder in find_models(checkpoints()) if not _is_first_look(folder)}


def half_listed(folder: Path) -> list[str]:
    """What a model lacks that is listed since its training, in words: only a first look may be there before the end."""
    try:
        _, info = load_model(folder)
    except SkrdError as error:
        # a first look goes when the full model is there
        return [str(error)] if folder.exists() else []
    lacks = {
        "a limit": info.calibration is None,
        "the reference of its guards": not has_guards(folder),
        "its badge as a first look": info.first_look != _is_first_look(folder),
        "an epoch": not info.first_look and info.train is not None and len(info.history) != info.train.epochs,
        "its figures": not info.first_look and info.metrics is None,
    }
    return [f"{folder} is listed without {what}" for what, lacking in lacks.items() if lacking]


def training_states() -> list[str]:
    """The states of the trainings of the workspace, newest first."""
    with workspace_database().read() as session:
        return [job.state for job in jobs.latest_jobs(session, states=None, limit=10) if job.kind == "train"]


def _is_first_look(folder: Path) -> bool:
    return full_model_folder(folder) != folder


def _epoch_of(run: Path) -> int:
    try:
        return read_record(state_file(run)).epoch
    except SkrdError:
        return 0


@dataclass(frozen=True)
class Figure:
    """A line of the table."""

    what: str
    value: str
    required: str
    holds: bool


def none_of(what: str, problems: list[str]) -> Figure:
    """A line that holds when there are no problems; the first are told."""
    told = "0" if not problems else f"{len(problems)}: {'; '.join(dict.fromkeys(problems))}"[:400]
    return Figure(what, told, "0", not problems)
