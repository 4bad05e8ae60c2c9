"""The exports of a model with their certificates, their files, and how to use them."""

import json
from pathlib import Path
from typing import Literal

import streamlit as st

from skrd4ad.export.certificate import Certificate
from skrd4ad.export.manifest import ExportManifest, Format
from skrd4ad.format import format_apart, format_rate, format_size, minute
from skrd4ad.model_folder.folder import folder_name
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.services.access import why_not
from skrd4ad.services.models.exports import ExportEntry, State, delete_export, list_exports, pack_export
from skrd4ad.types import size_text
from skrd4ad.ui.frame import dialog
from skrd4ad.ui.models.export import settings_text
from skrd4ad.ui.models.state import export_problem, tell
from skrd4ad.ui.models.text import show_facts
from skrd4ad.ui.text import plain
from skrd4ad.ui.widgets import button, file_button, permitted, rerun

_DOCS = Path(__file__).parents[3] / "docs"
SCRIPTS: dict[Format, Path] = {"onnx": _DOCS / "use_export.py", "openvino": _DOCS / "use_export_openvino.py"}
"""By format: a short script that gives verdicts with an export, without this program."""

_LOOKS: dict[State, tuple[Literal["green", "red", "gray", "orange"], str]] = {
    "passed": ("green", ":material/check_circle:"),
    "failed": ("red", ":material/cancel:"),
    "not checked": ("gray", ":material/help:"),
    "damaged": ("orange", ":material/warning:"),
}


def show_exports(info: ModelInfo) -> None:
    """All exports of a model; the newest state of each, and what can be done with it."""
    entries = list_exports(info)
    if not entries:
        st.caption("There is no export yet. One is a folder of files that other programs run without this one.")
    for entry in entries:
        with st.container(border=True, key=f"models-made-{entry.name}"):
            _entry(info, entry)


def _entry(info: ModelInfo, entry: ExportEntry) -> None:
    problem = export_problem(entry)
    state: State = "damaged" if problem else entry.state
    colour, icon = _LOOKS[state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(entry.name)}**", width="content")
        st.badge(plain(state), icon=icon, color=colour)
    if problem:
        st.error(plain(problem), icon=":material/error:")
    elif entry.manifest is not None:
        _contents(info, entry, entry.manifest)
        return
    _delete_button(info, entry)


def _contents(info: ModelInfo, entry: ExportEntry, manifest: ExportManifest) -> None:
    size, certificate = manifest.image_size, entry.certificate
    st.caption(
        f"{plain(settings_text(manifest.settings))}. In: RGB images of {size_text(size)} pixels, 0 to 255; out: map "
        f"and score. {format_size(entry.size)}, {plain(minute(manifest.made_at))}."
    )
    if entry.outdated:
        st.warning(f"Out of date: {plain(entry.outdated)}. Make it again.", icon=":material/warning:")
    if certificate is None:
        st.markdown("It was not compared with the model, so nothing is known of how close it is.")
    else:
        for each in certificate.problems:
            st.error(f"Failed: {plain(each)}.", icon=":material/cancel:")
        with st.expander(plain(_summary(certificate)), key=f"models-certificate-{entry.name}"):
            show_facts(_rows(certificate), head=("", "Found", "Allowed"))
            versions = ", ".join(f"{name} {version}" for name, version in certificate.environment.items())
            st.caption(
                plain(
                    f"Compared {minute(certificate.made_at)}; {versions}. Export's digest {certificate.export_digest}."
                )
            )
    stem = f"{folder_name(info.class_name)}-{folder_name(info.folder.name)}-{entry.name}"
    with st.container(horizontal=True):
        file_button(
            f"ZIP, {format_size(entry.size)} unpacked",
            lambda: pack_export(info, entry.name)[1],
            f"{stem}.zip",
            key=f"models-zip-{entry.name}",
        )
        if certificate is not None:
            document = json.dumps(certificate.to_plain(), indent=2, ensure_ascii=False)
            file_button("Certificate, JSON", document, f"{stem}-certificate.json", key=f"models-json-{entry.name}")
        _delete_button(info, entry)
    with st.expander("How to use it", key=f"models-use-{entry.name}"):
        script = SCRIPTS[manifest.settings.format]
        target = "model.onnx" if manifest.settings.format == "onnx" else "FOLDER"
        st.caption(f"`python {script.name} {target} part.png` prints the score and the verdict, without this program.")
        st.code(script.read_text(encoding="utf-8"), language="python", height=320)


