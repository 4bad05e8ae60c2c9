"""Texts from anywhere pass a door before Streamlit reads them as Markdown or HTML, or Plotly as HTML."""

import pytest

from skrd4ad.services.evaluation.chart_parts import in_figure
from skrd4ad.ui.text import plain, plain_lines
from tests.escaping_rules import ACCEPTED, ROOT, TOLD, Check, Program

LANGUAGES = ("markdown", "html", "figure")
HEAD = "import streamlit as st\nfrom html import escape\nfrom skrd4ad.ui.text import plain\nTITLES = {'a': 'A'}\n"


def problems(body: str, language: str = "markdown") -> list[str]:
    return Check(Program.of({"skrd4ad.ui.odd": HEAD + body}), language).run()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_from_anywhere_is_shown_without_the_door(language: str) -> None:
    assert Check(Program.here(), language).run() == []


def test_what_is_accepted_is_still_there() -> None:
    for file, texts in ACCEPTED.items():
        assert texts
        assert (ROOT / file).is_file()
    here = Program.here()
    assert all(name in here.modules[home].definitions for home, name in (each.split(":") for each in TOLD))


@pytest.mark.parametrize(
    "body",
    [
        "def f(name): st.caption(f'Image {name}')\nf(open('x').read())",
        "def f(item): st.markdown('**' + item.name + '**')",
        "def f(error): st.error(str(error))\nf(input())",
        "def f(item):\n    lines = ['a']\n    lines.append(item.note)\n    st.caption('  '.join(lines))",
        "def f(item):\n    for name in item.names:\n        st.button(name)",
        "def f(item): st.text_input('A', help=item.note)",
        "def f(item): st.pills('A', item.types)",
        "def f(item): st.pills('A', ['a'], format_func=lambda name: item.names[name])",
        "def f(item): st.tabs([each.title for each in item.parts])",
        "def f(item): st.metric('A', item.text)",
        "def f(item): st.progress(0.5, text=item.text)",
        "def f(item): st.image('a.png', caption=item.name)",
        "def g(item): return f'{item.name}: {len(item.parts)}'\ndef f(item): st.success(g(item))",
        "def g(text): st.info(text)\ndef f(item): g(text=item.name)",
        "def f(item):\n    try:\n        item()\n    except ValueError as error:\n        st.warning(f'{error}')",
        "def f(): st.success(st.session_state.pop('told'))",
        "def f(item): st.caption(f'{item.name:>8}')",
        "class A:\n    name: str\n    n: int\ndef f(a): st.caption(f'{a.n} of {a.name}')",
    ],
)
def test_a_planted_text_from_anywhere_is_found(body: str) -> None:
    assert len(problems(body)) == 1, problems(body)


@pytest.mark.parametrize(
    "body",
    [
        "def f(item): st.caption(f'Image {plain(item.name)}')",
        "def f(item): st.caption(f'{len(item.parts)} parts, {item.share:.2f}')",
        "def f(count: int, name: str): st.caption(f'{count} {TITLES[name]}')",
        "def f(item):\n    word = 'a' if item.n else 'b'\n    st.button(f'Do {word}', key=item.name)",
        "def g(text): st.info(text)\ndef f(item): g(plain(item.name)); g('fine')",
        "class A:\n    n: int | None\ndef f(a): st.caption(f'{a.n} of them')",
        "def f(item): st.selectbox('A', item.names)",
        "def f(item): st.caption('  '.join(map(plain, item.lines)))",
        "def f(item): st.pills('A', item.types, format_func=plain)",
    ],
)
def test_a_text_that_is_safe_is_left_alone(body: str) -> None:
    assert problems(body) == []


def test_each_language_has_its_own_door() -> None:
    for shown in ("item.name", "plain(item.name)"):
        assert len(problems(f"def f(item): st.html(f'<b>{{{shown}}}</b>')", "html")) == 1
    assert problems("def f(item): st.html(f'<b>{escape(item.name)}</b>')", "html") == []
    assert len(problems("def f(item): st.caption(escape(item.name))")) == 1
    assert len(problems("def f(figure, item): figure.add_bar(name=item.name)", "figure")) == 1


def test_a_text_stays_one_line_and_every_mark_is_taken_back() -> None:
    assert plain("  a *b*\n\n# c\td ") == r"a \*b\* \# c d"
    assert plain_lines("a_b.\n- c") == "a\\_b\\.  \n\\- c"
    assert [plain(mark) for mark in r"\`*_{}[]()#+-.!|~$:<>&"] == [f"\\{mark}" for mark in r"\`*_{}[]()#+-.!|~$:<>&"]
    assert plain("12 parts, 0/3 = none; über 50 %") == "12 parts, 0/3 = none; über 50 %"


@pytest.mark.parametrize(
    "text", ["http://a.b", "www.a.b", "a@b.c", ":smile:", ":material/info:", ":streamlit:", ":+1:", "a -> b", "-- x"]
)
def test_what_is_found_in_the_finished_text_is_broken_up(text: str) -> None:
    shown = plain(text).replace("\\", "")
    assert "\u2060" in shown
    assert shown.replace("\u2060", "") == text


@pytest.mark.parametrize("text", ["a: b", "10:30", "part-01_a.png", "a->b", "5 - 3", "C:\\parts", "défaut"])
def test_an_ordinary_name_has_no_hidden_character(text: str) -> None:
    assert "\u2060" not in plain(text)


def test_a_figure_shows_a_name_as_it_is() -> None:
    assert in_figure('<b>x</b> & <a href="u">y</a>') == '&lt;b&gt;x&lt;/b&gt; &amp; &lt;a href="u"&gt;y&lt;/a&gt;'
