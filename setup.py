"""Packages of the installation; all else is in pyproject.toml, which cannot name folders beside those it finds."""

from setuptools import find_packages, setup

SHIPPED = {
    "skrd4ad.shipped.demo_models": "checkpoints",
    "skrd4ad.shipped.streamlit": ".streamlit",
    "skrd4ad.shipped.assets": "assets",
}
"""Folders of a checkout that are installed in the package; ``skrd4ad/paths.py`` finds them in both."""

setup(packages=[*find_packages(include=["skrd4ad*"]), *SHIPPED], package_dir=SHIPPED)
