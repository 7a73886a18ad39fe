"""The whole space of a study, and how it is written down."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import model_validator

from autosearch.space.architecture import (
    CNN,
    ArchitectureLike,
    architecture_name,
    architecture_scope,
    choose_architecture,
)
from autosearch.space.augmentation import Augmentation
from autosearch.space.domain import Options, Range, Space
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Scalar
from autosearch.space.preprocessing import Preprocessing
from autosearch.space.pretrained import Pretrained
from autosearch.space.quantization import Quantization
from autosearch.space.sources import Architectures
from autosearch.space.training import Training
from autosearch.space.weighting import ClassWeighting

__all__ = ["RandomTrial", "SearchSpace"]


class SearchSpace(Space):
    """Everything that a study may sample, one part for each concern.

    Attributes:
        preprocessing: what the network sees.
        architecture: a :class:`CNN`, a :class:`Pretrained`, a function ``build(hp) ->
            keras.Model``, a ``keras_tuner.HyperModel``, or a list of those, from which one is
            sampled per trial.
        augmentation: how training images are varied.
        weighting: how much each class counts.
        training: how a network is trained.
        quantization: in which formats it is measured.

    Example:
        >>> space = SearchSpace(architecture=CNN(stages=2), quantization=Quantization("int8"))
        >>> SearchSpace.from_definition(space.definition()) == space
        True
    """

    preprocessing: Preprocessing = Preprocessing()
    architecture: Annotated[ArchitectureLike | Sequence[ArchitectureLike], Architectures()] = CNN()
    augmentation: Augmentation = Augmentation()
    weighting: ClassWeighting = ClassWeighting()
    training: Training = Training()
    quantization: Quantization = Quantization()

    @model_validator(mode="after")
    def _images_are_large_enough(self) -> SearchSpace:
        smallest = self.least_size
        for architecture in self.architectures:
            known = architecture.application if isinstance(architecture, Pretrained) else None
            if known is not None and smallest < known.least_size:
                raise ValueError(
                    f"{architecture_name(architecture)} takes images of at least "
                    f"{known.least_size} pixels, not {smallest}; write Preprocessing(size="
                    f"{known.least_size}) or more"
                )
        return self

    @property
    def least_size(self) -> int:
        """The smallest input in pixels across."""
        size: Any = self.preprocessing.size
        sizes = [size.low] if isinstance(size, Range) else size
        return int(min(sizes) if isinstance(sizes, list | Options) else sizes)

    @property
    def architectures(self) -> tuple[ArchitectureLike, ...]:
        """The architectures, one or several."""
        if isinstance(self.architecture, tuple):
            return self.architecture
        only: Any = self.architecture
        return (only,)

    @property
    def is_declarative(self) -> bool:
        """Whether the definition says it all: no function of the user's is part of the space."""
        return all(isinstance(one, CNN | Pretrained) for one in self.architectures)

    def definition(self) -> dict[str, Any]:
        """Return the space as JSON-friendly values.

        A user's function stands as ``{"callable": "module:qualname", "syntax_hash": …}``: enough
        to tell that it has changed, not enough to call it.
        """
        return self.model_dump(mode="json")

    @classmethod
    def from_definition(cls, definition: dict[str, Any]) -> SearchSpace:
        """Return the space that :meth:`definition` wrote.

        Raises:
            DefinitionError: it is no definition, or has a function of the user's in it.
        """
        return cls(**definition)

    def dry_run(self, num: int = 20, seed: int = 0) -> list[dict[str, Scalar]]:
        """Sample ``num`` configurations at random, without a study.

        A user's own ``build`` is not called. A space that cannot be sampled is found out here
        before it costs anything.

        Returns:
            The values by name, as ``hp.values`` has them, one mapping for each configuration.

        Raises:
            DefinitionError: the space cannot be sampled.
        """
        trial_seeds = random.Random(seed)
        configurations = []
        for _ in range(num):
            hp = HyperParameters(RandomTrial(trial_seeds.getrandbits(32)))
            self.sample_declared(hp)
            configurations.append(hp.values)
        return configurations

    def sample_declared(self, hp: HyperParameters) -> None:
        """Sample a configuration, but for what a user's own ``build`` asks for.

        Raises:
            DefinitionError: the space cannot be sampled.
        """
        self.preprocessing.sample(hp)
        name, architecture = choose_architecture(hp, self.architectures)
        if isinstance(architecture, CNN | Pretrained):
            with architecture_scope(hp, self.architectures, name):
                architecture.sample(hp)
        self.augmentation.sample(hp)
        self.weighting.sample(hp)
        self.training.sample(hp)
        self.quantization.sample(hp)


class RandomTrial:
    """A trial of no study: every value at random, one seed for all of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        if log:
            drawn = math.exp(self._random.uniform(math.log(low - 0.5), math.log(high + 0.5)))
            return min(max(round(drawn), low), high)
        return self._random.randrange(low, high + 1, step)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """A number from ``low`` to ``high``, both included."""
        if log:
            drawn = math.exp(self._random.uniform(math.log(low), math.log(high)))
            return min(max(drawn, low), high)
        if step is not None:
            return min(low + self._random.randint(0, round((high - low) / step)) * step, high)
        return self._random.uniform(low, high)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """One of ``choices``."""
        return self._random.choice(choices)
