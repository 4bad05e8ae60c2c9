import tomllib
from html.parser import HTMLParser
from pathlib import Path

import plotly.graph_objects as go
import pytest

from skrd4ad.format import format_number
from skrd4ad.types import Verdict
from skrd4ad.ui import theme
from skrd4ad.ui.theme import DARK, LIGHT, ON_REJECT, VERDICTS, chart_template, verdict_badge

ROOT = Path(__file__).parents[2]
SCHEMES = {"light": LIGHT, "dark": DARK}
TEXT, LARGE_OR_GRAPHIC = 4.5, 3.0  # WCAG 2.2 AA


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("palette", SCHEMES.values(), ids=SCHEMES)
@pytest.mark.parametrize("ground", ["background", "surface"])
def test_text_reads_on_every_ground(palette: theme.Palette, ground: str) -> None:
    for ink in (palette.text, palette.quiet_text, palette.link):
        assert contrast(ink, getattr(palette, ground)) >= TEXT
    assert contrast(palette.accent, getattr(palette, ground)) >= LARGE_OR_GRAPHIC


@pytest.mark.parametrize("palette", SCHEMES.values(), ids=SCHEMES)
def test_text_reads_on_the_accent(palette: theme.Palette) -> None:
    assert contrast(palette.on_accent, palette.accent) >= TEXT


@pytest.mark.parametrize("verdict", VERDICTS)
@pytest.mark.parametrize("palette", SCHEMES.values(), ids=SCHEMES)
def test_verdict_shapes_stand_out_from_the_page(verdict: Verdict, palette: theme.Palette) -> None:
    assert contrast(VERDICTS[verdict].colour, palette.background) >= LARGE_OR_GRAPHIC
    assert contrast(VERDICTS[verdict].colour, palette.surface) >= LARGE_OR_GRAPHIC


def test_text_reads_on_the_badge_of_a_rejected_part() -> None:
    assert contrast(ON_REJECT, VERDICTS["NG"].colour) >= TEXT


@pytest.mark.parametrize(("dark", "colours"), [(False, theme.CHART_COLOURS_LIGHT), (True, theme.CHART_COLOURS_DARK)])
def test_chart_lines_stand_out_from_the_page(dark: bool, colours: tuple[str, ...]) -> None:
    palette = DARK if dark else LIGHT
    assert min(contrast(colour, palette.background) for colour in colours) >= LARGE_OR_GRAPHIC
    figure = go.Figure(go.Scatter(y=[1, 2]), layout={"template": chart_template(dark)})
    assert figure.layout.template.layout.colorway == colours
    assert figure.layout.template.layout.font.color == palette.text


def test_verdicts_differ_in_word_shape_and_colour() -> None:
    for trait in ("word", "shape", "colour"):
        assert len({getattr(look, trait) for look in VERDICTS.values()}) == len(VERDICTS)


class Badge(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.styles, self.tags = "", "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.styles += dict(attrs).get("style", "") + ";"

    def handle_data(self, data) -> None:
        self.text += data


@pytest.mark.parametrize("verdict", VERDICTS)
def test_a_badge_shows_word_shape_score_and_limit(verdict: Verdict) -> None:
    badge = Badge(verdict_badge(verdict, 0.8199, 0.61))
    assert badge.text == f"{verdict}0.820, limit 0.610"
    assert f"clip-path:{VERDICTS[verdict].shape}" in badge.styles
    assert set(badge.tags) == {"span", "strong"}


def test_only_a_rejected_part_has_a_filled_badge() -> None:
    filled = {v: f"background:{look.colour};color:" in verdict_badge(v, 1, 1) for v, look in VERDICTS.items()}
    assert filled == {"OK": False, "REVIEW": False, "NG": True, "CANNOT JUDGE": False}


def test_texts_of_a_badge_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = theme.VerdictLook(word="<b>", meaning='"><script>', colour="#000000", shape="none")
    monkeypatch.setitem(VERDICTS, "OK", hostile)
    badge = Badge(verdict_badge("OK", 1, 1))
    assert set(badge.tags) == {"span", "strong"}
    assert badge.text.startswith("<b>")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.82, "0.820"),
        (0.9996, "1.00"),
        (0.000123456, "0.000123"),
        (1234, "1230"),
        (99.96, "100"),
        (-1.5, "-1.50"),
        (0, "0"),
        (3e-9, "3.00e-09"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_numbers_have_three_significant_figures(value: float, text: str) -> None:
    assert format_number(value) == text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_streamlits_theme_is_the_palette(scheme: str) -> None:
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))["theme"][scheme]
    palette = SCHEMES[scheme]
    assert config["primaryColor"] == palette.accent
    assert config["backgroundColor"] == palette.background
    assert config["secondaryBackgroundColor"] == palette.surface
    assert config["textColor"] == palette.text
    assert config["borderColor"] == palette.border
    assert config["linkColor"] == palette.link
    charts = theme.CHART_COLOURS_DARK if scheme == "dark" else theme.CHART_COLOURS_LIGHT
    assert tuple(config["chartCategoricalColors"]) == charts


def test_streamlit_knows_every_setting() -> None:
    from streamlit import config as streamlit_config

    known = set(streamlit_config.get_config_options())

    def names(table: dict, prefix: str = "") -> list[str]:
        found = []
        for key, value in table.items():
            found += names(value, f"{prefix}{key}.") if isinstance(value, dict) else [prefix + key]
        return found

    settings = names(tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8")))
    assert settings and set(settings) <= known


@pytest.mark.parametrize("asset", ["logo.svg", "icon.svg"])
def test_drawings_load_nothing_and_run_nothing(asset: str) -> None:
    text = (ROOT / "assets" / asset).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text and "<script" not in text and "@import" not in text


def test_a_score_beside_its_limit_is_told_apart_from_it() -> None:
    assert "1.378, limit 1.382" in verdict_badge("OK", 1.378, 1.382)
