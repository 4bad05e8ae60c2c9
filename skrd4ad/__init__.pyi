from skrd4ad.api.model import Model as Model
from skrd4ad.api.model import load as load
from skrd4ad.api.model import train as train
from skrd4ad.api.result import Result as Result
from skrd4ad.inference.predict import Predictor as Predictor

__version__: str
__all__: list[str]
