"""What ends a turn of the loop: the new model is used in place of the old one, or it is not."""

from skrd4ad.errors import ConfigError
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.metadata import change_metadata, read_metadata
from skrd4ad.services.access import needs, signed
from skrd4ad.services.history import record
from skrd4ad.services.improve.compare import LabelComparison
from skrd4ad.services.labelling.annotate import reviewer_name
from skrd4ad.services.labelling.score_queue import submit_scoring
from skrd4ad.services.study.challenge import require_challenge
from skrd4ad.services.watching.watches import keep_watching
from skrd4ad.storage import watched_folders
from skrd4ad.storage.database import workspace_database
from skrd4ad.storage.tables import utc_now


@needs("engineer", "decide which model is used")
def note_outcome(comparison: LabelComparison, *, who: str, used: bool) -> str:
    """Add to the new model's note what was decided on it; returns what was added."""
    who = signed(who)
    if not who.strip():
        raise ConfigError("Nobody is named; a decision on a model is stored with the name of who made it.")
    old, new, figures = comparison.old.judged.info, comparison.new.judged.info, comparison.new.summary.metrics
    what = "Used from now on" if used else f"Not used; {old.folder.name} was kept"
    reason = (
        f"compared with {old.folder.name} on {figures.n_good} good and {figures.n_defect} defective labelled images"
    )
    added = f"{what}: {reason}. {reviewer_name(who)}, {utc_now():%Y-%m-%d %H:%M} UTC."
    before = read_metadata(new.folder).note
    change_metadata(new.folder, note=f"{before}\n{added}" if before else added, adopted=used)
    record(
        "promoted" if used else "set aside",
        new,
        who=reviewer_name(who),
        details={"instead_of" if used else "kept": str(old.folder), "because": reason},
    )
    return added


@needs("engineer", "decide which model is used")
def use_new_model(comparison: LabelComparison, *, who: str, override: str = "") -> str | None:
    """Note that the new model is used from now on, and let it look at the rest of the queue in the background.

    What comes into the folders that were watched for the old one is judged by it. ``override``: the reason to use it
    though challenge parts fail.

    Raises:
        ChallengeError: they fail, and there is no reason.
    """
    require_challenge(comparison.new.judged.info, None, override=override)
    note_outcome(comparison, who=who, used=True)
    _hand_over(comparison.old.judged.info, comparison.new.judged.info)
    return submit_scoring(comparison.new.judged.info)


@needs("engineer", "decide which model is used")
def go_back(comparison: LabelComparison, *, who: str) -> None:
    """Note that the new model is not used any more; the old one judges what comes into watched folders again."""
    note_outcome(comparison, who=who, used=False)
    _hand_over(comparison.new.judged.info, comparison.old.judged.info)


def _hand_over(old: ModelInfo, new: ModelInfo) -> None:
    with workspace_database().write() as session:
        watched = watched_folders.hand_over(session, old=old.folder, new=new.folder)
    if watched:
        keep_watching()
