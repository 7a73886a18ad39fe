"""Whole trials: the default evaluator, with the built-in networks and with a user's own."""

from pathlib import Path

import keras
import keras_tuner
import numpy as np
import optuna
import pytest
from lone_trial import LoneTrial
from typer.testing import CliRunner

import autosearch
from autosearch import (
    Budget,
    ParetoPruner,
    SearchSpace,
    Study,
    Target,
    TrainOn,
    at_most,
    maximize,
    minimize,
)
from autosearch.cli.main import app
from autosearch.data import Dataset
from autosearch.errors import DefinitionError, NothingTrainedError, StudyError
from autosearch.evaluation.latency import significant
from autosearch.evaluation.pipeline import KerasEvaluator
from autosearch.search.check import check_study
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    Preprocessing,
    Pretrained,
    Quantization,
    Training,
)
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.search_space import RandomTrial
from autosearch.values import TrialState

STUDIES = Path(__file__).parents[2] / "studies"


class Stripes(Dataset):
    """Which third of the image is bright; the third class is rare."""

    name = "stripes"
    classes = ("top", "middle", "bottom")

    def load(self, split):
        generator = np.random.default_rng(["train", "validation", "test"].index(split))
        labels = np.arange(48, dtype=np.int64) % 3
        labels[generator.permutation(48)[:8]] = 0
        images = generator.integers(0, 120, (48, 9, 9, 1), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[3 * label : 3 * label + 3] += 130
        return images, labels


class InTurn(optuna.samplers.RandomSampler):
    """Takes the choices of one parameter in turn, and the others at random."""

    def __init__(self, name):
        super().__init__(seed=0)
        self._name = name

    def sample_independent(self, study, trial, param_name, param_distribution):
        if param_name == self._name:
            return param_distribution.choices[trial.number % len(param_distribution.choices)]
        return super().sample_independent(study, trial, param_name, param_distribution)


def network(hp, width=4):
    image = keras.Input(hp.input_shape)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(width, 3, activation="relu")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(image, keras.layers.Dense(hp.num_classes, activation="softmax")(x))


def study_of(architecture, *, trials=1, epochs=1, **parts):
    words = {
        "preprocessing": Preprocessing(size=9, color="greyscale"),
        "training": Training(epochs=epochs, optimizer="adam", learning_rate=0.01, batch_size=16),
        "quantization": Quantization("float32"),
    }
    words.update(
        {name: parts.pop(name) for name in list(parts) if name in SearchSpace.model_fields}
    )
    return Study(
        name="own",
        dataset=Stripes(),
        space=SearchSpace(architecture=architecture, **words),
        budget=Budget(trials=trials),
        **{"objectives": [maximize("accuracy"), minimize("size_bytes")], **parts},
    )


@pytest.fixture
def run(tmp_path):
    def run(study, seed=0):
        return autosearch.run(study, storage=f"sqlite:///{tmp_path / 'own.db'}", seed=seed)

    return run


def view_of(tmp_path):
    return autosearch.open_study("own", storage=f"sqlite:///{tmp_path / 'own.db'}")


def test_an_uncompiled_model_is_compiled_by_the_study_which_samples_how(run):
    seen = {}

    def build(hp):
        model = network(hp, hp.Int("width", 2, 4))
        seen.update(shape=hp.input_shape, classes=hp.num_classes)
        return model

    view = run(study_of(build))
    (config,) = view.trials_frame()["config"]
    assert seen == {"shape": (9, 9, 1), "classes": 3}
    assert config["width"] in (2, 3, 4)
    assert {"training/learning_rate", "training/optimizer", "training/schedule"} <= set(config)


def test_a_compiled_model_keeps_its_optimizer_and_sees_float32_pixels_0_to_255(run):
    seen = []

    class Spy(keras.Model):
        def train_step(self, data):
            pixels, labels = data
            seen.append(
                (pixels.dtype.name, float(np.min(pixels)), float(np.max(pixels)), labels.dtype)
            )
            assert isinstance(self.optimizer, keras.optimizers.RMSprop)
            return super().train_step(data)

    def build(hp):
        plain = network(hp)
        model = Spy(plain.inputs, plain.outputs)
        rate = hp.Float("rate", 1e-3, 1e-2, sampling="log")
        model.compile(
            keras.optimizers.RMSprop(rate),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            run_eagerly=True,
        )
        return model

    view = run(study_of(build))
    (trial,) = view.trials_frame().to_dict("records")
    assert trial["state"] == "complete", trial["traceback"]
    assert {name for name in trial["config"] if name.startswith("training/")} == {
        "training/batch_size"
    }
    assert {dtype for dtype, *_ in seen} == {"float32"}
    assert min(low for _, low, *_ in seen) < 10
    assert 200 < max(high for _, _, high, _ in seen) <= 255
    assert all(dtype.is_integer for *_, dtype in seen)


class Tuned(keras_tuner.HyperModel):
    """As Keras Tuner's guides write it: scopes within scopes, and a ``fit`` of its own."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def build(self, hp):
        kind = hp.Choice("kind", ["narrow", "wide"])
        with hp.conditional_scope("kind", ["narrow"]):
            narrow = hp.Int("width", 2, 3)
        with hp.conditional_scope("kind", ["wide"]):
            wide = hp.Int("width", 6, 8)
            has_bias = hp.Boolean("has_bias")
            with hp.conditional_scope("has_bias", [True]):
                hp.Float("bias", 0.0, 1.0)
        del has_bias
        model = network(hp, narrow if kind == "narrow" else wide)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    def fit(self, hp, model, *args, **kwargs):
        self.calls.append((hp.get("kind"), sorted(kwargs), kwargs["x"].dtype, kwargs["x"].max()))
        return model.fit(*args, batch_size=hp.Choice("batch", [8, 16]), **kwargs)


def test_a_hypermodel_runs_unchanged_and_its_fit_is_called(run):
    tuned = Tuned()
    view = run(study_of(tuned, trials=2, sampler=InTurn("kind")))
    trials = view.trials_frame()
    assert list(trials["state"]) == ["complete"] * 2
    assert [kind for kind, *_ in tuned.calls] == ["narrow", "wide"]
    for (kind, words, dtype, largest), config in zip(tuned.calls, trials["config"], strict=True):
        assert words == ["callbacks", "epochs", "validation_data", "verbose", "x", "y"]
        assert (dtype, largest > 200) == (np.float32, True)
        assert config["kind"] == kind
        assert config["batch"] in (8, 16)
        assert config["width"] in ((2, 3) if kind == "narrow" else (6, 7, 8))
        # What is not active is not part of the configuration.
        assert ("has_bias" in config) == (kind == "wide")
        assert ("bias" in config) == (config.get("has_bias") is True)
    assert len(view.epochs_frame()) == 2


class Longer(Tuned):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, **{**kwargs, "epochs": hp.Int("epochs", 2, 4)})


def test_a_fit_of_the_users_says_by_itself_how_long_it_trains(run):
    view = run(study_of(Longer(), trials=2, sampler=InTurn("kind")))
    for trial in view.trials_frame().to_dict("records"):
        assert trial["facts"]["num_epochs"] == trial["config"]["epochs"]


def test_of_a_list_of_architectures_one_is_sampled(run):
    architectures = [network, Tuned(), CNN(stages=1, width=4, block="plain")]
    trials = run(study_of(architectures, trials=3, sampler=InTurn("architecture"))).trials_frame()
    assert list(trials["state"]) == ["complete"] * 3
    chosen = [config["architecture"] for config in trials["config"]]
    assert chosen == ["network", "tuned", "cnn"]
    for name, config in zip(chosen, trials["config"], strict=True):
        assert ("kind" in config) == (name == "tuned")
        assert ("architecture/stages" in config) == (name == "cnn")
        assert ("training/learning_rate" in config) == (name != "tuned")


def test_a_name_with_two_ranges_stops_the_study_and_is_named(run, tmp_path):
    def build(hp):
        return network(hp, hp.Int("width", 2, 4) + hp.Int("width", 2, 8))

    with pytest.raises(DefinitionError, match="parameter 'width' is used twice with different"):
        run(study_of(build, trials=5))
    (trial,) = view_of(tmp_path).trials_frame().to_dict("records")
    assert trial["state"] == "failed"


def test_a_trial_that_raises_or_diverges_is_recorded_and_the_search_goes_on(run):
    def build(hp):
        case = hp.Choice("case", ["good", "raises", "diverges"])
        if case == "raises":
            raise ValueError("no such network")
        model = network(hp)
        rate = 1e30 if case == "diverges" else 0.01
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    trials = run(study_of(build, trials=2, sampler=InTurn("case"))).trials_frame()
    good, raises, diverges, again = trials.to_dict("records")
    assert [good["state"], again["state"]] == ["complete"] * 2
    assert [raises["state"], diverges["state"]] == ["failed"] * 2
    assert raises["config"]["case"] == "raises"
    assert "no such network" in raises["error"]
    assert "ValueError: no such network" in raises["traceback"]
    assert "lower the learning rate" in diverges["error"]
    assert "TrainingError" in diverges["traceback"]


def test_if_the_first_five_trials_fail_the_study_stops_and_says_why(run, tmp_path):
    def build(hp):
        hp.Int("width", 2, 8)
        return "no network"

    with pytest.raises(NothingTrainedError, match=r"build\(hp\) returned str"):
        run(study_of(build, trials=20))
    assert list(view_of(tmp_path).trials_frame()["state"]) == ["failed"] * 5


def test_all_augmentation_and_class_weights_run(run):
    view = run(
        study_of(
            network,
            augmentation=Augmentation(
                horizontal_flip=True, shift=0.1, rotation=10, zoom=0.1, brightness=0.1, contrast=0.1
            ),
            weighting=ClassWeighting(method="balanced"),
        )
    )
    (trial,) = view.trials_frame().to_dict("records")
    assert trial["state"] == "complete", trial["traceback"]
    assert trial["config"]["weighting/method"] == "balanced"


class TestSplits(Stripes):
    """Tells which splits were read."""

    __test__ = False

    def __init__(self):
        self.read = []

    def load(self, split):
        self.read.append(split)
        return super().load(split)

    def fingerprint(self):
        return "0" * 64


def test_a_search_never_reads_the_test_split(run):
    dataset = TestSplits()
    study = study_of(network).model_copy(update={"dataset": dataset})
    run(study)
    assert set(dataset.read) == {"train", "validation"}


def test_what_breaks_every_scheme_is_not_trained(run):
    view = run(study_of(network, constraints=[at_most("parameters", 10)]))
    (trial,) = view.trials_frame().to_dict("records")
    assert trial["state"] == "infeasible"
    assert "train" not in trial["stage_seconds"]
    assert trial["violations"]["parameters ≤ 10"] > 0
    assert view.epochs_frame().empty


def random_trial(seed=0):
    return LoneTrial(HyperParameters(RandomTrial(seed)), seed)


def test_the_cost_before_training_is_that_of_the_files_after_it(run):
    """A bound of the exact size holds for a trained file, one byte less refuses it."""
    space = Quantization("float32", "int8")
    frame = run(study_of(network, quantization=space)).candidates_frame()
    for scheme, size in zip(frame["quantization"], frame["size_bytes"], strict=True):
        evaluator = KerasEvaluator(
            study_of(network, quantization=space, constraints=[at_most("size_bytes", size)])
        )
        plan = evaluator.plan(random_trial())
        assert evaluator.costs(plan, seed=3)[scheme]["size_bytes"] == size


def test_both_heads_of_the_worked_study_can_be_built():
    study = autosearch.load_study_file(STUDIES / "own_model.py")
    assert study.budget.trials == 10
    evaluator = KerasEvaluator(study)
    seen = set()
    for seed in range(30):
        plan = evaluator.plan(random_trial(seed))
        values = plan.hp.values
        if plan.architecture_name == "build":
            assert ("units" in values) == (values["head"] == "dense")
            assert ("dropout" in values) == (values.get("has_dropout") is True)
            assert not plan.is_compiled
            seen |= {values["head"], values.get("has_dropout")}
        if seen >= {"pooled", "dense", True, False}:
            return
    raise AssertionError(f"30 configurations showed only {seen}")


def test_a_latency_keeps_two_digits():
    assert [significant(value) for value in (0.0123, 1.26, 96.4)] == [0.012, 1.3, 96.0]


def test_a_trained_network_is_searched_beside_others(run, tmp_path):
    hp = HyperParameters()
    hp.input_shape, hp.num_classes = (12, 12, 1), 5
    network(hp).save(tmp_path / "old.keras")
    old = Pretrained(tmp_path / "old.keras", fine_tune_depth=0.5, rescaling="raw")
    study = study_of(
        [CNN(stages=1, width=4, block="plain"), old],
        trials=2,
        sampler=InTurn("architecture"),
        quantization=Quantization("float32", "int8"),
    )
    frame = run(study).trials_frame()
    assert list(frame["state"]) == ["complete", "complete"]
    first, second = frame["config"]
    assert (first["architecture"], second["architecture"]) == ("cnn", "pretrained")
    assert any("learning_rate_ratio" in name for name in second)
    ids = [row["candidate"] for row in run(study).candidates_frame().to_dict("records")]
    assert {"1-float32", "1-int8"} <= set(ids)


def test_weights_that_are_not_to_be_had_stop_the_study_at_its_first_trial(run, monkeypatch):
    def unreachable(**words):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    study = study_of(Pretrained("MobileNetV2"), trials=3, preprocessing=Preprocessing(size=32))
    with pytest.raises(StudyError, match="cannot be downloaded"):
        run(study)
    with pytest.raises(StudyError, match="name a local file"):
        check_study(study)


def test_trials_are_compared_by_costs_that_are_known_exactly_before_training(run):
    def build(hp):
        return network(hp, hp.Int("width", 2, 16))

    study = study_of(
        build,
        trials=4,
        epochs=2,
        pruner=ParetoPruner(eta=2),
        quantization=Quantization("float32", "int8"),
        objectives=[maximize("macro_f1"), minimize("size_bytes"), minimize("latency_ms")],
    )
    view = run(study)
    counts = view.progress().counts
    assert counts[TrialState.PRUNED] >= 1
    first = view.epochs_frame().query("epoch == 1").set_index("trial")["metrics"]
    assert len(first) == 4
    assert all({"macro_f1", "size_bytes", "latency_ms"} <= set(m) for m in first)
    told = view.candidates_frame().query("representative").set_index("trial")["size_bytes"]
    assert len(told) == counts[TrialState.COMPLETE]
    assert all(first[number]["size_bytes"] == size for number, size in told.items())


def test_what_is_on_the_front_is_trained_on_from_its_checkpoint(run, tmp_path):
    study = study_of(
        lambda hp: network(hp, hp.Int("width", 2, 16)),
        trials=4,
        epochs=4,
        # So slow that a network which is trained on stays what it was.
        training=Training(epochs=4, optimizer="adam", learning_rate=1e-9, batch_size=16),
        train_on=TrainOn(first_epochs=1, share=1.0),
    )
    view = run(study)
    assert view.progress().counts == {TrialState.COMPLETE: 4}
    trials = view.trials_frame().set_index("number")
    epochs = view.epochs_frame().set_index("trial")
    accuracy = view.candidates_frame().set_index("trial")["accuracy"]
    continued = {n: f["continues"] for n, f in trials["facts"].items() if "continues" in f}
    assert continued
    assert len({origin["trial"] for origin in continued.values()}) == len(continued)
    for number, facts in trials["facts"].items():
        origin = continued.get(number)
        told = epochs.loc[[number], "epoch"].tolist()
        if origin is None:
            assert told == [1]
            continue
        parent, before = origin["trial"], origin["epochs_before"]
        assert told == list(range(before + 1, before + 1 + facts["num_epochs"]))
        assert told[-1] <= 4
        assert trials.at[number, "config"] == trials.at[parent, "config"]
        assert accuracy[number] == accuracy[parent]
    shown = CliRunner().invoke(
        app,
        ["show", "own", f"{max(continued)}-float32", "--storage", f"sqlite:///{tmp_path}/own.db"],
    )
    assert f"from trial {continued[max(continued)]['trial']}, after" in shown.stdout


def test_for_a_microcontroller_only_what_its_runtime_runs_is_feasible_and_no_time_is_claimed(run):
    target = Target("microcontroller", flash_bytes=50_000, ram_bytes=20_000)
    study = study_of(network, quantization=Quantization("float16", "int8"), target=target)
    frame = run(study).candidates_frame().set_index("quantization")
    assert dict(frame["feasible"]) == {"float16": False, "int8": True}
    assert "TensorFlow Lite Micro" in frame.loc["float16", "reasons"]["memory_bytes"]
    assert 0 < frame.loc["int8", "memory_bytes"] <= 20_000
    assert frame["latency_ms"].isna().all()
    assert "macs stand in" in frame.loc["int8", "reasons"]["latency_ms"]
    assert set(frame["target"]) == {"microcontroller"}
    assert not frame["is_measured"].any()
    assert frame["target_description"].iloc[0]["ram_bytes"] == 20_000
