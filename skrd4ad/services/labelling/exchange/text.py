"""What an export will hold and what an import found, in words."""

from collections.abc import Mapping

from skrd4ad.data.doctor.report import plural
from skrd4ad.services.labelling.exchange.merge import Conflicts, Kind
from skrd4ad.services.labelling.exchange.plan import ExportPlan
from skrd4ad.services.labelling.exchange.store import Imported
from skrd4ad.services.labelling.exchange.write import Exported

_KINDS: dict[Kind, str] = {
    "new": "new",
    "newer": "decided on further there: the rest is added",
    "same": "the same",
    "older": "decided on further here: nothing to add",
    "differs": "different",
    "undecided": "without a decision: only put among the images of the class",
}
_CONFLICTS: dict[Conflicts, str] = {"keep": "yours stay", "theirs": "theirs are taken"}


def export_lines(plan: ExportPlan) -> list[str]:
    """What an export will hold, one sentence a line."""
    good, defects, unsure = (plan.count(label) for label in ("good", "defect", "unsure"))
    parts = [f"{good} good", plural(defects, "defect")] + ([f"{unsure} unsure"] if unsure else [])
    lines = [f"{plural(len(plan.images), 'image')}: {', '.join(parts)}; {plural(plan.masks, 'mask')}."]
    if good:
        train, test = plan.count("good", "train"), plan.count("good", "test")
        lines.append(f"Good: {train} to learn from, {test} for testing.")
    if plan.types:
        types = sorted(plan.types.items(), key=lambda item: (item[0] is None, item[0]))
        lines.append("Defects: " + ", ".join(f"{count} {name or 'without a type'}" for name, count in types) + ".")
    if plan.without_mask:
        remark = f"{plural(plan.without_mask, 'defect')} without a mask"
        if plan.options.format == "coco":
            remark += ": other tools take an image without an annotation for a good one"
        lines.append(f"{remark}.")
    return [*lines, *left_out_lines(plan)]


def left_out_lines(plan: ExportPlan) -> list[str]:
    """What an export leaves out and why, one sentence a line."""
    lines = []
    if plan.unsure:
        lines.append(f"Left out: {plan.unsure} unsure.")
    if plan.undecided:
        lines.append(f"Left out: {plan.undecided} that nobody has decided on.")
    if plan.missing:
        names = ", ".join(plan.missing[:5]) + (" and others" if len(plan.missing) > 5 else "")
        lines.append(f"Left out: {len(plan.missing)} whose files are gone ({names}).")
    return lines


def exported_lines(exported: Exported) -> list[str]:
    """What an export wrote, one sentence a line."""
    lines = [f"{plural(exported.images, 'image')} and {plural(exported.masks, 'mask')} written."]
    lines += [f"Left out: {problem}" for problem in exported.left_out]
    return lines


def kinds_line(kinds: Mapping[Kind, int], conflicts: Conflicts) -> str:
    """``12 new; 3 the same; 2 different: yours stay.``."""
    parts = []
    for kind, words in _KINDS.items():
        if kinds.get(kind):
            choice = f": {_CONFLICTS[conflicts]}" if kind == "differs" else ""
            parts.append(f"{kinds[kind]} {words}{choice}")
    return "; ".join(parts) + "." if parts else "Nothing that can be imported."


def imported_lines(imported: Imported, conflicts: Conflicts) -> list[str]:
    """What an import did, one sentence a line."""
    added = [plural(imported.decisions, "decision") + " added"]
    if imported.to_class:
        new = f", {imported.images} of them new to the workspace" if imported.images else ""
        added.append(f"{plural(imported.to_class, 'image')} new to the class{new}")
    if imported.found_again:
        added.append(f"{plural(imported.found_again, 'file')} found again")
    return [kinds_line(imported.kinds, conflicts), "; ".join(added) + "."]
