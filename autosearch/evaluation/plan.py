"""What a trial samples, with the network that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras

from autosearch.evaluation.cost import count_macs, count_parameters
from autosearch.models.cnn import batch_norm_momentum, build_cnn
from autosearch.models.pretrained import FineTuning, build_pretrained
from autosearch.models.user import build_user_model
from autosearch.space import SearchSpace
from autosearch.space.architecture import CNN, CNNConfig, architecture_scope, choose_architecture
from autosearch.space.augmentation import AugmentationConfig
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.preprocessing import PreprocessingConfig
from autosearch.space.pretrained import Pretrained
from autosearch.space.training import TrainingConfig
from autosearch.space.weighting import ClassWeightingConfig
from autosearch.values import EvaluatorTrial

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sampled configuration with its network, not yet trained.

    Attributes:
        model: The network, from raw pixels to probabilities.
        parameters: How many it has.
        macs: Multiply-accumulates for one image.
        architecture: What built it.
        architecture_name: Its name within the space.
        is_compiled: Whether the user's ``build`` compiled it, and so decides how it is trained.
        preprocessing: What turns an image into its input.
        augmentation: How training images are varied.
        weighting: How classes are weighted.
        training: How it is trained.
        quantization: The scheme that was sampled.
        hp: What it was sampled with.
        fine_tuning: What of the network was trained before; None if nothing was.
    """

    model: Any
    parameters: int
    macs: int
    architecture: Any
    architecture_name: str
    is_compiled: bool
    preprocessing: PreprocessingConfig
    augmentation: AugmentationConfig
    weighting: ClassWeightingConfig
    training: TrainingConfig
    quantization: str
    hp: HyperParameters
    fine_tuning: FineTuning | None = None


def make_plan(
    space: SearchSpace,
    trial: EvaluatorTrial,
    *,
    num_classes: int,
    count_images: Callable[[PreprocessingConfig], int],
) -> Plan:
    """Samples a configuration and builds its network.

    Training is sampled last: a network that the user's ``build`` compiled brings its own
    optimizer and loss, and parameters without effect would only mislead the sampler.

    Args:
        space: What may be sampled.
        trial: Samples, and is told of architecture, preprocessing, parameters and MACs.
        num_classes: How many probabilities the network gives.
        count_images: Answers how many training images there are, prepared that way.

    Raises:
        TrialError: The network cannot be built.
        DefinitionError: The space is at fault.
    """
    hp = trial.hp
    keras.utils.set_random_seed(trial.seed)
    preprocessing = space.preprocessing.sample(hp)
    hp.input_shape = preprocessing.input_shape
    hp.num_classes = num_classes
    name, architecture = choose_architecture(hp, space.architectures)
    config = model = fine_tuning = None
    with architecture_scope(hp, space.architectures, name):
        if isinstance(architecture, CNN | Pretrained):
            config = architecture.sample(hp)
        else:
            model = build_user_model(architecture, hp, seed=trial.seed)
    augmentation = space.augmentation.sample(hp, num_channels=preprocessing.input_shape[-1])
    weighting = space.weighting.sample(hp)
    is_compiled = bool(model is not None and model.compiled)
    training = space.training.sample(hp, compiled=is_compiled)
    quantization = space.quantization.sample(hp)
    if config is not None:
        steps_per_epoch = -(-count_images(preprocessing) // training.batch_size)
        words: dict[str, Any] = {
            "input_shape": preprocessing.input_shape,
            "num_classes": num_classes,
            "batch_norm_momentum": batch_norm_momentum(steps_per_epoch),
            "seed": trial.seed,
        }
        if isinstance(config, CNNConfig):
            model = build_cnn(config, **words)
        elif isinstance(architecture, Pretrained):
            model, fine_tuning = build_pretrained(architecture, config, **words)
    parameters = count_parameters(model)
    macs = count_macs(model, image_shape=preprocessing.input_shape)
    trial.describe(
        architecture=name, preprocessing=asdict(preprocessing), parameters=parameters, macs=macs
    )
    return Plan(
        model=model,
        parameters=parameters,
        macs=macs,
        architecture=architecture,
        architecture_name=name,
        is_compiled=is_compiled,
        preprocessing=preprocessing,
        augmentation=augmentation,
        weighting=weighting,
        training=training,
        quantization=quantization,
        hp=hp,
        fine_tuning=fine_tuning,
    )
