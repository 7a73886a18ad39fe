"""Where a search begins: small networks that seldom learn nothing, as far as a space has them.

A random network of a space costs as much as the space is wide, and until some were trained nothing
is known of any. These come first: they are trained in little time, of which the search then has
the more, and lie near the end of the front that small devices ask for. Cost-effective designs
(Lee et al. 2020, https://arxiv.org/abs/2003.10870) do the same in general; here the parameters'
meaning is known.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from autosearch.space.architecture import CNN, architecture_names
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Choices, Numbers, Parameter, Scalar, to_distribution
from autosearch.space.search_space import SearchSpace

__all__ = ["first_guesses"]

_Wish: TypeAlias = "float | tuple[str, ...]"
"""A number, of which the nearest is taken, or words, of which the first that is offered."""

_ALWAYS: dict[str, _Wish] = {
    "preprocessing/size": 1,
    "architecture/stages": 3,
    "architecture/kernel_size": 3,
    "architecture/expansion": 2,
    "architecture/normalization": ("batch",),
    "architecture/activation": ("relu", "relu6"),
    "architecture/pooling": ("max", "average"),
    "architecture/head": ("average",),
    "architecture/attention": ("none",),
    "training/optimizer": ("adamw", "adam"),
    "training/schedule": ("cosine", "cosine_warmup"),
    "training/weight_decay": 1e-4,
    "training/batch_size": 64,
    "training/label_smoothing": 0.0,
}
# Block, width, growth of the width, blocks a stage, learning rate and dropout of each.
_ONE_AFTER_THE_OTHER = (
    (("plain", "separable"), 8, 2.0, 1, 3e-3, 0.0),
    (("plain", "residual"), 16, 1.5, 1, 3e-3, 0.1),
    (("separable", "inverted_residual"), 16, 2.0, 1, 5e-3, 0.0),
    (("residual", "inverted_residual"), 8, 2.0, 1, 3e-3, 0.1),
    (("plain", "separable"), 4, 2.0, 2, 5e-3, 0.0),
    (("inverted_residual", "separable"), 8, 1.5, 1, 3e-3, 0.1),
)
_NAMES = (
    "architecture/block",
    "architecture/width",
    "architecture/width_growth",
    "architecture/blocks_per_stage",
    "training/learning_rate",
    "architecture/dropout",
)


def first_guesses(space: SearchSpace) -> list[dict[str, Scalar]]:
    """Configurations to begin with: values by parameter name, of those that a guess says.

    What is not said, such as augmentation, is left to the sampler. Each configuration stands once;
    of an architecture of the user's own nothing is known, and there are none.
    """
    if not space.is_declarative:
        return []
    # Of several architectures it is a small network of ours that is guessed.
    names = architecture_names(space.architectures)
    ours = [n for n, one in zip(names, space.architectures, strict=True) if isinstance(one, CNN)]
    if not ours:
        return []
    found: list[dict[str, Scalar]] = []
    for own in _ONE_AFTER_THE_OTHER:
        guessing = _Guessing(
            {**_ALWAYS, "architecture": (ours[0],), **dict(zip(_NAMES, own, strict=True))}
        )
        space.sample_declared(HyperParameters(answer=guessing.answer))
        if guessing.says_network and guessing.said not in found:
            found.append(guessing.said)
    return found


class _Guessing:
    """Gives every parameter the value nearest to a wish, and keeps which it gave."""

    def __init__(self, wishes: Mapping[str, _Wish]) -> None:
        self._wishes = wishes
        self.said: dict[str, Scalar] = {}

    @property
    def says_network(self) -> bool:
        """Whether anything of the architecture was said."""
        return any(name.startswith("architecture/") for name in self.said)

    def answer(self, parameter: Parameter) -> tuple[Scalar] | None:
        """The value of a parameter; None if there is no wish, or none of the choices is one."""
        wish, asked = self._wishes.get(parameter.name), parameter.range
        if wish is None:
            return None
        if isinstance(asked, Choices):
            chosen = _nearest_choice(asked.values, wish)
            if chosen is None:
                return None
            value = asked.values[chosen]
        else:
            assert isinstance(asked, Numbers)
            assert isinstance(wish, int | float)
            value = _nearest_number(asked, wish)
        self.said[parameter.name] = value
        return (value,)


def _nearest_number(numbers: Numbers, wish: float) -> float:
    like = to_distribution(numbers)
    wished = numbers.drawn(min(max(wish, numbers.low), numbers.high))
    if like.step is not None:
        wished = like.low + round((wished - like.low) / like.step) * like.step
    return numbers.value(min(max(wished, like.low), like.high))


def _nearest_choice(choices: Sequence[Scalar], wish: _Wish) -> int | None:
    if isinstance(wish, tuple):
        return next((choices.index(word) for word in wish if word in choices), None)
    numbers = [c for c in choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(choices):
        return None
    return min(range(len(choices)), key=lambda i: (_ratio(numbers[i], wish), i))


def _ratio(number: float, wish: float) -> float:
    """How far apart two numbers are: by their ratio, if both have one."""
    if number > 0 and wish > 0:
        return abs(math.log(number / wish))
    return abs(number - wish)
