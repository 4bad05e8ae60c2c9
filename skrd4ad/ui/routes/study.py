from skrd4ad.ui.frame import page, show_for_model
from skrd4ad.ui.study.page import show_page

page("study", "Find out whether the measurement is fit: photograph the same parts again and again.")
show_for_model(show_page, purpose="study")
