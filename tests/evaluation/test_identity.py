"""Which trainings are the same, so that the second one is spared."""

import json

import keras
import keras_tuner
import numpy as np
import pytest
from lone_trial import LoneTrial

from autosearch import Budget, SearchSpace, Study, TrainOn, maximize
from autosearch.data import Dataset
from autosearch.evaluation.identity import training_identity
from autosearch.evaluation.pipeline import KerasEvaluator
from autosearch.search.trial import RepeatedTrial
from autosearch.space import CNN, Augmentation, Preprocessing, Quantization, Training
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.search_space import RandomTrial


class Noise(Dataset):
    name = "noise"
    classes = ("even", "odd")

    def load(self, split):
        labels = np.arange(8, dtype=np.int64) % 2
        return np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8), labels


class Sampled:
    """A trial that samples at random and records nothing."""

    def __init__(self, seed):
        self.seed = seed
        self.hp = HyperParameters(RandomTrial(seed))

    def describe(self, **facts):
        pass


def from_elsewhere(hp):
    hp.Choice("weights", ["own", "theirs"])
    layers = [keras.layers.Flatten(), keras.layers.Dense(2, "softmax")]
    return keras.Sequential([keras.Input(hp.input_shape), *layers])


def plans(architecture, count):
    space = SearchSpace(
        preprocessing=Preprocessing(size=8, color="greyscale"),
        architecture=architecture,
        augmentation=Augmentation(shift=[0.0, 0.1]),
        training=Training(epochs=1, optimizer="adam", learning_rate=[0.01, 0.02], batch_size=4),
        quantization=Quantization("float32", "int8"),
    )
    evaluator = KerasEvaluator(
        Study(
            name="same",
            dataset=Noise(),
            space=space,
            objectives=[maximize("accuracy")],
            budget=Budget(trials=1),
        )
    )
    return [evaluator.plan(Sampled(seed)) for seed in range(count)]


def groups_of(plans, key):
    groups = {}
    for index, plan in enumerate(plans):
        groups.setdefault(json.dumps(key(plan), sort_keys=True, default=str), []).append(index)
    return sorted(groups.values())


def identity(plan):
    return training_identity(plan, epochs=1)


def without_scheme(plan, *others):
    dropped = {"quantization", *others}
    return {name: value for name, value in plan.hp.values.items() if name not in dropped}


def test_neither_seeds_nor_the_scheme_make_another_training_and_all_else_does():
    small = CNN(stages=1, blocks_per_stage=1, width=[8, 16], kernel_size=3, block="plain",
                attention="none", normalization="batch", activation="relu", pooling="max",
                head="average", dropout=0.2)  # fmt: skip
    sampled = plans(small, 40)
    same = groups_of(sampled, identity)
    # With one stage there is nothing to grow from stage to stage.
    assert same == groups_of(sampled, lambda p: without_scheme(p, "architecture/width_growth"))
    assert len(same) < len(groups_of(sampled, without_scheme))
    assert any(len({sampled[i].quantization for i in group}) == 2 for group in same)


class Identifying(LoneTrial):
    """Ends once it knows what it is to do."""

    def identify(self, what, *, quantization=""):
        raise RepeatedTrial(0, what)


def evaluated(architecture, *, epochs, train_on=None):
    study = Study(
        name="same",
        dataset=Noise(),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8, color="greyscale"),
            architecture=architecture,
            training=Training(epochs=epochs, batch_size=4),
            quantization=Quantization("float32"),
        ),
        objectives=[maximize("accuracy")],
        train_on=train_on,
    )
    return KerasEvaluator(study).evaluate(Identifying())


def test_a_training_of_another_length_is_another_one():
    def identified(train_on):
        with pytest.raises(RepeatedTrial) as found:
            evaluated(CNN(stages=1, width=8, block="plain"), epochs=8, train_on=train_on)
        return json.dumps(found.value.result, sort_keys=True)

    by_length = [identified(TrainOn(first_epochs=length)) for length in (1, 2)]
    assert len({*by_length, identified(None)}) == 3
    assert identified(None) == identified(None)


def test_what_a_users_build_sampled_counts_even_if_no_layer_shows_it():
    sampled = plans(from_elsewhere, 24)
    same = groups_of(sampled, identity)
    assert same == groups_of(sampled, without_scheme)
    assert {sampled[group[0]].hp.values["weights"] for group in same} == {"own", "theirs"}


class Fits(keras_tuner.HyperModel):
    def build(self, hp):
        return from_elsewhere(hp)

    def fit(self, hp, model, *args, **words):
        return model.fit(*args, **{**words, "epochs": hp.Int("epochs", 1, 9)})


def test_what_a_users_fit_samples_is_not_known_before_it_is_called():
    with pytest.raises(RepeatedTrial):
        evaluated(from_elsewhere, epochs=1)
    assert evaluated(Fits(), epochs=1)
