import pytest

from skrd4ad.errors import ConfigError
from skrd4ad.types import Pitch, parse_pitch, parse_size, pitch_xy, size_option, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("256", 256), ("256x256", 256), (" 64 x 1280 ", (64, 1280)), ("1280X64", (1280, 64)), ("64×128", (64, 128))],
)
def test_a_size_is_one_side_or_height_and_width(text: str, size: object) -> None:
    assert parse_size(text) == size
    assert parse_size(size_option(parse_size(text))) == size


@pytest.mark.parametrize("text", ["", "x", "64x", "x64", "64x64x3", "0", "-64", "64.5", "5000", "64x5000", "٢٥٦"])
def test_a_text_that_is_no_size_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ConfigError, match=r"such as 256, or height x width, such as 64x1280, each from 1 to 4096"):
        parse_size(text)


def test_a_size_reads_height_first() -> None:
    assert (size_text(256), size_text((64, 1280))) == ("256 x 256", "64 x 1280")


@pytest.mark.parametrize(("text", "pitch"), [("0.5", 0.5), ("0.05x0.1", (0.05, 0.1)), ("1e-3", 0.001), ("2x2", 2.0)])
def test_a_scale_is_one_number_or_x_and_y(text: str, pitch: Pitch) -> None:
    assert parse_pitch(text) == pitch
    assert pitch_xy(pitch) == (pitch if isinstance(pitch, tuple) else (pitch, pitch))


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "0.1x0", "a", "", "1x2x3"])
def test_a_scale_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"The scale is .*; allowed: "):
        parse_pitch(text)
