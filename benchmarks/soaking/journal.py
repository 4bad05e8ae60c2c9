"""What a client saw confirmed, kept outside what is killed, and compared with the workspace afterwards."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from skrd4ad.errors import SkrdError
from skrd4ad.model_folder.info import CALIBRATION, read_history
from skrd4ad.model_folder.resume_state import read_record
from skrd4ad.model_folder.unfinished import state_file, unfinished_runs
from skrd4ad.services.labelling.annotate import history_of
from skrd4ad.services.labelling.files import load_mask_file
from skrd4ad.services.models.list import list_models


class Journal:
    """Confirmed steps, in a file that is written as they are seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._labels: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
        self._versions: list[int] = []
        self._epochs: dict[Path, int] = {}

    def label(self, digest: str, label: str, *, reviewer: str, drawn: bool) -> None:
        """The page showed a label of an image as stored."""
        self._labels[digest].append((reviewer, label, drawn))
        self._note(digest=digest, label=label, reviewer=reviewer, drawn=drawn)

    def calibration(self, version: int) -> None:
        """The page showed a version of a calibration as saved."""
        self._versions.append(version)
        self._note(version=version)

    def epoch(self, parent: Path, epoch: int) -> None:
        """The page showed that a training below ``parent`` had completed an epoch; 0 begins another training."""
        self._epochs[parent] = epoch
        self._note(run=str(parent), epoch=epoch)

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
        for parent, epoch in self._epochs.items():
            runs = unfinished_runs(parent)
            kept = max((_epoch_of(run) for run in runs), default=0)
            if kept < epoch:
                problems.append(f"epoch {epoch} was shown as completed, {kept} is kept")
        return problems

    def _note(self, **values: object) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")


def broken_models() -> list[str]:
    """Model folders that cannot be used, in words."""
    return [each.reason for each in list_models(archived=True)[1]]


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
