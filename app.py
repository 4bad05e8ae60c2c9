"""The app of a checkout: ``streamlit run app.py``. Installed, ``skrd4ad app`` starts the same from any folder."""

from skrd4ad.ui.app import show_app

show_app()
