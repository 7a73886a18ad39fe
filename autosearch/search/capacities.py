"""What is known of a configuration's network before it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from autosearch.search.held import value_of
from autosearch.space.architecture import CNN, architecture_scope, choose_architecture
from autosearch.space.capacity import capacity_of
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.parameters import Constant, Parameter, Scalar
from autosearch.space.search_space import SearchSpace

__all__ = ["Capacities"]

_NETWORK = ("architecture", "preprocessing")
_MAX_KNOWN = 20_000


class Capacities:
    """Parameters and multiply-accumulates of a space's configurations, by arithmetic alone.

    Args:
        space: Of the study.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        # Most configurations that are weighed differ in how they are trained.
        self._of_network = lru_cache(maxsize=_MAX_KNOWN)(self._work_out)

    def __call__(self, params: Mapping[str, Any]) -> tuple[float, float] | None:
        """Their logarithms.

        Args:
            params: What a trial sampled, by Optuna's names.

        Returns:
            None where it takes a built network to know: of a user's own or a pretrained one, and
            of a trial from before the space has grown.
        """
        network = {name: value for name, value in params.items() if name.startswith(_NETWORK)}
        return self._of_network(tuple(sorted(network.items())))

    def _work_out(self, network: tuple[tuple[str, Any], ...]) -> tuple[float, float] | None:
        params = dict(network)

        def answer(parameter: Parameter) -> tuple[Scalar]:
            assert not isinstance(parameter.range, Constant)
            return (value_of(parameter.range, params[parameter.trial_name]),)

        space, hp = self._space, HyperParameters(answer=answer)
        try:
            preprocessing = space.preprocessing.sample(hp)
            name, architecture = choose_architecture(hp, space.architectures)
            if not isinstance(architecture, CNN):
                return None
            with architecture_scope(hp, space.architectures, name):
                config = architecture.sample(hp)
        except KeyError:
            return None
        capacity = capacity_of(config, preprocessing.input_shape)
        return math.log(max(capacity.parameters, 1)), math.log(max(capacity.macs, 1))
