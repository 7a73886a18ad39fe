"""What can be searched: one module for each concern, and ``hp`` to write more."""

from autosearch.space.architecture import CNN
from autosearch.space.augmentation import Augmentation
from autosearch.space.domain import Range
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.preprocessing import Preprocessing
from autosearch.space.pretrained import Pretrained
from autosearch.space.quantization import Quantization
from autosearch.space.search_space import SearchSpace
from autosearch.space.training import Training
from autosearch.space.weighting import ClassWeighting

__all__ = [
    "CNN",
    "Augmentation",
    "ClassWeighting",
    "HyperParameters",
    "Preprocessing",
    "Pretrained",
    "Quantization",
    "Range",
    "SearchSpace",
    "Training",
]
