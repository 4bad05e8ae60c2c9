from tests.trained_models import *  # noqa: F403
