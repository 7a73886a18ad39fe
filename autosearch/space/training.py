"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, field_validator

from autosearch.space.domain import (
    FloatDomain,
    IntDomain,
    Integers,
    Options,
    Range,
    Reals,
    Space,
    StrDomain,
    Words,
    sample,
)
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import unwrapped

__all__ = ["Training", "TrainingConfig"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a network is trained. None: the user's ``build`` compiled the model and decided it.

    Attributes:
        epochs: passes over the training split.
        optimizer: "adam", "adamw" or "sgd".
        learning_rate: at its highest.
        schedule: "constant", "cosine", "cosine_warmup" or "exponential".
        weight_decay: decoupled from the gradient; 0.0, and not used, with "adam".
        batch_size: images in a step.
        label_smoothing: share of the probability that is spread over all classes.
    """

    epochs: int
    optimizer: str | None
    learning_rate: float | None
    schedule: str | None
    weight_decay: float | None
    batch_size: int
    label_smoothing: float | None


class Training(Space):
    """The space of trainings.

    Attributes:
        epochs: passes over the training split, for every trial.
        optimizer: "adam", "adamw" or "sgd"; the last two by default. "adamw" is "adam" with
            weight decay, and at the low end of the decay's range the two are one: a search over
            both would spend two thirds of its trials on one optimizer.
        learning_rate: above 0, up to 10.
        schedule: of the learning rate: "constant", "cosine", "cosine_warmup" or "exponential".
        weight_decay: 0 to 1. Sampled only with "adamw" and "sgd".
        batch_size: 1 to 4096.
        label_smoothing: 0 to 0.9.

    Example:
        >>> Training(epochs=8, optimizer="adam").epochs
        8
    """

    epochs: Annotated[int, Field(ge=1, strict=True)] = 20
    optimizer: Annotated[StrDomain, Words(("adam", "adamw", "sgd"))] = Options(("adamw", "sgd"))
    learning_rate: Annotated[FloatDomain, Reals(0.0, 10.0, above=True)] = Range(
        1e-4, 1e-2, log=True
    )
    schedule: Annotated[
        StrDomain, Words(("constant", "cosine", "cosine_warmup", "exponential"))
    ] = Options(("constant", "cosine"))
    weight_decay: Annotated[FloatDomain, Reals(0.0, 1.0)] = Range(1e-6, 1e-3, log=True)
    batch_size: Annotated[IntDomain, Integers(1, 4096)] = Options((32, 64))
    label_smoothing: Annotated[FloatDomain, Reals(0.0, 0.9)] = 0.0

    @field_validator("epochs", mode="before")
    @classmethod
    def _one_length(cls, epochs: Any) -> Any:
        if isinstance(epochs, tuple | list | Range):
            raise ValueError(
                f"{epochs!r} is not one number, and every trial is trained as long; write a number "
                "such as 20, and train_on=TrainOn(first_epochs=2) in the study to begin briefly"
            )
        return unwrapped(epochs)

    def sample(self, hp: HyperParameters, *, compiled: bool = False) -> TrainingConfig:
        """Return one configuration of the space; parameters are named ``training/…``.

        Args:
            hp: where to ask.
            compiled: the user's ``build`` compiled the model, so that its optimizer, loss and
                what belongs to them are decided; only the batch size is left to sample.
        """
        with hp.name_scope("training"):
            batch_size = sample(hp, "batch_size", self.batch_size)
            if compiled:
                return TrainingConfig(self.epochs, None, None, None, None, batch_size, None)
            optimizer = sample(hp, "optimizer", self.optimizer)
            decays = optimizer in ("adamw", "sgd")
            return TrainingConfig(
                epochs=self.epochs,
                optimizer=optimizer,
                learning_rate=sample(hp, "learning_rate", self.learning_rate),
                schedule=sample(hp, "schedule", self.schedule),
                weight_decay=sample(hp, "weight_decay", self.weight_decay) if decays else 0.0,
                batch_size=batch_size,
                label_smoothing=sample(hp, "label_smoothing", self.label_smoothing),
            )
