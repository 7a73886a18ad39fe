"""Where images come from: datasets, their splits, and the preparation of an image.

TensorFlow is loaded by ``autosearch.data.pipeline`` alone, which nothing here imports.
"""

from autosearch.data.arrays import Arrays
from autosearch.data.dataset import SPLITS, Dataset, Images, dataset_from_definition
from autosearch.data.digits import Digits
from autosearch.data.images import prepare, prepare_all
from autosearch.data.splits import stratified_split

__all__ = [
    "SPLITS",
    "Arrays",
    "Dataset",
    "Digits",
    "Images",
    "dataset_from_definition",
    "prepare",
    "prepare_all",
    "stratified_split",
]
