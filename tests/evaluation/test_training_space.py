import json
import math

import keras
import keras_tuner
import pytest
from lone_trial import LoneTrial

from autosearch.data import Digits
from autosearch.errors import DefinitionError
from autosearch.evaluation.pipeline import KerasEvaluator
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Quantization,
    SearchSpace,
    Training,
)
from autosearch.study import Study
from autosearch.values import MEASURED_METRICS, Budget, maximize


def evaluate(trial=None, epochs=1, images=192, **parts):
    space = SearchSpace(
        **{
            "preprocessing": Preprocessing(size=8, color="greyscale"),
            "architecture": CNN(stages=1, width=8, blocks_per_stage=1, kernel_size=3,
                                block="plain", dropout=0.0),
            "training": Training(epochs=epochs, optimizer="adam", learning_rate=0.01,
                                 schedule="constant", batch_size=32),
            "quantization": Quantization("float32"),
            **parts,
        }
    )  # fmt: skip
    study = Study(
        name="one",
        dataset=Digits(),
        space=space,
        objectives=[maximize("balanced_accuracy")],
        budget=Budget(trials=1),
    )
    return KerasEvaluator(study, max_images=images).evaluate(trial or LoneTrial())


def test_a_candidate_has_every_metric_and_the_figures_of_each_class():
    trial = LoneTrial()
    (candidate,) = evaluate(trial)
    assert set(candidate.metrics) == set(MEASURED_METRICS)
    empty = {name for name, value in candidate.metrics.items() if value is None}
    assert empty == {"worst_group_accuracy"}  # images without groups
    assert all(math.isfinite(candidate.metrics[name]) for name in set(MEASURED_METRICS) - empty)
    assert candidate.artifact in trial.artifacts
    conditions = json.loads(json.dumps(candidate.conditions))
    per_class, confusion = conditions["per_class"], conditions["confusion"]
    supports = [figures["support"] for figures in per_class.values()]
    assert sum(supports) == conditions["num_validation_images"]
    assert supports == [sum(row) for row in confusion]
    right = sum(confusion[index][index] for index in range(10))
    assert candidate.metrics["accuracy"] == pytest.approx(right / sum(supports))
    recalls = [figures["recall"] for figures in per_class.values()]
    assert candidate.metrics["worst_class_recall"] == min(recalls)
    assert candidate.metrics["balanced_accuracy"] == pytest.approx(sum(recalls) / 10)


@pytest.mark.parametrize(
    "method", ["balanced", "effective_number", "focal", "oversample", "logit_adjustment"]
)
def test_every_weighting_trains_and_leaves_the_exported_graph_alone(method):
    trial, plain = LoneTrial(), LoneTrial()
    training = Training(epochs=1, optimizer="adam", learning_rate=0.01, schedule="constant",
                        batch_size=32, label_smoothing=0.1)  # fmt: skip
    (candidate,) = evaluate(trial, weighting=ClassWeighting(method=method), training=training)
    assert math.isfinite(trial.epochs[0]["train_loss"])
    if method == "focal":
        (other,) = evaluate(plain, training=training)
        assert candidate.metrics["size_bytes"] == other.metrics["size_bytes"]


def compiled(hp):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("method", ["focal", "logit_adjustment"])
def test_a_loss_of_the_users_is_not_replaced(method):
    with pytest.raises(DefinitionError, match=f'"{method}" would replace; leave that out'):
        evaluate(architecture=compiled, weighting=ClassWeighting(method=method))


@pytest.mark.parametrize("method", ["balanced", "oversample"])
def test_a_model_that_the_user_compiled_can_be_weighted(method):
    trial = LoneTrial()
    evaluate(trial, architecture=compiled, weighting=ClassWeighting(method=method))
    assert len(trial.epochs) == 1


class FewWords(keras_tuner.HyperModel):
    def build(self, hp):
        return compiled(hp)

    def fit(self, hp, model, x, y=None, validation_data=None, epochs=1, callbacks=(), verbose=0):
        return model.fit(x, y, epochs=epochs, callbacks=callbacks, verbose=verbose)


class WeightsToo(FewWords):
    def fit(self, hp, model, x, y=None, class_weight=None, **kwargs):
        assert len(class_weight) == 10
        return super().fit(hp, model, x, y, **kwargs)


def test_a_fit_of_the_users_that_takes_no_class_weights_is_told_what_to_add():
    weighting = ClassWeighting(method="balanced")
    words = r'fit of "few_words" does not take class_weight.+add \*\*kwargs'
    with pytest.raises(DefinitionError, match=words):
        evaluate(architecture=FewWords(), weighting=weighting)
    trial = LoneTrial()
    evaluate(architecture=FewWords())
    evaluate(trial, architecture=WeightsToo(), weighting=weighting)
    assert len(trial.epochs) == 1


@pytest.mark.parametrize(
    "words",
    [
        {"vertical_flip": True, "shift": 0.1, "rotation": 10.0, "zoom": 0.1, "erasing": 0.3},
        {"policy": "randaugment", "mixup": 0.4, "cutmix": 1.0, "cutmix_probability": 0.5},
    ],
    ids=["layers", "randaugment and mixtures"],
)
@pytest.mark.parametrize("method", ["none", "balanced", "logit_adjustment"])
def test_augmentations_train_with_and_without_weighting(words, method):
    trial = LoneTrial()
    (candidate,) = evaluate(
        trial, augmentation=Augmentation(**words), weighting=ClassWeighting(method=method)
    )
    assert math.isfinite(trial.epochs[0]["train_loss"])
    assert candidate.metrics["size_bytes"] > 0


def test_a_sparse_loss_of_the_users_cannot_take_mixtures():
    with pytest.raises(DefinitionError, match="compile the model with categorical_crossentropy"):
        evaluate(architecture=compiled, augmentation=Augmentation(mixup=0.2))
