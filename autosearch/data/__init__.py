"""Where images come from: datasets, their splits, and the preparation of an image.

TensorFlow is loaded by ``autosearch.data.pipeline`` alone, which nothing here imports.
"""

from autosearch.data.arrays import Arrays
from autosearch.data.dataset import SPLITS, Dataset, Images, dataset_from_definition
from autosearch.data.digits import Digits
from autosearch.data.downloads import KerasDataset, TensorFlowDataset
from autosearch.data.folder import ImageFolder
from autosearch.data.grouping import grouped_split
from autosearch.data.idx import Idx
from autosearch.data.images import prepare, prepare_all
from autosearch.data.manifest import Manifest
from autosearch.data.splits import stratified_split

__all__ = [
    "SPLITS",
    "Arrays",
    "Dataset",
    "Digits",
    "Idx",
    "ImageFolder",
    "Images",
    "KerasDataset",
    "Manifest",
    "TensorFlowDataset",
    "dataset_from_definition",
    "grouped_split",
    "prepare",
    "prepare_all",
    "stratified_split",
]
