from urllib.parse import quote

import pytest

from skrd4ad.ui.acting import login_of, name_from_cookie


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ({}, None),
        ({"is_logged_in": False}, ""),
        ({"is_logged_in": True, "name": "Anna Weber", "email": "a@b.c"}, "Anna Weber"),
        ({"is_logged_in": True, "email": "a@b.c", "sub": "17"}, "a@b.c"),
        ({"is_logged_in": True, "name": "", "sub": "17"}, "17"),
    ],
)
def test_the_name_of_a_login(user: dict, name: str | None) -> None:
    assert login_of(user) == name


@pytest.mark.parametrize(
    ("cookie", "name"),
    [
        (quote("Ünal, B.", safe=""), "Ünal, B."),
        ("  Anna%20 Weber ", "Anna Weber"),
        (None, None),
        ("", None),
        ("a" * 81, None),
        ("%00", None),
    ],
)
def test_a_cookie_may_hold_anything_and_only_a_name_is_taken(cookie: str | None, name: str | None) -> None:
    assert name_from_cookie(cookie) == name
