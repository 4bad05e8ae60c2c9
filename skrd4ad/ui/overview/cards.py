"""The first screen: parts with their heat and verdict, and the models as cards."""

from collections.abc import Iterator, Sequence

import streamlit as st

from skrd4ad.data.sources import embedded_file
from skrd4ad.format import format_apart, format_figure, format_number, format_rate, plural
from skrd4ad.model_folder.calibration import Calibration
from skrd4ad.model_folder.info import ModelInfo
from skrd4ad.model_folder.pictures import PICTURES, PicturedPart, read_pictures
from skrd4ad.paths import read_regular
from skrd4ad.services.models.list import list_models, model_name
from skrd4ad.types import GOOD, size_text
from skrd4ad.ui.components.showcase import ModelCard, PartCard, Picture, showcase
from skrd4ad.ui.frame import asked_for, calling, go_to, model_labels, sample_key, warn_of_broken, write_address
from skrd4ad.ui.widgets import button, rerun

MOST_PARTS, MOST_SLIDES = 3, 24
_DEMO = "demo"
DEMO_HELP = "Parts one after the other over the whole screen, until somebody touches it. The address ends in ?demo=1."
FIGURES = {"Image AUROC": "image_auroc", "Pixel AUROC": "pixel_auroc", "AUPRO": "aupro"}


def show_cards() -> None:
    """Parts of the first model that has pictures, all models, and the folders that cannot be used."""
    models, broken = list_models()
    if models:
        _show(models)
    else:
        _welcome()
    warn_of_broken(broken)


def _welcome() -> None:
    with st.container(border=True):
        st.markdown("**No model yet.** Train one from good images; the embedded solar cells need no download.")
        if button("Train a model", type="primary", icon=":material/model_training:", key="overview-train"):
            go_to("train")
        st.caption("`skrd4ad import-rd4ad` brings in a checkpoint of the original code.")


def _show(models: Sequence[ModelInfo]) -> None:
    labels = model_labels(models)
    parts = next((found for info in models if len(found := list(_parts(info)))), [])
    cards = [_card(info, labels[str(info.folder)]) for info in models]
    if (asked := asked_for(_DEMO)) is not None:
        st.session_state[_DEMO] = bool(asked)
    slides = [part for info in models for part in _parts(info)][:MOST_SLIDES] if st.session_state.get(_DEMO) else []
    pressed = showcase(parts, cards, slides=slides, key="overview-cards")
    if parts and not slides:
        st.button(
            "Demo",
            icon=":material/slideshow:",
            on_click=calling(_run_demo),
            args=(True,),
            key="overview-demo",
            help=DEMO_HELP,
        )
    if pressed:
        press = pressed[-1]
        if press.act == "stop":
            _run_demo(False)
            rerun()
        image = {"image": press.value} if press.act == "part" and press.value else {}
        go_to("inspect", model=press.image, **image)


def _run_demo(wanted: bool) -> None:
    st.session_state[_DEMO] = wanted
    write_address(demo="1" if wanted else None)


def _parts(info: ModelInfo) -> Iterator[PartCard]:
    """Parts of a model against the limit that it has now, the defects around the good one."""
    calibration = info.calibration
    if calibration is None:
        return
    pictured = read_pictures(info.folder)[:MOST_PARTS]
    defects = [part for part in pictured if part.truth != GOOD]
    for part in [*defects[:1], *(part for part in pictured if part.truth == GOOD), *defects[1:]]:
        picture = _picture(info, part)
        if picture is None:
            continue
        score, limit = format_apart(part.score, calibration.image_threshold)
        kind = "" if part.truth.startswith("defect") else f": {part.truth}"
        truth = "a good part" if part.truth == GOOD else f"a defect{kind}"
        yield PartCard(
            model=model_name(info),
            name=part.name,
            key=sample_key(part.truth, part.name),
            picture=picture,
            verdict=calibration.verdict(part.score),
            score=f"{score}, limit {limit}",
            about=f"{info.class_name.replace('_', ' ')}, {truth}",
        )


def _picture(info: ModelInfo, part: PicturedPart) -> Picture | None:
    """The files as they are; the heat only where its colours fit the limit that the model has now."""
    folder = info.folder / PICTURES
    source = embedded_file(info.dataset, part.photograph) if part.embedded else folder / part.photograph
    fits = info.calibration is not None and info.calibration.version == part.calibration
    try:
        photograph = b"" if source is None else read_regular(source)
        heat = read_regular(folder / part.heat) if fits else b""
    except OSError:
        return None
    return Picture(photograph=photograph, heat=heat) if photograph else None


def _card(info: ModelInfo, title: str) -> ModelCard:
    pictured = read_pictures(info.folder)
    shown = next((part for part in pictured if part.truth != GOOD), pictured[0] if pictured else None)
    metrics = info.metrics or {}
    details = [
        *((name, format_figure(metrics.get(key))) for name, key in FIGURES.items()),
        ("Network", f"{info.model.net}, {plural(info.model.skips, 'skip connection')}"),
        ("Image size", f"{size_text(info.model.image_size)} pixels"),
        ("Epoch chosen", "on the test set" if info.test_selected else "without test images"),
        ("Made", info.created_at[:10]),
    ]
    return ModelCard(
        model=model_name(info),
        title=title.replace("_", " "),
        picture=None if shown is None else _picture(info, shown),
        lines=[f"Data set {info.dataset}", *_promise(info.calibration)],
        details=details,
    )


def _promise(calibration: Calibration | None) -> list[str]:
    """What the limit of a model promises."""
    if calibration is None:
        return ["No limit yet: scores without verdicts"]
    limit = f"NG above {format_number(calibration.image_threshold)}"
    certified = calibration.certified_false_reject_rate
    if certified is None:
        return [limit]
    promise = f"At most {format_rate(certified)} of good parts rejected"
    return [f"{limit}, certified by {plural(calibration.n, 'good part')}", promise]
