from skrd4ad.ui.frame import page, show_for_model
from skrd4ad.ui.label.page import show_label

page("label", "Decide on what the model is unsure of. Every decision is kept, with who made it and when.")
show_for_model(show_label, purpose="label with")
