"""Which network: small convolutional ones, one trained before, or a user's own ``build(hp)``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable

from autosearch.errors import DefinitionError
from autosearch.space.domain import (
    FloatDomain,
    IntDomain,
    Integers,
    Options,
    Reals,
    Space,
    StrDomain,
    Words,
    sample,
)
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.pretrained import Pretrained

__all__ = [
    "CNN",
    "ArchitectureLike",
    "CNNConfig",
    "HyperModelLike",
    "architecture_name",
    "architecture_names",
    "architecture_scope",
    "check_architecture",
    "choose_architecture",
]


@dataclass(frozen=True, slots=True)
class CNNConfig:
    """One convolutional network: stages of blocks, each stage wider and at half the resolution.

    Attributes:
        stages: how many.
        width: channels of the first stage.
        width_growth: what the channels are multiplied by from stage to stage.
        blocks_per_stage: blocks of one resolution.
        kernel_size: height and width of a convolution.
        block: "plain", "separable", "residual" or "inverted_residual".
        expansion: how much wider an inverted residual is inside; 1 for the other blocks.
        normalization: "batch", "layer", "group" or "none".
        activation: "relu", "relu6", "hard_swish", "silu", "elu" or "gelu".
        pooling: how a stage halves the resolution: "max", "average", or "stride" of a convolution.
        head: how the last feature map becomes a vector: "average" or "max".
        attention: "none", "squeeze_excite" in every block, or "self_attention" on the last
            feature map.
        dropout: share of the vector that is dropped in training.
    """

    stages: int
    width: int
    width_growth: float
    blocks_per_stage: int
    kernel_size: int
    block: str
    expansion: int
    normalization: str
    activation: str
    pooling: str
    head: str
    attention: str
    dropout: float


class CNN(Space):
    """The space of convolutional networks; a parameter is a value, a list or a range.

    Attributes:
        stages: 1 to 8.
        width: channels of the first stage, 1 to 1024.
        width_growth: from stage to stage, 0.5 to 4.
        blocks_per_stage: 1 to 16.
        kernel_size: 1 to 11.
        block: "plain", "separable" (depthwise, MobileNet), "residual" (ResNet) or
            "inverted_residual" (MobileNetV2).
        expansion: 1 to 16; sampled only for inverted residuals.
        normalization: "batch", "layer", "group" or "none".
        activation: "relu", "relu6", "hard_swish", "silu", "elu" or "gelu". TensorFlow Lite Micro
            runs all but "gelu".
        pooling: "max", "average" or "stride".
        head: "average" or "max".
        attention: "none", "squeeze_excite" or "self_attention".
        dropout: 0 to 0.9.

    Example:
        >>> CNN(stages=(1, 3), width=[8, 16], block="separable").block
        'separable'
    """

    stages: Annotated[IntDomain, Integers(1, 8)] = (1, 3)
    width: Annotated[IntDomain, Integers(1, 1024)] = Options((8, 16, 32))
    width_growth: Annotated[FloatDomain, Reals(0.5, 4.0)] = Options((1.0, 1.5, 2.0))
    blocks_per_stage: Annotated[IntDomain, Integers(1, 16)] = (1, 2)
    kernel_size: Annotated[IntDomain, Integers(1, 11)] = Options((3, 5))
    block: Annotated[StrDomain, Words(("plain", "separable", "residual", "inverted_residual"))] = (
        Options(("plain", "separable", "residual", "inverted_residual"))
    )
    expansion: Annotated[IntDomain, Integers(1, 16)] = Options((2, 4))
    normalization: Annotated[StrDomain, Words(("batch", "layer", "group", "none"))] = "batch"
    activation: Annotated[
        StrDomain, Words(("relu", "relu6", "hard_swish", "silu", "elu", "gelu"))
    ] = Options(("relu", "hard_swish"))
    pooling: Annotated[StrDomain, Words(("max", "average", "stride"))] = Options(
        ("max", "average", "stride")
    )
    head: Annotated[StrDomain, Words(("average", "max"))] = Options(("average", "max"))
    attention: Annotated[StrDomain, Words(("none", "squeeze_excite", "self_attention"))] = Options(
        ("none", "squeeze_excite")
    )
    dropout: Annotated[FloatDomain, Reals(0.0, 0.9)] = (0.0, 0.5)

    def sample(self, hp: HyperParameters) -> CNNConfig:
        """Return one configuration of the space; parameters are named ``architecture/…``."""
        with hp.name_scope("architecture"):
            block = sample(hp, "block", self.block)
            inverted = block == "inverted_residual"
            return CNNConfig(
                stages=sample(hp, "stages", self.stages),
                width=sample(hp, "width", self.width),
                width_growth=sample(hp, "width_growth", self.width_growth),
                blocks_per_stage=sample(hp, "blocks_per_stage", self.blocks_per_stage),
                kernel_size=sample(hp, "kernel_size", self.kernel_size),
                block=block,
                expansion=sample(hp, "expansion", self.expansion) if inverted else 1,
                normalization=sample(hp, "normalization", self.normalization),
                activation=sample(hp, "activation", self.activation),
                pooling=sample(hp, "pooling", self.pooling),
                head=sample(hp, "head", self.head),
                attention=sample(hp, "attention", self.attention),
                dropout=sample(hp, "dropout", self.dropout),
            )


@runtime_checkable
class HyperModelLike(Protocol):
    """What a ``keras_tuner.HyperModel`` is known by."""

    def build(self, hp: Any) -> Any:
        """Return a ``keras.Model`` for the values that ``hp`` gives."""
        ...


ArchitectureLike: TypeAlias = CNN | Pretrained | Callable[[HyperParameters], Any] | HyperModelLike
"""A :class:`CNN`, a :class:`Pretrained`, a function ``build(hp) -> keras.Model``, or a
``keras_tuner.HyperModel``."""


def check_architecture(value: Any) -> ArchitectureLike:
    """Return ``value`` if it can be used as an architecture.

    Raises:
        DefinitionError: it is a class, a model that is built already, or something else.
    """
    if isinstance(value, CNN | Pretrained):
        return value
    if isinstance(value, type):
        raise DefinitionError(
            f"{value.__name__} is a class; write an instance of it: {value.__name__}()"
        )
    if hasattr(value, "predict") and hasattr(value, "build"):
        raise DefinitionError(
            f"{type(value).__name__} is a model that is built already; "
            "write a function build(hp) that returns it"
        )
    if isinstance(value, HyperModelLike) or callable(value):
        checked: ArchitectureLike = value
        return checked
    raise DefinitionError(
        f"{value!r} is no architecture; write CNN(…), Pretrained(…), a function build(hp) or "
        "a HyperModel"
    )


def architecture_name(architecture: ArchitectureLike) -> str:
    """A short name: "cnn", a backbone's, a function's, or the name or class of a HyperModel.

    Example:
        >>> architecture_name(CNN())
        'cnn'
    """
    if isinstance(architecture, CNN):
        return "cnn"
    if isinstance(architecture, Pretrained):
        return "pretrained" if architecture.application is None else architecture.source.lower()
    if isinstance(architecture, HyperModelLike):
        given = getattr(architecture, "name", None)
        return given if isinstance(given, str) and given else _snake_case(type(architecture))
    plain = architecture.func if isinstance(architecture, functools.partial) else architecture
    name = getattr(plain, "__name__", None)
    return name.strip("<>") if isinstance(name, str) else _snake_case(type(plain))


def architecture_names(architectures: Sequence[ArchitectureLike]) -> tuple[str, ...]:
    """The names, each of them once: the second "cnn" is "cnn_2"."""
    names: list[str] = []
    for architecture in architectures:
        name = base = architecture_name(architecture)
        count = 1
        while name in names:
            count += 1
            name = f"{base}_{count}"
        names.append(name)
    return tuple(names)


def choose_architecture(
    hp: HyperParameters, architectures: Sequence[ArchitectureLike]
) -> tuple[str, ArchitectureLike]:
    """Return the name of an architecture, and the architecture.

    Of several, one is sampled as ``architecture``; what it samples in turn belongs within
    :func:`architecture_scope`.
    """
    names = architecture_names(architectures)
    name = hp.Choice("architecture", names) if len(names) > 1 else names[0]
    return name, architectures[names.index(name)]


def architecture_scope(
    hp: HyperParameters, architectures: Sequence[ArchitectureLike], name: str
) -> AbstractContextManager[None]:
    """The conditional scope for what the architecture ``name`` samples; none if there is but one.

    It keeps apart what two architectures call by the same name.

    Example:
        >>> hp = HyperParameters()
        >>> architectures = (CNN(stages=1), CNN(stages=2))
        >>> name, chosen = choose_architecture(hp, architectures)
        >>> with architecture_scope(hp, architectures, name):
        ...     config = chosen.sample(hp)
        >>> name, config.stages
        ('cnn', 1)
    """
    if len(architectures) == 1:
        return nullcontext()
    return hp.conditional_scope("architecture", [name])


def _snake_case(kind: type) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__).lower()