def _summary(certificate: Certificate) -> str:
    """Certificate in one line: what a reader asks first."""
    parts = [f"{certificate.images} images compared"]
    if certificate.verdict_flips is not None:
        flips = certificate.verdict_flips
        differ = "1 verdict differs" if flips == 1 else f"{flips} verdicts differ"
        parts.append(differ if flips else "all verdicts agree")
    if certificate.score_difference is not None:
        share = format_rate(certificate.score_difference / certificate.scale)
        parts.append(f"scores within {share} of {_scale(certificate)}")
    return "Certificate: " + ", ".join(parts)


def _rows(found: Certificate) -> list[tuple[str, ...]]:
    tolerance, unit = found.tolerance, _scale(found)
    labels = f", {found.good} good and {found.defective} defective" if found.good or found.defective else ""
    largest = _difference(found.score_difference, found)
    rows: list[tuple[str, ...]] = [
        ("Compared on", f"{found.data}{labels}", ""),
        ("Largest score difference", largest, f"{format_rate(tolerance.score)} of {unit}"),
        ("Mean score difference", _difference(found.mean_score_difference, found), ""),
        ("Largest map difference", _difference(found.map_difference, found), ""),
        ("Mean map difference", _difference(found.mean_map_difference, found), ""),
    ]
    if found.verdict_flips is None:
        rows.append(("Verdicts that differ", "no limits, so no verdicts", ""))
    else:
        ties = f"; {found.ties} of them on a limit, where rounding decides" if found.ties else ""
        flips = f"{found.verdict_flips} of {found.images} ({format_rate(found.verdict_flips / found.images)}){ties}"
        rows.append(("Verdicts that differ", flips, f"{format_rate(tolerance.flips)} of the images"))
    if found.auroc_torch is not None and found.auroc_export is not None:
        torch, export = format_apart(found.auroc_torch, found.auroc_export)
        rows += [
            ("Image AUROC, model in torch", torch, ""),
            ("Image AUROC, export", export, f"up to {tolerance.auroc:g} lower"),
        ]
    else:
        rows.append(("Image AUROC", "not known: good or defective images are missing", ""))
    return rows


def _difference(value: float | None, found: Certificate) -> str:
    if value is None:
        return "not a number"
    return f"{format_rate(value / found.scale)} of {_scale(found)} ({value:.3g})"


def _scale(found: Certificate) -> str:
    """What differences are a share of."""
    return "the reject limit" if found.verdict_flips is not None else "the median score"


def _delete_button(info: ModelInfo, entry: ExportEntry) -> None:
    if button(
        "Delete export",
        icon=":material/delete:",
        key=f"models-export-delete-{entry.name}",
        **permitted(why_not(delete_export)),
    ):
        dialog("Delete this export?", lambda: _delete_question(info, entry))


def _delete_question(info: ModelInfo, entry: ExportEntry) -> None:
    st.markdown(f"**{plain(entry.name)}** goes with its certificate. The model stays, and can be exported again.")
    with st.container(horizontal=True):
        if button("Delete it", type="primary", key="models-export-delete-yes"):
            delete_export(info, entry.name)
            tell(f"The export {plain(entry.name)} was deleted.")
            rerun()
        if button("Keep it", key="models-export-delete-no"):
            rerun()
