"""What a search begins with, of whatever space."""

import optuna
import pytest

from autosearch.search.warm_start import StartingSampler
from autosearch.space import (
    CNN,
    HyperParameters,
    Preprocessing,
    Pretrained,
    Range,
    SearchSpace,
    Training,
)
from autosearch.space.first_guesses import first_guesses

ODD = SearchSpace(
    architecture=CNN(
        stages=(4, 6),
        width=Range(6, 96, step=2, log=True),
        width_growth=(1.0, 1.2),
        block=["inverted_residual"],
        expansion=(3, 5),
        activation=["gelu", "elu"],
    ),
    training=Training(learning_rate=Range(1e-5, 1e-3, log=True), optimizer="sgd"),
)


def configurations(space):
    """What trials make of the guesses that begin a search, the rest at random."""
    made = []
    for guess in first_guesses(space):
        sampler = StartingSampler(guess, optuna.samplers.RandomSampler(seed=0))
        trial = optuna.create_study(sampler=sampler).ask()
        hp = HyperParameters(trial, before_asking=sampler.prepare)
        space.sample_declared(hp)
        made.append(hp.values)
    return made


def test_the_default_space_begins_with_small_networks_of_several_kinds():
    guessed = configurations(SearchSpace())
    assert len(guessed) == 6
    assert {c["architecture/block"] for c in guessed} == {
        "plain", "separable", "residual", "inverted_residual"
    }  # fmt: skip
    for config in guessed:
        assert config["architecture/width"] in (8, 16)
        assert config["architecture/kernel_size"] == 3
        assert 2e-3 < config["training/learning_rate"] < 6e-3


def test_a_guess_is_the_nearest_that_an_odd_space_has():
    guessed = configurations(ODD)
    # 6, 12, 24, 48 and 96: 8 is nearer to 6, and 16 to 12.
    assert [c["architecture/width"] for c in guessed[:2]] == [6, 12]
    for config in guessed:
        assert config["architecture/stages"] == 4
        assert config["architecture/expansion"] == 3
        assert config["architecture/width_growth"] == pytest.approx(1.2)
        assert config["training/learning_rate"] == pytest.approx(1e-3)


def test_what_is_not_wished_is_left_to_the_sampler():
    for guess in first_guesses(ODD):
        assert "architecture/activation" not in guess
    assert "quantization" not in first_guesses(SearchSpace())[0]


def test_of_several_architectures_it_is_a_small_network_of_ours_that_is_guessed():
    space = SearchSpace(architecture=[Pretrained("MobileNetV2"), CNN()])
    space = space.model_copy(update={"preprocessing": Preprocessing(size=32)})
    guessed = configurations(space)
    assert len(guessed) == 6
    assert {c["architecture"] for c in guessed} == {"cnn"}
    assert first_guesses(SearchSpace(architecture=Pretrained("MobileNetV2"))) == []


def test_a_space_with_nothing_to_guess_has_no_guesses():
    fixed = CNN(stages=1, width=8, width_growth=1.0, blocks_per_stage=1, kernel_size=3,
                block="plain", activation="relu", pooling="max", head="average",
                attention="none", dropout=0.0)  # fmt: skip
    assert first_guesses(SearchSpace(architecture=fixed)) == []
    assert first_guesses(SearchSpace(architecture=lambda hp: None)) == []
