"""What makes two trainings the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from autosearch.space.architecture import CNN
from autosearch.space.pretrained import Pretrained
from autosearch.study import code_definition

if TYPE_CHECKING:
    from autosearch.evaluation.pipeline import Plan

__all__ = ["training_identity"]


def training_identity(plan: Plan, *, epochs: int) -> dict[str, Any] | None:
    """What a plan trains, in JSON's terms: equal for two plans whose trainings are the same.

    The same is a network of the same layers and shapes, trained in the same way on images that are
    prepared and varied in the same way. Seeds do not count: the first weights are no property of a
    configuration. Neither does the sampled quantization, since every scheme is made of one
    training.

    A network that no code of ours builds counts with its code and all that was sampled, as
    ``build(hp)`` may load weights, and ``fit`` may read ``hp``, without a trace in the layers.

    Args:
        plan: What was sampled, with its network.
        epochs: How long it is trained: a search may train for less than its space says.

    Returns:
        None if a layer of the user's own cannot be described.
    """
    try:
        network = json.loads(plan.model.to_json())
    except Exception:
        return None
    what: dict[str, Any] = {
        "network": _without_seeds(network),
        "preprocessing": asdict(plan.preprocessing),
        "augmentation": asdict(plan.augmentation),
        "weighting": asdict(plan.weighting),
        "training": asdict(plan.training) | {"epochs": epochs},
    }
    architecture = plan.architecture
    if not isinstance(architecture, CNN):
        what["sampled"] = {k: v for k, v in plan.hp.values.items() if k != "quantization"}
        what["architecture"] = (
            architecture.model_dump(mode="json")
            if isinstance(architecture, Pretrained)
            else code_definition(architecture)
        )
    return what


def _without_seeds(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {k: _without_seeds(v) for k, v in config.items() if k != "seed"}
    if isinstance(config, list):
        return [_without_seeds(item) for item in config]
    return config
