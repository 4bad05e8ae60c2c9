"""Importing labels: a file or folder is looked at, what it would change is said, and only then stored."""

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from skrd4ad.data.doctor_report import plural
from skrd4ad.engine.checkpoint import ModelInfo
from skrd4ad.services.exchange.words import imported_lines, kinds_line
from skrd4ad.services.label_exchange import FORMATS, Conflicts, ImportPlan, plan_import, run_import
from skrd4ad.ui.label_reviewer import ask_reviewer, known_reviewer
from skrd4ad.ui.label_words import plain
from skrd4ad.ui.pickers import pick_folder
from skrd4ad.ui.progress_bar import progress_bar

SHOWN_PROBLEMS = 200
FEW_PROBLEMS, LIST_HEIGHT = 8, 260
"""More than so many problems scroll in a list of that height, in pixels."""
_PLAN, _DONE = "_exchange-import", "_exchange-imported"
_CONFLICTS: dict[Conflicts, str] = {"keep": "Keep yours", "theirs": "Take theirs"}


@dataclass(frozen=True)
class _Source:
    """What the user chose to import."""

    key: tuple[object, ...]
    """Changes with the file."""
    source: Path | bytes
    name: str | None


def show_import(info: ModelInfo) -> None:
    """Import labels into the class of a model.

    Raises:
        SkrdError: the file cannot be read, or the labels not be stored.
    """
    source = _pick_source()
    empty_is_good = st.toggle(
        "COCO: images without an annotation are good parts",
        key="exchange-empty",
        persist_state="session",
        help="A COCO file of another tool does not say whether such images are good, or were not looked at. Files "
        "that were exported here say it.",
    )
    if source is None:
        return
    key = (source.key, empty_is_good, info.dataset, info.class_name)
    kept = st.session_state.get(_PLAN)
    is_checked = kept is not None and kept[0] == key
    if st.button(
        "Check what is in it",
        key="exchange-check",
        icon=":material/fact_check:",
        type="secondary" if is_checked else "primary",
    ):
        st.session_state.pop(_DONE, None)
        with progress_bar("files and entries") as show:
            plan = plan_import(
                source.source,
                name=source.name,
                dataset=info.dataset,
                class_name=info.class_name,
                empty_is_good=empty_is_good,
                progress=show,
            )
        st.session_state[_PLAN] = (key, plan)
        st.rerun()
    if kept is not None and is_checked:
        _decide(kept[1])
    if (done := st.session_state.get(_DONE)) is not None:
        st.success("  \n".join(map(plain, done)), icon=":material/check_circle:")


def _pick_source() -> _Source | None:
    place = st.segmented_control(
        "From",
        ["upload", "server"],
        format_func={"upload": "A file", "server": "A folder on the server"}.__getitem__,
        default="upload",
        required=True,
        key="exchange-from",
        persist_state="session",
    )
    if place == "server":
        folder = pick_folder(key="exchange-folder")
        st.caption("Its images stay where they are, so leave them there.")
        return None if folder is None else _Source(("server", folder), folder, None)
    file = st.file_uploader(
        "Labels",
        type=["zip", "json", "csv"],
        key="exchange-upload",
        help="A ZIP of MVTec folders, of a COCO file or of a table with its images; or a COCO file or table alone, "
        "when the images are in the workspace already.",
    )
    if file is None:
        st.caption("A ZIP, a COCO file or a CSV table. Nothing is stored before you have seen what it would change.")
        return None
    return _Source(("upload", file.file_id), file.getvalue(), file.name)


def _decide(plan: ImportPlan) -> None:
    """What the import would do, and the button that does it."""
    checked = plan.checked
    conflicts: Conflicts = "keep"
    st.markdown(f"**{FORMATS[plan.format]}, {plural(len(checked.ready), 'usable image')}**")
    if plan.kinds.get("differs"):
        chosen = st.segmented_control(
            "Where labels differ",
            list(_CONFLICTS),
            format_func=_CONFLICTS.__getitem__,
            default="keep",
            required=True,
            key="exchange-conflicts",
            help="Yours stay in the history either way.",
        )
        conflicts = "theirs" if chosen == "theirs" else "keep"
    st.markdown(plain(kinds_line(plan.kinds, conflicts)))
    if checked.notes:
        st.caption("  \n".join(map(plain, checked.notes)))
    skip_bad = _problems(plan)
    if not plan.changed[conflicts]:
        st.info("Nothing here would change, so there is nothing to import.")
        return
    reviewer = known_reviewer()
    if reviewer is None:
        ask_reviewer()
        return
    if st.button(
        f"Import {plural(plan.changed[conflicts], 'image')} as {plain(reviewer)}",
        key="exchange-import",
        icon=":material/upload:",
        type="primary",
        disabled=bool(checked.problems) and not skip_bad,
    ):
        with progress_bar("masks and images") as show:
            imported = run_import(plan, reviewer=reviewer, conflicts=conflicts, skip_bad=skip_bad, progress=show)
        st.session_state[_DONE] = imported_lines(imported, conflicts)
        st.session_state.pop(_PLAN, None)
        st.rerun()


def _problems(plan: ImportPlan) -> bool:
    """Entries that are wrong; whether to import without them."""
    problems = plan.checked.problems
    if not problems:
        return False
    st.warning(f"Entries that cannot be used: {len(problems)}", icon=":material/warning:")
    with st.container(height=LIST_HEIGHT if len(problems) > FEW_PROBLEMS else "content", border=True):
        st.caption("  \n".join(f"**{plain(each.where)}** {plain(each.what)}" for each in problems[:SHOWN_PROBLEMS]))
    if len(problems) > SHOWN_PROBLEMS:
        st.caption(f"The first {SHOWN_PROBLEMS} are shown.")
    return st.toggle("Import the rest without them", key="exchange-skip")
