"""What ends a turn of the loop: the new model is used in place of the old one, or it is not."""

from skrd4ad.engine.about import read_about
from skrd4ad.engine.calibration import this_moment
from skrd4ad.engine.checkpoint import ModelInfo
from skrd4ad.errors import ConfigError
from skrd4ad.services.label_comparison import LabelComparison
from skrd4ad.services.label_scoring import submit_scoring
from skrd4ad.services.labelling import reviewer_name
from skrd4ad.services.model_library import note_model


def used_words(comparison: LabelComparison) -> str:
    """What was compared, in words."""
    good, defect = comparison.new.figures.n_good, comparison.new.figures.n_defect
    return f"compared with {comparison.old.info.folder.name} on {good} good and {defect} defective labelled images"


def note_outcome(comparison: LabelComparison, *, who: str, used: bool) -> str:
    """Add to the new model's note what was decided on it; returns what was added.

    Args:
        comparison: what the decision rests on.
        who: who decided.
        used: whether the new model is used from now on.

    Raises:
        ConfigError: nobody is named, or the note would be too long.
        CheckpointError: the model folder is gone or cannot be written.
    """
    if not who.strip():
        raise ConfigError("Nobody is named; a decision on a model is stored with the name of who made it.")
    what = "Used from now on" if used else f"Not used; {comparison.old.info.folder.name} was kept"
    added = f"{what}: {used_words(comparison)}. {reviewer_name(who)}, {this_moment()}."
    new = comparison.new.info
    before = read_about(new.folder).note
    note_model(new.folder, f"{before}\n{added}" if before else added)
    return added


def use_new_model(comparison: LabelComparison, *, who: str) -> str | None:
    """Note that the new model is used from now on, and let it look at the rest of the queue in the background.

    Args:
        comparison: what the decision rests on.
        who: who decided.

    Returns:
        Id of the job that scores the queue; None when there is nothing left to score.

    Raises:
        ConfigError: nobody is named, or the note would be too long.
        CheckpointError: the model folder is gone or cannot be written.
        StorageError: the job cannot be stored.
    """
    note_outcome(comparison, who=who, used=True)
    return submit_scoring(comparison.new.info)


def outcome_of(info: ModelInfo) -> str:
    """What people noted of a model; empty for nothing.

    Raises:
        CheckpointError: the note is damaged.
    """
    return read_about(info.folder).note
