"""Which format a file or folder to import has, and what it holds."""

from pathlib import PurePosixPath

from skrd4ad.errors import ConfigError, DataError
from skrd4ad.services.labelling.exchange.coco_read import read_coco
from skrd4ad.services.labelling.exchange.csv_format import HISTORY, LABELS, read_csv
from skrd4ad.services.labelling.exchange.mvtec import is_layout, read_mvtec
from skrd4ad.services.labelling.exchange.records import FORMATS, Format, Read
from skrd4ad.services.labelling.exchange.sources import Bundle


def read_labels(bundle: Bundle, *, class_name: str, format: Format | None = None, empty_is_good: bool = False) -> Read:
    """What a file or folder to import holds.

    Args:
        bundle: the file or folder.
        class_name: class to import into; of several classes in the MVTec layout, the one of that name is read.
        format: None finds it out: folders of the MVTec layout come first, then a table ``labels.csv``, then the only
            JSON file, then the only CSV file.
        empty_is_good: whether images without annotations in a COCO file of another program are good parts.

    Raises:
        ConfigError: there is no such format.
        DataError: there is nothing to import in it, or it cannot be read.
    """
    if format is not None and format not in FORMATS:
        raise ConfigError(f"The format is {format!r}; allowed: {', '.join(FORMATS)}.")
    kind = format or _detected(bundle)
    if kind == "mvtec":
        return read_mvtec(bundle, class_name=class_name)
    if kind == "coco":
        return read_coco(bundle, _only_table(bundle, ".json"), empty_is_good=empty_is_good)
    return read_csv(bundle, _only_table(bundle, ".csv"))


def _detected(bundle: Bundle) -> Format:
    if is_layout(bundle):
        return "mvtec"
    named = any(PurePosixPath(name).name == LABELS for name in bundle.tables(".csv"))
    if not named and bundle.tables(".json"):
        return "coco"
    if bundle.tables(".csv"):
        return "csv"
    raise DataError(
        f"There is nothing to import in {bundle.label}. Allowed: folders of the MVTec layout (CLASS/train/good, "
        f"CLASS/test/TYPE, CLASS/ground_truth/TYPE), a COCO file (.json), or a table (.csv) with the columns file and "
        "label; the images beside them, or in the workspace already."
    )


def _only_table(bundle: Bundle, suffix: str) -> str:
    """``labels.csv`` where there is one, otherwise the only file with the suffix.

    Raises:
        DataError: there is none, or there are several.
    """
    tables = [name for name in bundle.tables(suffix) if PurePosixPath(name).name != HISTORY]
    named = [name for name in tables if PurePosixPath(name).name == LABELS]
    chosen = named or tables
    if not chosen:
        raise DataError(f"There is no {suffix} file of labels in {bundle.label}.")
    if len(chosen) > 1:
        raise DataError(f"{bundle.label} holds several: {', '.join(chosen[:8])}. Import them one at a time.")
    return chosen[0]
