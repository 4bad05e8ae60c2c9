"""The doctor's report on a page."""

from collections.abc import Sequence

import streamlit as st

from skrd4ad.data.doctor.examine import Finding
from skrd4ad.data.doctor.report import asked_of
from skrd4ad.format import plural
from skrd4ad.types import Align, DatasetClass, ImageSize, Levels, size_text
from skrd4ad.ui.cache import doctor_report
from skrd4ad.ui.progress_bar import progress_bar
from skrd4ad.ui.text import plain

_SHOWN_PATHS = 5


def show_report(
    data: Sequence[DatasetClass], *, image_size: ImageSize | None, levels: Levels | None, align: Align
) -> tuple[bool, dict[str, str], dict[str, ImageSize]]:
    """Examine classes with progress, show what was found, and tell whether training may start, and by class what the
    user insists on and the size of the input."""
    with progress_bar("files checked") as task:
        report = doctor_report(data, image_size=image_size, levels=levels, align=align, task=task)
    sizes = {summary.name: summary.image_size for summary in report.classes}
    for summary in report.classes:
        defects = sum(summary.test_defects.values())
        st.caption(
            f"**{plain(summary.name)}**: {summary.train_good} good images to learn from; to test on: "
            f"{summary.test_good} good, {defects} defective. Input: {size_text(summary.image_size)} pixels (height x "
            "width)."
        )
    for severity, box, icon in (
        ("error", st.error, ":material/error:"),
        ("warning", st.warning, ":material/warning:"),
    ):
        for finding in report.findings:
            if finding.severity == severity:
                box(_text(finding), icon=icon)
    notes = [finding for finding in report.findings if finding.severity == "note"]
    if notes:
        with st.expander(f"{plural(len(notes), 'note')} on the data", key="doctor-notes"):
            for finding in notes:
                st.markdown(_text(finding))
    if report.ok and not any(finding.severity == "warning" for finding in report.findings):
        st.success("The data is ready to train on.", icon=":material/check_circle:")
    if report.ok or not report.only_asks:
        return report.ok, {}, sizes
    insisted = st.checkbox(
        "Train all the same; the model card will say so",
        key="doctor-insist",
        help="The questions above are settled on the command line or below the choice of the layout: --good, --masks, "
        "--mask-values.",
    )
    return insisted, {cls.name: asked_of(report, cls.name) for cls in data}, sizes


def _text(finding: Finding) -> str:
    paths = [plain(str(path)) for path in finding.paths[:_SHOWN_PATHS]]
    more = f" and {finding.count - len(paths):d} more" if finding.count > len(paths) else ""
    files = f"  \n{', '.join(paths)}{more}" if paths else ""
    return f"{plain(f'{finding.class_name}: {finding.message}')}{files}"
