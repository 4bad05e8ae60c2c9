"""Verdicts over HTTP for other programs: ``skrd4ad serve``. Built on Starlette and uvicorn, without torch."""
