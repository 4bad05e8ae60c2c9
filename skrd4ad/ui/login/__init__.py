"""The login: who is at the browser, what they may do, and what everybody may where there is none."""
