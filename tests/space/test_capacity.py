"""What a network costs by arithmetic, beside the network itself."""

import itertools

import numpy as np
import optuna
import pytest

from autosearch import SearchSpace
from autosearch.evaluation.cost import count_macs, count_parameters
from autosearch.models.cnn import build_cnn
from autosearch.search.capacities import Capacities
from autosearch.space import CNN, Preprocessing
from autosearch.space.architecture import CNNConfig
from autosearch.space.capacity import capacity_of
from autosearch.space.hyperparameters import HyperParameters

BLOCKS = ("plain", "separable", "residual", "inverted_residual")
ATTENTION = ("none", "squeeze_excite", "self_attention")
NUM_CLASSES = 7


@pytest.mark.parametrize(("block", "attention"), list(itertools.product(BLOCKS, ATTENTION)))
def test_it_is_what_keras_counts(block, attention) -> None:
    rng = np.random.default_rng([BLOCKS.index(block), ATTENTION.index(attention)])
    for _ in range(2):
        config = CNNConfig(
            stages=int(rng.integers(1, 5)),
            width=int(rng.choice([4, 6, 8, 16, 20])),
            width_growth=float(rng.choice([1.0, 1.5, 2.0])),
            blocks_per_stage=int(rng.integers(1, 4)),
            kernel_size=int(rng.choice([3, 5])),
            block=block,
            expansion=int(rng.choice([1, 2, 4])) if block == "inverted_residual" else 1,
            normalization=str(rng.choice(["batch", "layer", "group", "none"])),
            activation="relu",
            pooling=str(rng.choice(["max", "average", "stride"])),
            head="average",
            attention=attention,
            dropout=0.1,
        )
        shape = (int(rng.choice([8, 9, 28])), int(rng.choice([8, 33])), int(rng.choice([1, 3])))
        model = build_cnn(config, input_shape=shape, num_classes=NUM_CLASSES, seed=0)
        capacity = capacity_of(config, shape)
        of_classes = capacity.features * NUM_CLASSES
        assert capacity.parameters == count_parameters(model) - of_classes - NUM_CLASSES
        assert capacity.macs == count_macs(model) - of_classes


def sampled(space):
    """What a trial samples of network and images, as Optuna names it, with its configuration."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    hp = HyperParameters(trial)
    preprocessing, config = space.preprocessing.sample(hp), space.architecture.sample(hp)
    return trial.params, config, preprocessing.input_shape


def test_it_is_known_of_what_a_trial_sampled() -> None:
    space = SearchSpace(preprocessing=Preprocessing(size=[8, 16]), architecture=CNN())
    params, config, shape = sampled(space)
    capacity = capacity_of(config, shape)
    told = Capacities(space)({**params, "training/learning_rate": 0.1})
    assert told == pytest.approx((np.log(capacity.parameters), np.log(capacity.macs)))


def test_it_is_not_known_of_a_users_network_nor_before_the_space_has_grown() -> None:
    def build(hp):
        raise AssertionError("it would take too long")

    space = SearchSpace(architecture=[CNN(stages=2, width=8, block="plain"), build])
    assert Capacities(space)({"architecture": "build"}) is None
    params, *_ = sampled(SearchSpace(architecture=CNN(width=8)))
    assert Capacities(SearchSpace(architecture=CNN(width=8)))(params) is not None
    assert Capacities(SearchSpace(architecture=CNN(width=[8, 16])))(params) is None
