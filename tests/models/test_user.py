import keras
import keras_tuner
import numpy as np
import optuna
import pytest
from keras import layers

from autosearch.errors import BuildError, DefinitionError
from autosearch.models.user import build_user_model, ends_the_trial, overrides_fit
from autosearch.space.hyperparameters import HyperParameters


def small(hp):
    return keras.Sequential(
        [
            keras.Input(hp.input_shape),
            layers.Flatten(),
            layers.Dense(hp.num_classes, activation="softmax"),
        ]
    )


class Plain(keras_tuner.HyperModel):
    def build(self, hp):
        return small(hp)


class WithFit(Plain):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **kwargs)


class Subclass(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.fixture
def hp():
    return HyperParameters(input_shape=(4, 4, 1), num_classes=3)


def test_a_function_and_a_hyper_model_are_built_alike(hp):
    for architecture in (small, Plain(), WithFit()):
        model = build_user_model(architecture, hp)
        assert model.input_shape == (None, 4, 4, 1)
        assert model.output_shape == (None, 3)
        assert not model.compiled


def test_a_sequential_model_without_an_input_gets_that_of_the_images(hp):
    def build(hp):
        model = keras.Sequential([layers.Flatten(), layers.Dense(3, activation="softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        return model

    model = build_user_model(build, hp)
    assert model.input_shape == (None, 4, 4, 1)
    assert model.compiled


def test_the_seed_decides_the_weights_and_names_do_not_count_up(hp):
    first, again, other = (build_user_model(small, hp, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.get_weights()[0], again.get_weights()[0])
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])
    assert [layer.name for layer in first.layers] == [layer.name for layer in other.layers]


def functional(input_shape, outputs):
    def build(hp):
        image = keras.Input(input_shape)
        x = layers.Flatten()(image)
        return keras.Model(image, [layers.Dense(n)(x) for n in outputs])

    return build


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda hp: None,
            r'returned NoneType; expected a keras\.Model: end it with "return model"',
        ),
        (lambda hp: "model", "returned str"),
        (lambda hp: Subclass(), "the subclass Subclass of"),
        (functional((8, 8, 1), [3]), r"takes \(None, 8, 8, 1\); expected \(None, 4, 4, 1\)"),
        (functional((4, 4, 1), [10]), r"gives \(None, 10\); expected \(None, 3\).*num_classes"),
        (functional((4, 4, 1), [3, 3]), r"gives \(None, 3\) and \(None, 3\)"),
        (lambda hp: 1 / 0, r"build\(hp\) raised ZeroDivisionError: division by zero"),
        (
            lambda hp: keras.Sequential([layers.Conv2D(2, 9), layers.Flatten(), layers.Dense(3)]),
            r"do not fit images of shape \(None, 4, 4, 1\)",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_a_sentence(hp, build, message):
    with pytest.raises(BuildError, match=message):
        build_user_model(build, hp)


def test_outputs_that_are_no_probabilities_are_said_before_they_are_trained(hp):
    def build(hp, loss=None):
        model = keras.Sequential([layers.Flatten(), layers.Dense(3, use_bias=False)])
        if loss is not None:
            model.build((None, 4, 4, 1))
            model.compile(loss=loss)
        return model

    with pytest.raises(BuildError, match=r'gives no probabilities.*activation="softmax"'):
        build_user_model(build, hp)
    # With a loss of its own it learns what it is to learn.
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert build_user_model(lambda hp: build(hp, own), hp).compiled


def test_the_cause_of_a_failed_build_is_kept(hp):
    with pytest.raises(BuildError) as raised:
        build_user_model(lambda hp: {}["width"], hp)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize(
    "error", [DefinitionError("twice"), optuna.TrialPruned(), KeyboardInterrupt(), BuildError("no")]
)
def test_what_was_meant_passes_through(hp, error):
    def build(hp):
        raise error

    with pytest.raises(type(error)) as raised:
        build_user_model(build, hp)
    assert raised.value is error
    assert ends_the_trial(error)


def test_only_a_hyper_model_with_a_fit_of_its_own_overrides_it():
    assert overrides_fit(WithFit())
    assert not overrides_fit(Plain())
    assert not overrides_fit(small)


class OfTheDocumentation(keras_tuner.HyperModel):
    """``conditional_scope``'s own example, with scopes inside scopes as its tuner explores them."""

    def build(self, hp):
        model = keras.Sequential()
        model.add(keras.Input(shape=(32, 32, 3)))
        model_type = hp.Choice("model_type", ["mlp", "cnn"])
        with hp.conditional_scope("model_type", ["mlp"]):
            if model_type == "mlp":
                model.add(layers.Flatten())
                num_layers = hp.Int("num_layers", 1, 2)
                for i in range(num_layers):
                    with hp.conditional_scope("num_layers", list(range(i + 1, 3))):
                        model.add(layers.Dense(hp.Int(f"units_{i}", 4, 12, step=4)))
        with hp.conditional_scope("model_type", ["cnn"]):
            if model_type == "cnn":
                sub_cnn = hp.Choice("sub_cnn", ["a", "b"])
                with hp.conditional_scope("sub_cnn", ["a"]):
                    if sub_cnn == "a":
                        model.add(layers.Conv2D(hp.Int("filters", 2, 4), 3))
                with hp.conditional_scope("sub_cnn", ["b"]):
                    if sub_cnn == "b":
                        model.add(layers.Conv2D(hp.Int("filters", 6, 8), 5))
                        dropout = hp.Boolean("dropout")
                        with hp.conditional_scope("dropout", [True]):
                            if dropout:
                                model.add(layers.Dropout(hp.Float("rate", 0.1, 0.5)))
                model.add(layers.GlobalAveragePooling2D())
        model.add(layers.Dense(10, activation="softmax"))
        return model


def test_a_hyper_model_with_scopes_in_scopes_is_built_as_keras_tuner_builds_it():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    reached = set()
    for _ in range(16):
        trial = study.ask()
        hp = HyperParameters(trial, input_shape=(32, 32, 3), num_classes=10)
        model = build_user_model(OfTheDocumentation(), hp)
        theirs = keras_tuner.HyperParameters()
        theirs.values = dict(hp.values)
        again = build_user_model(OfTheDocumentation(), _seen_as(theirs))
        assert theirs.values == hp.values
        assert [layer.get_config() for layer in model.layers] == [
            layer.get_config() for layer in again.layers
        ]
        reached.add(frozenset(hp.values))
    assert len(reached) == 5


def _seen_as(hp):
    hp.input_shape, hp.num_classes = (32, 32, 3), 10
    return hp
