from skrd4ad.ui.calibrate.page import show_calibration
from skrd4ad.ui.frame import page, show_for_model

page("calibrate", "Decide what is OK, for review, or rejected: see what each limit costs, and sign it.")
show_for_model(show_calibration, purpose="calibrate")
