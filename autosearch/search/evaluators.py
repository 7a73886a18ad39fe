"""Which evaluator a study asks for."""

from __future__ import annotations

from typing import Any

from autosearch.study import Study

__all__ = ["make_evaluator"]


def make_evaluator(study: Study) -> Any:
    """The user's own evaluator, or the one that trains with Keras, which loads TensorFlow."""
    if study.evaluator is not None:
        return study.evaluator
    from autosearch.evaluation.pipeline import KerasEvaluator

    return KerasEvaluator(study)
