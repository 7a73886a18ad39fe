import keras
import numpy as np
import optuna
import pytest
import tensorflow as tf
from keras import layers

from autosearch.data import Digits
from autosearch.data.pipeline import training_batches
from autosearch.errors import TrainingError
from autosearch.evaluation import training
from autosearch.evaluation.losses import LossTerms
from autosearch.evaluation.metrics import classification_metrics
from autosearch.evaluation.training import compile_model, train, wants_one_hot
from autosearch.models.pretrained import FineTuning
from autosearch.space.training import TrainingConfig

IMAGES, LABELS = (part[:320] for part in Digits().load("train"))
VALIDATION = tuple(part[:200] for part in Digits().load("validation"))


def config(**words):
    return TrainingConfig(
        **{
            "epochs": 3,
            "optimizer": "adam",
            "learning_rate": 0.01,
            "schedule": "constant",
            "weight_decay": 0.0,
            "batch_size": 32,
            "label_smoothing": 0.0,
            **words,
        }
    )


def small_model(*, norm=False, compile_with=None, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 127.5, -1.0),
            layers.Flatten(),
            layers.Dense(32, activation="relu"),
            *([layers.BatchNormalization()] if norm else []),
            layers.Dense(10, activation="softmax"),
        ]
    )
    if compile_with is not None:
        model.compile(**compile_with)
    return model


def run(model=None, on_epoch=lambda result: None, validation=VALIDATION, **words):
    model = model if model is not None else small_model()
    settings = words.pop("config", config())
    user_compiled = words.get("user_compiled", False)
    batches = training_batches(
        IMAGES,
        LABELS,
        num_classes=10,
        batch_size=settings.batch_size,
        seed=0,
        one_hot=wants_one_hot(
            model, settings, user_compiled=user_compiled, terms=words.get("terms", LossTerms())
        ),
    )
    steps = -(-len(LABELS) // settings.batch_size)
    return train(
        model, batches, validation,
        config=settings, steps_per_epoch=steps, on_epoch=on_epoch, seed=0, **words,
    )  # fmt: skip


def accuracy_of(model):
    probabilities = model(VALIDATION[0].astype(np.float32), training=False).numpy()
    return float(np.mean(probabilities.argmax(axis=1) == VALIDATION[1]))


def test_it_learns_and_reports_every_epoch_as_it_ends():
    seen = []
    result = run(on_epoch=seen.append)
    assert tuple(seen) == result.epochs
    assert [epoch.epoch for epoch in seen] == [1, 2, 3]
    assert result.best.accuracy > 0.6
    for epoch in seen:
        assert 0 <= epoch.train_accuracy <= 1
        assert epoch.train_loss > 0
        assert epoch.validation_loss > 0
        assert epoch.seconds > 0
        assert epoch.learning_rate == pytest.approx(0.01)


def test_an_epoch_that_ends_within_an_execution_of_several_steps_has_no_more_of_them(monkeypatch):
    now, left = [0.0], []
    monkeypatch.setattr(training, "_KNOWN_AFTER_S", 0.0)
    monkeypatch.setattr(training.time, "perf_counter", lambda: now[0])
    between = training._BetweenSteps(2, 34, left.append)
    # A second a step, 32 at once: Keras names steps 31 and 63 of 34.
    for batch, second in ((31, 32.0), (63, 34.0), (31, 66.0), (63, 68.0)):
        now[0] = second
        between.on_train_batch_end(batch)
    assert left == [34.0, 2.0, 0.0]


def test_it_says_how_long_it_still_takes_and_can_be_ended_by_that(monkeypatch):
    monkeypatch.setattr(training, "_KNOWN_AFTER_S", 0.0)
    left = []
    run(on_steps=left.append, config=config(epochs=5))
    # An execution an epoch, of which the first tells nothing and the last leaves nothing.
    assert len(left) == 4
    assert left[-1] == 0
    assert all(seconds > 0 for seconds in left[:-1])

    def ends(seconds):
        raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        run(on_steps=ends, config=config(epochs=5))


def test_how_long_a_users_own_loop_takes_is_not_known(monkeypatch):
    monkeypatch.setattr(training, "_KNOWN_AFTER_S", 0.0)
    left = []
    result = run(
        fit=lambda model, **words: model.fit(**{**words, "epochs": 2}),
        on_steps=left.append,
        config=config(epochs=20),
    )
    assert len(result.epochs) == 2
    assert left == []


def test_a_large_network_is_left_for_a_checkpoint_after_fewer_steps():
    wide = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(256, 3), layers.Conv2D(256, 3, padding="same"),
        layers.Flatten(), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    for model, steps, expected in ((small_model(), 100, 32), (small_model(), 7, 7), (wide, 100, 2)):
        compile_model(model, config(), steps)
        assert model.steps_per_execution == expected


def test_the_weights_of_the_best_epoch_are_left_in_the_model():
    kept = []
    model = small_model()

    def spoil(result):
        kept.append(model.get_weights())
        if result.epoch == 2:
            model.set_weights([np.zeros_like(weights) for weights in kept[0]])

    result = run(model, on_epoch=spoil)
    assert result.best is result.epochs[1]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[1], strict=True))
    assert accuracy_of(model) == result.best.accuracy


