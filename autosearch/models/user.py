"""A user's own architecture: ``build(hp) -> keras.Model``, or a ``keras_tuner.HyperModel``."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from autosearch.errors import AutosearchError, BuildError

if TYPE_CHECKING:
    from autosearch.space.hyperparameters import HyperParameters

__all__ = ["build_user_model", "ends_the_trial", "fit_takes", "overrides_fit"]


def build_user_model(architecture: Any, hp: HyperParameters, *, seed: int | None = None) -> Any:
    """Calls the user's ``build`` and checks what it answers.

    Args:
        architecture: A function of ``hp``, or an object with ``build(hp)`` such as a
            ``keras_tuner.HyperModel``.
        hp: Samples parameters; says ``input_shape`` (h, w, c) and ``num_classes``.
        seed: Of Python's, NumPy's and TensorFlow's generators, for the initial weights.

    Returns:
        The built ``keras.Model``, from (None, h, w, c) to (None, num_classes); compiled if the
        user compiled it.

    Raises:
        BuildError: ``build`` failed, or its answer does not fit the data.
    """
    # Otherwise the names of the layers count up from model to model.
    keras.utils.clear_session(free_memory=False)
    if seed is not None:
        keras.utils.set_random_seed(seed % 2**32)
    build = getattr(architecture, "build", architecture)
    try:
        model = build(hp)
    except Exception as error:
        if ends_the_trial(error):
            raise
        raise BuildError(f"build(hp) raised {type(error).__name__}: {error}") from error
    if not isinstance(model, keras.Model):
        raise BuildError(
            f"build(hp) returned {type(model).__name__}; expected a keras.Model: end it with "
            '"return model"'
        )
    expected_input = (None, *(hp.input_shape or ()))
    _check_kind(model, expected_input)
    _check_shape("takes", model.inputs, expected_input, "the images are; use hp.input_shape")
    _check_shape(
        "gives", model.outputs, (None, hp.num_classes), "the classes need; use hp.num_classes"
    )
    if not model.compiled:
        _check_probabilities(model, expected_input)
    return model


def overrides_fit(architecture: Any) -> bool:
    """Whether it is a ``keras_tuner.HyperModel`` whose class has a ``fit`` of its own.

    ``build`` alone is what other objects are asked for; their ``fit`` is not ours to call.
    """
    tuner = sys.modules.get("keras_tuner")
    if tuner is None or not isinstance(architecture, tuner.HyperModel):
        return False
    return type(architecture).fit is not tuner.HyperModel.fit


def fit_takes(architecture: Any, word: str) -> bool:
    """Whether the ``fit`` of a ``keras_tuner.HyperModel`` can be called with that keyword."""
    parameters = inspect.signature(architecture.fit).parameters
    return word in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def ends_the_trial(error: BaseException) -> bool:
    """Whether an exception out of a user's code was meant, and must pass through as it is.

    It is one of autosearch's own, Optuna's ``TrialPruned``, or no ``Exception`` at all, such as
    ``KeyboardInterrupt``.
    """
    optuna = sys.modules.get("optuna")
    if optuna is not None and isinstance(error, optuna.TrialPruned):
        return True
    return isinstance(error, AutosearchError) or not isinstance(error, Exception)


def _check_kind(model: Any, expected_input: tuple[int | None, ...]) -> None:
    if isinstance(model, keras.Sequential) and not model.built:
        try:
            model.build(expected_input)
        except Exception as error:
            raise BuildError(
                f"the layers do not fit images of shape {expected_input}: {error}"
            ) from error
    if not getattr(model, "inputs", None):
        raise BuildError(
            f"build(hp) returned the subclass {type(model).__name__} of keras.Model, which opens "
            "only where that class is; expected a keras.Sequential or keras.Model(inputs, outputs)"
        )


def _check_probabilities(model: Any, expected_input: tuple[int | None, ...]) -> None:
    """Refuses what our loss would take for probabilities, and train into nothing."""
    pixels = np.random.default_rng(0).uniform(
        0, 255, (2, *(side or 1 for side in expected_input[1:]))
    )
    try:
        outputs = np.asarray(model(pixels.astype(np.float32), training=False), dtype=np.float64)
    except Exception as error:
        raise BuildError(f"the model that build(hp) returned fails on an image: {error}") from error
    sums = outputs.sum(axis=-1)
    if np.isfinite(outputs).all() and (outputs.min() < -1e-3 or np.abs(sums - 1).max() > 1e-2):
        raise BuildError(
            f"build(hp) returned a model that gives no probabilities: its outputs for an image go "
            f"from {outputs.min():.3g} to {outputs.max():.3g} and sum to {sums[0]:.3g}; end it "
            'with activation="softmax", or compile it with a loss of its own'
        )


def _check_shape(
    verb: str, tensors: list[Any], expected: tuple[int | None, ...], what: str
) -> None:
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if shapes != [expected]:
        found = " and ".join(str(shape) for shape in shapes)
        raise BuildError(
            f"build(hp) returned a model that {verb} {found}; expected {expected}, as {what}"
        )
