"""Roles on the Overview page: who has which, and for an admin a way to give them."""

import pandas as pd
import streamlit as st

from skrd4ad.services.access import MAY, ROLES, why_not
from skrd4ad.services.roles import LONGEST, give_role, read_roles
from skrd4ad.ui.frame import section
from skrd4ad.ui.login.account import has_login
from skrd4ad.ui.widgets import permitted, rerun

NONE = "none: off the list"


def show_roles() -> None:
    """Who may do what, where the app has a login."""
    if has_login():
        section(_roles)


def _roles() -> None:
    st.subheader("Roles", anchor=False)
    st.caption("  \n".join(f"**{role}** {may}" for role, may in MAY.items()) + "  \nEach may what those above it may.")
    roles = read_roles()
    people = {**roles.roles, "all others": roles.default}
    st.dataframe(pd.DataFrame({"Login": list(people), "Role": list(people.values())}), hide_index=True, key="roles")
    with st.form("roles-form", border=False, clear_on_submit=True):
        left, right = st.columns(2)
        login = left.text_input(
            "Login",
            max_chars=LONGEST,
            help="E-mail address of the login, or its name where it has no address.",
            key="roles-login",
        )
        role = right.selectbox("Role", [*ROLES, NONE], key="roles-role")
        if st.form_submit_button("Give", icon=":material/badge:", key="roles-give", **permitted(why_not(give_role))):
            give_role(login, next((each for each in ROLES if each == role), None))
            rerun()