@pytest.mark.parametrize(("best_by", "number"), [("accuracy", 1), ("balanced_accuracy", 2)])
def test_the_best_epoch_is_that_of_the_figure_asked_for(best_by, number):
    validation = (np.zeros((9, 8, 8, 1), np.uint8), np.array([0, 0, 0, 0, 0, 0, 0, 1, 2]))
    validation[0][5:] = 255
    # To every image the answer 0, or to the white ones 2, of which one in four is right.
    always_0 = [np.zeros((64, 32)), np.zeros(32), np.zeros((32, 10)), np.eye(10)[0]]
    white_2 = [np.ones((64, 32)), np.zeros(32), np.outer(np.ones(32), np.eye(10)[2]), np.eye(10)[0]]

    def loop(model, callbacks, **_):
        # The rescaling makes black images negative, so that the ReLU stops them.
        for weights in (always_0, white_2, always_0):
            model.set_weights(weights)
            callbacks[0].on_epoch_end(0)

    result = run(fit=loop, validation=validation, best_by=best_by)
    assert [epoch.accuracy for epoch in result.epochs] == pytest.approx([7 / 9, 6 / 9, 7 / 9])
    balanced = [epoch.balanced_accuracy for epoch in result.epochs]
    assert balanced == pytest.approx([1 / 3, (5 / 7 + 1) / 3, 1 / 3])
    assert result.best.epoch == number


def test_by_its_loss_an_epoch_that_is_too_sure_is_not_the_best():
    validation = (np.zeros((9, 8, 8, 1), np.uint8), np.array([0] * 6 + [1] * 3))
    too_sure, unsure = (
        [np.zeros((64, 32)), np.zeros(32), np.zeros((32, 10)), np.eye(10)[place] * by]
        for place, by in ((0, 30.0), (1, 1.0))
    )

    def loop(model, callbacks, **_):
        for weights in (too_sure, unsure):
            model.set_weights(weights)
            callbacks[0].on_epoch_end(0)

    results = [
        run(fit=loop, validation=validation, best_by=by) for by in ("accuracy", "validation_loss")
    ]
    assert [result.best.epoch for result in results] == [1, 2]


def test_outputs_that_do_not_sum_to_1_are_ranked_by_the_log_loss_of_the_file():
    validation = (np.zeros((9, 8, 8, 1), np.uint8), np.array([0] * 6 + [1] * 3))
    # Both are right of the first class alone; a softmax of these outputs would prefer the second.
    outputs = [
        np.array([first, second, *[0.01] * 8]) for first, second in ((0.66, 0.33), (0.99, 0.02))
    ]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(),
                              layers.Dense(10, activation="sigmoid")])  # fmt: skip
    model.compile("adam", "binary_crossentropy")

    def loop(model, callbacks, **_):
        for output in outputs:
            model.set_weights([np.zeros((64, 10)), np.log(output / (1 - output))])
            callbacks[0].on_epoch_end(0)

    result = run(model, fit=loop, validation=validation, user_compiled=True)
    assert result.best.epoch == 1
    for epoch, output in zip(result.epochs, outputs, strict=True):
        metrics = classification_metrics(validation[1], np.tile(output, (9, 1)))
        assert epoch.validation_loss == pytest.approx(metrics["log_loss"], rel=1e-5)


def test_the_same_seed_trains_the_same_network():
    words = config(optimizer="adamw", weight_decay=1e-3, label_smoothing=0.1, schedule="cosine")
    first, again = (run(small_model(), config=words) for _ in range(2))
    for one, other in zip(first.epochs, again.epochs, strict=True):
        assert one.accuracy == other.accuracy
        assert one.validation_loss == pytest.approx(other.validation_loss, rel=1e-4)


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), ValueError("pruned"), OSError("io")])
def test_what_the_report_raises_reaches_the_caller_unchanged(error):
    cause = LookupError("why")

    def end(result):
        if result.epoch == 2:
            raise error from cause

    with pytest.raises(type(error)) as raised:
        run(on_epoch=end)
    assert raised.value is error
    assert error.__cause__ is cause


