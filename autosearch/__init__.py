"""autosearch: architecture and hyperparameter search for image classification.

Every candidate is measured as the file that would ship. Importing this package loads neither
TensorFlow nor Keras nor Optuna; each public name loads what it needs when it is first used.

Example:
    >>> import autosearch
    >>> autosearch.maximize("accuracy").metric
    'accuracy'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autosearch.search.runner import run
    from autosearch.space import SearchSpace
    from autosearch.store.view import StudyView, open_study
    from autosearch.study import Study, load_study_file
    from autosearch.targets import Target
    from autosearch.values import (
        Budget,
        CandidateResult,
        Constraint,
        CrossValidation,
        Evaluator,
        NoPruner,
        Objective,
        ParetoPruner,
        TrainOn,
        TrialState,
        at_most,
        maximize,
        minimize,
    )

__all__ = [
    "Budget",
    "CandidateResult",
    "Constraint",
    "CrossValidation",
    "Evaluator",
    "NoPruner",
    "Objective",
    "ParetoPruner",
    "SearchSpace",
    "Study",
    "StudyView",
    "Target",
    "TrainOn",
    "TrialState",
    "at_most",
    "load_study_file",
    "maximize",
    "minimize",
    "open_study",
    "run",
]

__version__ = "0.1.0"

_HOMES = {
    "SearchSpace": "autosearch.space",
    "Study": "autosearch.study",
    "StudyView": "autosearch.store.view",
    "Target": "autosearch.targets",
    "load_study_file": "autosearch.study",
    "open_study": "autosearch.store.view",
    "run": "autosearch.search.runner",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'autosearch' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "autosearch.values")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
