from skrd4ad.ui.frame import page, shielded
from skrd4ad.ui.models.page import show_models

page("models", "Every model with its card: name it, bring it in, hand it on, and export it for other runtimes.")
shielded(show_models)
