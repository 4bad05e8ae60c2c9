"""What processes that were killed left half written, removed when the app starts."""

import logging
import threading
from functools import cache

from skrd4ad.errors import StorageError
from skrd4ad.files import sweep
from skrd4ad.model_folder.unfinished import finish_killed
from skrd4ad.paths import checkpoints, workspace

log = logging.getLogger(__name__)


@cache
def start_sweeping() -> None:
    """Sweep workspace and model folders in the background; once a process."""
    threading.Thread(target=sweep_leftovers, name="sweep", daemon=True).start()


def sweep_leftovers() -> int:
    """Sweep workspace and model folders; returns how many half-written files and folders were removed."""
    try:
        finish_killed(checkpoints())
        removed = [path for root in {workspace(), checkpoints()} for path in sweep(root)]
    except StorageError:  # the first page says why there is no workspace
        return 0
    if removed:
        log.info("Removed %d files and folders that killed processes had left half written.", len(removed))
    return len(removed)
