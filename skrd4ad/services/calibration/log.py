"""Which calibrations models were given, by whom and when, in the database: for an audit, not for verdicts."""

import logging
from datetime import datetime

from skrd4ad import documents
from skrd4ad.errors import StorageError
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.folder import read_history
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.storage.calibrations import GivenCalibration, save_calibrations
from skrd4ad.storage.database import Database, workspace_database
from skrd4ad.storage.tables import utc_now

log = logging.getLogger(__name__)


def record_calibrations(database: Database, info: ModelInfo) -> None:
    """Store every version of a model's calibration that is not stored yet.

    Raises:
        CheckpointError: the calibration of the model folder is damaged.
        StorageError: the database cannot be written.
    """
    history = read_history(info.folder)
    if history is None:
        return
    with database.write() as session:
        save_calibrations(
            session,
            model_digest=info.digest,
            model_folder=info.folder,
            given=[_given(each) for each in history.versions],
        )


def note_calibrations(info: ModelInfo) -> None:
    """As :func:`record_calibrations` in the workspace's database, and no failure when that cannot be used.

    The model folder holds the calibration already; what is missing here is added with the next one.

    Raises:
        CheckpointError: the calibration of the model folder is damaged.
    """
    try:
        record_calibrations(workspace_database(), info)
    except StorageError as error:
        log.warning("The calibration of %s is stored in its folder, but not in the database: %s", info.folder, error)


def _given(calibration: Calibration) -> GivenCalibration:
    return GivenCalibration(
        version=calibration.version,
        who=calibration.who,
        values=documents.to_plain(calibration),
        made_at=_moment(calibration.created_at),
    )


def _moment(text: str) -> datetime:
    """The time a calibration names; now, when it is none: it may come from a file that somebody wrote."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return utc_now()
    return moment if moment.tzinfo is not None else utc_now()
