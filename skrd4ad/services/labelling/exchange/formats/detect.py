"""Which format a bundle is in, and reading it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from skrd4ad.errors import DataError
from skrd4ad.services.labelling.exchange.formats import csv_format
from skrd4ad.services.labelling.exchange.formats.coco import is_coco, read_coco
from skrd4ad.services.labelling.exchange.formats.collect import Collector
from skrd4ad.services.labelling.exchange.formats.cvat import is_cvat, read_cvat
from skrd4ad.services.labelling.exchange.formats.datumaro import is_datumaro, read_datumaro
from skrd4ad.services.labelling.exchange.formats.label_studio import is_label_studio, read_label_studio
from skrd4ad.services.labelling.exchange.formats.labelme import is_labelme, read_labelme
from skrd4ad.services.labelling.exchange.formats.mvtec import is_layout, read_mvtec
from skrd4ad.services.labelling.exchange.formats.tables import Tables
from skrd4ad.services.labelling.exchange.formats.via import is_via, read_via
from skrd4ad.services.labelling.exchange.formats.voc import mask_names, read_voc
from skrd4ad.services.labelling.exchange.formats.yolo import is_yolo, read_yolo
from skrd4ad.services.labelling.exchange.records import FORMATS, Format, ParsedLabels
from skrd4ad.services.labelling.exchange.sources import Bundle

Read = Callable[[Tables, Sequence[str], Collector], None]
_JSON: dict[Format, tuple[Callable[[object], bool], Read]] = {
    "coco": (is_coco, read_coco),
    "label-studio": (is_label_studio, read_label_studio),
    "labelme": (is_labelme, read_labelme),
    "datumaro": (is_datumaro, read_datumaro),
    "via": (is_via, read_via),
}
_SHOWN = 5


def read_labels(
    bundle: Bundle,
    format: Format | None,
    *,
    class_name: str,
    empty_is_good: bool = False,
    through_centres: bool = False,
) -> ParsedLabels:
    """What a bundle holds; a format of None finds it out. See :func:`plan_import` for the other arguments."""
    tables = Tables(bundle)
    format = format or _format_of(tables)
    if format == "mvtec":
        return read_mvtec(bundle, class_name=class_name)
    if format == "csv":
        return csv_format.read_csv(bundle, _csv_table(tables))
    collector = Collector(bundle, empty_is_good=empty_is_good, through_centres=through_centres)
    if format == "yolo":
        read_yolo(tables, collector)
    elif format == "voc":
        read_voc(tables, collector)
    elif format == "cvat":
        read_cvat(tables, _cvat_tables(tables) or _needed(tables, ".xml"), collector)
    else:
        kinds = _json_kinds(tables)
        # a single file that is none of them is read all the same, to say what it lacks
        names = kinds.get(format) or [_only(tables, _needed(tables, ".json"))]
        _JSON[format][1](tables, names, collector)
        if others := [name for kind, found in kinds.items() if kind != format for name in found]:
            shown = ", ".join(others[:_SHOWN]) + (" and others" if len(others) > _SHOWN else "")
            collector.notes.append(f"Not read, as not of {FORMATS[format]}: {shown}.")
    parsed = collector.parsed(format)
    if not parsed.entries and not parsed.problems and not parsed.notes:
        raise DataError(f"There are no images of {FORMATS[format]} in {bundle.label}.")
    return replace(parsed, format=format)


def _format_of(tables: Tables) -> Format:
    """A table ``labels.csv`` is our own, unless it lies by folders of the MVTec layout; then come the formats of other
    tools, by what is in their files."""
    bundle = tables.bundle
    is_own = any(PurePosixPath(name).name == csv_format.LABELS for name in tables.named(".csv"))
    if not is_own and is_yolo(tables):
        return "yolo"
    if is_layout(bundle):
        return "mvtec"
    if is_own:
        return "csv"
    if mask_names(tables):
        return "voc"
    if kinds := _json_kinds(tables):
        return next(iter(kinds))
    if _cvat_tables(tables):
        return "cvat"
    if tables.named(".json"):
        return "coco"
    if tables.named(".csv"):
        return "csv"
    raise DataError(
        f"There is nothing to import in {bundle.label}. Allowed: folders of the MVTec layout (CLASS/train/good, "
        "CLASS/test/TYPE, CLASS/ground_truth/TYPE), a table (.csv) with the columns file and label, or what "
        f"{', '.join(FORMATS[each] for each in (*_JSON, 'cvat', 'voc'))} or YOLO write; the images beside them, or in "
        "the workspace already."
    )


def _json_kinds(tables: Tables) -> dict[Format, list[str]]:
    """JSON files by their format, in the order of the files; those of no format are left out."""
    found: dict[Format, list[str]] = defaultdict(list)
    for name in tables.named(".json"):
        document = tables.json(name)
        for kind, (is_kind, _) in _JSON.items():
            if is_kind(document):
                found[kind].append(name)
                break
    return found


def _cvat_tables(tables: Tables) -> list[str]:
    return [name for name in tables.named(".xml") if is_cvat(tables.text(name))]


def _csv_table(tables: Tables) -> str:
    names = [name for name in _needed(tables, ".csv") if PurePosixPath(name).name != csv_format.HISTORY]
    names = [name for name in names if PurePosixPath(name).name == csv_format.LABELS] or names
    return _only(tables, names)


def _only(tables: Tables, names: Sequence[str]) -> str:
    if len(names) > 1:
        raise DataError(f"{tables.bundle.label} holds several: {', '.join(names[:8])}. Import them one at a time.")
    return names[0]


def _needed(tables: Tables, suffix: str) -> list[str]:
    names = tables.named(suffix)
    if not names:
        raise DataError(f"There is no {suffix} file of labels in {tables.bundle.label}.")
    return names
