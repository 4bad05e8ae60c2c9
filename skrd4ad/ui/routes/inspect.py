from skrd4ad.ui.frame import page, show_for_model
from skrd4ad.ui.inspect.page import show_inspection

page("inspect", "Look at parts with a trained model: where it sees a defect, how strongly, and against which limit.")
show_for_model(show_inspection, purpose="inspect with")
