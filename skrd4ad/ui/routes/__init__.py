"""The scripts that Streamlit runs, one a page, named as in its address; `skrd4ad/ui/app.py` leads to them."""