def test_a_loss_that_is_not_finite_names_the_epoch():
    with pytest.raises(TrainingError, match=r"in epoch 1; lower the learning rate"):
        run(config=config(optimizer="sgd", learning_rate=1e30))


def test_memory_that_runs_out_is_a_failed_trial():
    def fit(model, **_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    with pytest.raises(TrainingError, match="memory ran out in epoch 1 with batches of 32"):
        run(fit=fit)

    def validate(result):
        raise MemoryError("of 512 images at once")

    with pytest.raises(TrainingError, match="memory ran out in epoch"):
        run(on_epoch=validate)


@pytest.mark.parametrize(
    ("schedule", "last"),
    [("constant", 1e-2), ("cosine", 1e-4), ("exponential", 1e-4), ("cosine_warmup", 1e-4)],
)
def test_the_schedule_ends_where_it_should(schedule, last):
    model = small_model()
    compile_model(model, config(epochs=20, schedule=schedule), steps_per_epoch=10)
    model.optimizer.iterations.assign(200)
    assert float(model.optimizer.learning_rate) == pytest.approx(last, rel=0.01)
    if schedule == "cosine_warmup":
        model.optimizer.iterations.assign(20)
        assert float(model.optimizer.learning_rate) == pytest.approx(1e-2, rel=0.01)
        model.optimizer.iterations.assign(0)
        assert float(model.optimizer.learning_rate) == pytest.approx(1e-4, rel=0.01)


@pytest.mark.parametrize(
    ("name", "kind", "decay"),
    [
        ("adam", keras.optimizers.Adam, None),
        ("adamw", keras.optimizers.AdamW, 0.01),
        ("sgd", keras.optimizers.SGD, 0.01),
    ],
)
def test_the_model_is_compiled_as_the_configuration_says(name, kind, decay):
    model = small_model(norm=True)
    compile_model(model, config(optimizer=name, weight_decay=0.01), steps_per_epoch=10)
    assert type(model.optimizer) is kind
    assert model.optimizer.weight_decay == decay
    assert not model.jit_compile
    if decay is None:
        return
    decayed = [v.name for v in model.trainable_variables if model.optimizer._use_weight_decay(v)]
    assert decayed == ["kernel", "kernel"]


def test_class_weights_weigh_in_the_loss():
    weights = np.zeros(10)
    weights[3] = 10.0
    model = small_model()
    run(model, terms=LossTerms(class_weights=weights), config=config(learning_rate=0.03))
    probabilities = model(VALIDATION[0].astype(np.float32)).numpy()
    assert np.mean(probabilities.argmax(axis=1) == 3) == 1.0


def test_ties_count_for_the_lowest_class():
    model = small_model()
    model.layers[-1].trainable = False
    model.layers[-1].set_weights([np.zeros((32, 10)), np.zeros(10)])
    result = run(model, config=config(epochs=1))
    assert result.best.accuracy == np.mean(VALIDATION[1] == 0)
    assert result.best.validation_loss == pytest.approx(np.log(10))


@pytest.mark.parametrize(
    ("loss", "one_hot"),
    [
        ("sparse_categorical_crossentropy", False),
        ("categorical_crossentropy", True),
        (keras.losses.CategoricalCrossentropy(label_smoothing=0.1), True),
        (keras.losses.SparseCategoricalCrossentropy(), False),
        (keras.losses.kl_divergence, True),
        (["categorical_crossentropy"], True),
        (lambda labels, outputs: tf.reduce_mean(outputs), False),
    ],
)
def test_the_loss_of_a_compiled_model_decides_how_labels_are_given(loss, one_hot):
    model = small_model(compile_with={"optimizer": "adam", "loss": loss})
    assert wants_one_hot(model, config(), user_compiled=True) is one_hot


def test_label_smoothing_takes_one_hot_labels():
    model = small_model()
    assert wants_one_hot(model, config(label_smoothing=0.1), user_compiled=False)
    assert run(model, config=config(label_smoothing=0.1)).best.accuracy > 0.6


def test_a_model_that_the_user_compiled_keeps_its_optimizer_and_loss():
    optimizer = keras.optimizers.RMSprop(0.01)
    model = small_model(
        compile_with={
            "optimizer": optimizer,
            "loss": "categorical_crossentropy",
            "metrics": ["categorical_accuracy"],
        }
    )
    undecided = config(
        optimizer=None, learning_rate=None, schedule=None, weight_decay=None, label_smoothing=None
    )
    result = run(model, config=undecided, user_compiled=True)
    assert model.optimizer is optimizer
    assert model.loss == "categorical_crossentropy"
    assert result.best.accuracy > 0.6
    assert result.best.train_accuracy > 0.3


def test_batch_statistics_of_a_user_do_not_lag_behind():
    model = small_model(
        norm=True,
        compile_with={
            "optimizer": keras.optimizers.SGD(0.1),
            "loss": "sparse_categorical_crossentropy",
        },
    )
    result = run(model, user_compiled=True, config=config(epochs=2, batch_size=16))
    assert [epoch.accuracy > 0.6 for epoch in result.epochs] == [True, True]
    # 20 steps of momentum 0.99 would have brought the moving mean to a fifth of this.
    before_norm = keras.Model(model.inputs, model.layers[2].output)
    mean = before_norm(IMAGES.astype(np.float32)).numpy().mean(axis=0)
    assert np.allclose(model.layers[3].moving_mean, mean, atol=1e-3)
    assert model.layers[3].momentum == 0.99
    assert accuracy_of(model) == result.best.accuracy


def test_a_users_fit_gets_arrays_and_may_fix_batch_size_and_epochs():
    given = {}

    def fit(model, *args, **kwargs):
        given.clear()
        given.update(kwargs)
        return model.fit(*args, batch_size=40, epochs=2, **kwargs)

    model = small_model()
    result = run(model, fit=fit, train_arrays=(IMAGES, LABELS))
    assert len(result.epochs) == 2
    assert given["x"].dtype == np.float32
    assert given["x"].max() == 255
    assert given["y"].shape == (320,)
    assert set(given) == {"x", "y", "validation_data", "callbacks", "verbose"}
    assert accuracy_of(model) == result.best.accuracy


def test_a_users_fit_that_puts_back_other_weights_leaves_those_of_the_best_epoch():
    def fit(model, **words):
        first = model.get_weights()
        history = model.fit(**words)
        model.set_weights(first)  # As EarlyStopping(restore_best_weights=True) may.
        return history

    model = small_model()
    result = run(model, fit=fit, train_arrays=(IMAGES, LABELS), best_by="last")
    assert accuracy_of(model) == result.best.accuracy > 0.5


def test_a_users_fit_gets_batches_where_images_are_augmented():
    def fit(model, x, validation_data, epochs, callbacks, verbose):
        assert isinstance(x, tf.data.Dataset)
        assert epochs == 3
        model.fit(x, epochs=epochs, callbacks=callbacks, verbose=verbose)

    assert len(run(fit=fit).epochs) == 3


def test_a_users_own_loop_may_call_on_epoch_end_alone_or_nothing():
    def loop(model, x, y, callbacks, **_):
        for callback in callbacks:
            callback.set_model(model)
            callback.on_epoch_end(0, logs={"my_metric": 1.0})
            callback.on_epoch_end(0)

    result = run(fit=loop, train_arrays=(IMAGES, LABELS))
    assert [epoch.epoch for epoch in result.epochs] == [1, 2]
    assert result.best.train_loss is None

    assert len(run(fit=lambda model, **_: None).epochs) == 1


def test_a_users_fit_that_fails_is_a_failed_trial_and_says_why():
    def fit(model, **_):
        raise KeyError("learning")

    with pytest.raises(TrainingError, match="raised KeyError in epoch 1: 'learning'") as raised:
        run(fit=fit)
    assert isinstance(raised.value.__cause__, KeyError)


def test_a_users_fit_cannot_swallow_the_end_of_the_trial():
    def fit(model, **words):
        try:
            model.fit(words.pop("x"), **words)
        except Exception:
            return

    def end(result):
        raise ValueError("pruned")

    with pytest.raises(ValueError, match="pruned"):
        run(fit=fit, on_epoch=end)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_what_was_trained_before_takes_smaller_steps_and_the_head_does_not(optimizer):
    def moved(ratio):
        model = small_model()
        body, head = model.layers[2].kernel, model.layers[-1].kernel
        before = body.numpy(), head.numpy()
        one_step = config(epochs=1, batch_size=320, optimizer=optimizer)
        run(model, config=one_step, fine_tuning=FineTuning((body,), ratio))
        return body.numpy() - before[0], head.numpy() - before[1]

    whole, whole_head = moved(1.0)
    tenth, tenth_head = moved(0.1)
    np.testing.assert_allclose(tenth, whole / 10, atol=2e-6)
    np.testing.assert_allclose(tenth_head, whole_head, atol=2e-6)
    assert np.abs(whole).max() > 1e-4


def test_what_is_frozen_stays_as_it_was_normalization_included():
    model = small_model(norm=True)
    for layer in model.layers[:-1]:
        layer.trainable = False
    before = model.get_weights()
    run(model, fine_tuning=FineTuning((), 0.1))
    for old, new in zip(before[:-2], model.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(before[-2], model.get_weights()[-2])
