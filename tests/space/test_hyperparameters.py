import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosearch.errors import DefinitionError
from autosearch.space.hyperparameters import HyperParameters

optuna.logging.set_verbosity(optuna.logging.WARNING)


def new_study(seed: int = 0) -> optuna.Study:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


class NestedModel(keras_tuner.HyperModel):
    """Keras Tuner's own example of conditional scopes, one level deeper."""

    def build(self, hp: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"layers": []}
        model_type = hp.Choice("model_type", ["mlp", "cnn"])
        with hp.conditional_scope("model_type", ["mlp"]):
            units = hp.Int("units", 8, 32, step=8)
            if model_type == "mlp":
                made["layers"].append(("dense", units))
        with hp.conditional_scope("model_type", ["cnn"]):
            filters = hp.Int("units", 2, 64, step=2, sampling="log")
            pooling = hp.Choice("pooling", ["max", "none"])
            with hp.conditional_scope("pooling", ["max"]):
                size = hp.Int("pool_size", 2, 4)
                if model_type == "cnn" and pooling == "max":
                    made["layers"].append(("pool", size))
            with hp.name_scope("head"):
                dropout = hp.Boolean("dropout")
                rate = hp.Float(
                    "rate", 0.1, 0.5, step=0.1, parent_name="dropout", parent_values=[True]
                )
            if model_type == "cnn":
                made["layers"].append(("convolution", filters))
                made["dropout"] = rate if dropout else None
        made["learning_rate"] = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
        return made


def test_a_hypermodel_with_nested_conditional_scopes_runs_unchanged() -> None:
    study = new_study()
    seen: set[frozenset[str]] = set()
    for _ in range(60):
        trial = study.ask()
        hp = HyperParameters(trial)
        made = NestedModel().build(hp)
        seen.add(frozenset(trial.params))
        if hp["model_type"] == "mlp":
            assert set(hp.values) == {"model_type", "units", "learning_rate"}
            assert made["layers"] == [("dense", hp["units"])]
            assert hp["units"] in (8, 16, 24, 32)
            assert "pooling" not in hp
        else:
            assert hp["units"] in (2, 4, 8, 16, 32, 64)
            assert ("pool_size" in hp) == (hp["pooling"] == "max")
            assert ("head/rate" in hp) == hp["head/dropout"]
            assert made["dropout"] == hp.values.get("head/rate")
        study.tell(trial, 0.0)
    common = {"model_type", "learning_rate"}
    cnn = {
        *common,
        "units[model_type=cnn]",
        "pooling[model_type=cnn]",
        "head/dropout[model_type=cnn]",
    }
    size = "pool_size[model_type=cnn,pooling=max]"
    rate = "head/rate[model_type=cnn,head/dropout=True]"
    assert seen == {
        frozenset({*common, "units[model_type=mlp]"}),
        frozenset(cnn),
        frozenset({*cnn, size}),
        frozenset({*cnn, rate}),
        frozenset({*cnn, size, rate}),
    }


def test_the_same_hypermodel_declares_and_defaults_to_what_keras_tuner_does() -> None:
    ours, theirs = HyperParameters(), keras_tuner.HyperParameters()
    assert NestedModel().build(ours) == NestedModel().build(theirs)
    assert ours.values == theirs.values
    assert sorted(p.name for p in ours.space) == sorted(p.name for p in theirs.space)
    for name in {p.name for p in theirs.space}:
        assert ours.is_active(name) == theirs.is_active(name)
        assert (name in ours) == (name in theirs)


@given(
    model_type=st.sampled_from(["mlp", "cnn"]),
    pooling=st.sampled_from(["max", "none"]),
    dropout=st.booleans(),
)
def test_given_the_same_values_both_activate_the_same_parameters(
    model_type: str, pooling: str, dropout: bool
) -> None:
    theirs = keras_tuner.HyperParameters()
    theirs.values = {"model_type": model_type}
    if model_type == "cnn":
        theirs.values |= {"pooling": pooling, "head/dropout": dropout}
    fixed = {
        "model_type": model_type,
        "units[model_type=mlp]": 8,
        "units[model_type=cnn]": 0,
        "pooling[model_type=cnn]": pooling,
        "pool_size[model_type=cnn,pooling=max]": 2,
        "head/dropout[model_type=cnn]": dropout,
        "head/rate[model_type=cnn,head/dropout=True]": 0.1,
        "learning_rate": 1e-4,
    }
    ours = HyperParameters(optuna.trial.FixedTrial(fixed))
    assert NestedModel().build(ours) == NestedModel().build(theirs)
    assert ours.values == theirs.values


@pytest.mark.parametrize("tunable", [True, False])
def test_a_hypermodel_that_is_not_tunable_keeps_its_parameters_to_itself(tunable: bool) -> None:
    trial = new_study().ask()
    hp = HyperParameters(trial)
    made = NestedModel(tunable=tunable).build(hp)
    assert bool(hp.values) is tunable
    assert bool(trial.params) is tunable
    if not tunable:
        assert made["layers"] == [("dense", 8)]


def test_keras_tuners_own_image_augmentation_builds() -> None:
    trial = new_study().ask()
    hp = HyperParameters(trial)
    model = keras_tuner.applications.HyperImageAugment(input_shape=(8, 8, 1)).build(hp)
    assert model.output_shape == (None, 8, 8, 1)
    assert hp.values == trial.params


def test_a_plain_if_makes_a_space_conditional() -> None:
    study = new_study()
    for _ in range(20):
        trial = study.ask()
        hp = HyperParameters(trial)
        with hp.name_scope("net"):
            kind = hp.Choice("kind", ["small", "large"])
            if kind == "large":
                hp.Int("layers", 2, 4)
        assert ("net/layers" in hp) == (kind == "large")
        assert trial.params == hp.values
        study.tell(trial, 0.0)
    assert len({frozenset(t.params) for t in study.trials}) == 2


def test_stored_parameters_give_the_same_configuration_again() -> None:
    study = new_study()
    for _ in range(25):
        trial = study.ask()
        hp = HyperParameters(trial)
        made = NestedModel().build(hp)
        again = HyperParameters(trial)
        assert NestedModel().build(again) == made
        frozen = study.trials[-1]
        resumed = HyperParameters(optuna.trial.FixedTrial(frozen.params))
        assert NestedModel().build(resumed) == made
        assert resumed.values == again.values == hp.values
        study.tell(trial, 0.0)


def test_enqueued_parameters_repeat_a_configuration_in_another_study() -> None:
    first, second = new_study(1), new_study(2)
    for _ in range(25):
        hp = HyperParameters(first.ask())
        hp.Int("reversed", 1, 90, sampling="reverse_log")
        made = NestedModel().build(hp)
        second.enqueue_trial(dict(hp.trial_params))
        again = HyperParameters(second.ask())
        again.Int("reversed", 1, 90, sampling="reverse_log")
        assert NestedModel().build(again) == made
        assert again.values == hp.values


def test_defaults_can_be_enqueued() -> None:
    def space(hp: HyperParameters) -> None:
        hp.Int("log", 2, 32, step=2, sampling="log", default=8)
        hp.Int("reversed", 1, 90, sampling="reverse_log", default=70)
        hp.Float("plain", 0, 1, default=0.25)
        hp.Choice("choice", ["a", "b"], default="b")
        hp.Choice("nothing", [1, None])
        hp.Boolean("flag", default=True)
        hp.Fixed("fixed", 3)

    defaults = HyperParameters()
    space(defaults)
    assert defaults.values == {
        "log": 8,
        "reversed": 70,
        "plain": 0.25,
        "choice": "b",
        "nothing": None,
        "flag": True,
        "fixed": 3,
    }
    study = new_study()
    study.enqueue_trial(dict(defaults.trial_params))
    sampled = HyperParameters(study.ask())
    space(sampled)
    assert sampled.values == defaults.values
    assert sampled.trial_params["log"] == 2
    assert "fixed" not in sampled.trial_params


def test_a_name_used_twice_with_one_range_has_one_value() -> None:
    trial = new_study().ask()
    hp = HyperParameters(trial)
    values = {hp.Int("units", 1, 1000) for _ in range(5)}
    assert len(values) == 1
    assert hp.get("units") == hp["units"] == values.pop()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda hp: hp.Int("units", 1, 20), "whole numbers 1 to 10, then whole numbers 1 to 20"),
        (lambda hp: hp.Float("units", 1, 10), "whole numbers 1 to 10, then numbers 1.0 to 10.0"),
        (lambda hp: hp.Int("units", 1, 10, step=3), "then whole numbers 1 to 10, step 3"),
        (lambda hp: hp.Int("units", 1, 10, sampling="log"), "then whole numbers 1 to 10, log"),
        (lambda hp: hp.Choice("units", [1, 10]), r"then choices \[1, 10\]"),
        (lambda hp: hp.Fixed("units", 3), "then the fixed value 3"),
    ],
)
def test_a_name_used_twice_with_different_ranges_is_an_error(
    second: Callable[[HyperParameters], Any], message: str
) -> None:
    hp = HyperParameters(new_study().ask())
    hp.Int("units", 1, 10)
    with pytest.raises(DefinitionError, match=f"'units' is used twice .*{message}"):
        second(hp)


def test_an_inactive_range_is_held_to_its_first_use_too() -> None:
    hp = HyperParameters()
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["b"]):
        assert hp.Int("units", 1, 10) is None
        assert hp.Int("units", 1, 10) is None
        with pytest.raises(DefinitionError, match="used twice"):
            hp.Int("units", 1, 20)


def test_two_active_branches_share_a_name_only_if_they_share_the_range() -> None:
    hp = HyperParameters(new_study().ask())
    hp.Choice("kind", ["a"])
    with hp.conditional_scope("kind", ["a", "b"]):
        units = hp.Int("units", 1, 1000)
    with hp.conditional_scope("kind", ["a"]):
        assert hp.Int("units", 1, 1000) == units
    with (
        hp.conditional_scope("kind", ["a", "c"]),
        pytest.raises(DefinitionError, match="used twice"),
    ):
        hp.Int("units", 5, 6)


def test_asking_for_a_value_says_why_there_is_none() -> None:
    hp = HyperParameters()
    hp.Choice("kind", ["a", "b"])
    hp.Int("units", 1, 10, parent_name="kind", parent_values=["b"])
    assert hp.is_active("kind")
    assert not hp.is_active("units")
    assert not hp.is_active("nothing")
    assert [hp.is_active(p) for p in hp.space] == [True, False]
    with pytest.raises(ValueError, match="units is currently inactive"):
        hp.get("units")
    with pytest.raises(KeyError, match="layers does not exist"):
        hp["layers"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda hp: hp.Int("x", 5, 2), "low 5 is above high 2"),
        (lambda hp: hp.Float("x", 0.0, 1.0, sampling="log"), "needs a low above 0"),
        (lambda hp: hp.Choice("x", []), "'x': the list of choices is empty"),
        (lambda hp: hp.Choice("x", "abc"), "'x': write the choices as a list, not 'abc'"),
        (lambda hp: hp.Choice("x", [1, 2], default=3), "'x': default 3 is not one of"),
        (lambda hp: hp.Choice("x", [1, True]), "'x': the choices 1 and True are equal in Python"),
        (
            lambda hp: hp.Choice("x", [(1, 2)]),
            r"str, bool or None, not \(1, 2\)",
        ),
        (lambda hp: hp.Boolean("x", default="no"), "default must be True or False, not 'no'"),
        (lambda hp: hp.Fixed("x", [1]), r"'x': a value may be .* not \[1\]"),
        (lambda hp: hp.Fixed("x", float("nan")), "'x': nan is not finite"),
        (lambda hp: hp.Int("x", 1, 2, parent_name="up", parent_values=[1]), "'up', ….: no such"),
        (lambda hp: hp.Int("x", 1, 2, parent_name="kind", parent_values=[]), "at least one value"),
        (
            lambda hp: hp.Choice("kind", ["a"], parent_name="kind", parent_values=["a"]),
            "inside its own conditional scope",
        ),
    ],
)
def test_a_wrong_parameter_is_refused_in_one_sentence(
    wrong: Callable[[HyperParameters], Any], message: str
) -> None:
    hp = HyperParameters(new_study().ask())
    hp.Choice("kind", ["a", "b"])
    with pytest.raises(DefinitionError, match=message) as caught:
        wrong(hp)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            lambda hp: hp.Choice("x", [1, 2]),
            lambda hp: hp.Choice("x", [1, 2, 3]),
            r"'x' now has choices \[1, 2, 3\], but this study began with other ones",
        ),
        (
            lambda hp: hp.Int("x", 1, 2),
            lambda hp: hp.Int("x", 1, 2, sampling="log"),
            "'x' now has whole numbers 1 to 2, log, but this study began with a range of another",
        ),
        (
            lambda hp: hp.Int("x", 1, 2),
            lambda hp: hp.Float("x", 1, 2),
            "'x' now has numbers 1.0 to 2.0, but this study began with a range of another kind",
        ),
    ],
)
def test_a_study_keeps_the_choices_that_it_began_with(
    before: Callable[[HyperParameters], Any],
    after: Callable[[HyperParameters], Any],
    message: str,
) -> None:
    study = optuna.create_study(storage="sqlite://")
    trial = study.ask()
    before(HyperParameters(trial))
    study.tell(trial, 0.0)
    with pytest.raises(DefinitionError, match=message):
        after(HyperParameters(study.ask()))


def test_a_name_stays_within_the_databases_column() -> None:
    trial = optuna.create_study(storage="sqlite://").ask()
    hp = HyperParameters(trial)
    hp.Int("layers", 1, 300)
    with hp.conditional_scope("layers", list(range(1, 301))):
        hp.Int("units", 1, 8)
    assert hp["units"] in range(1, 9)
    assert all(len(name) <= 512 for name in trial.params)


def test_values_can_be_written_as_json() -> None:
    hp = HyperParameters(new_study().ask())
    hp.Int("a", np.int64(1), np.int64(9), step=np.int64(2))
    hp.Float("b", np.float32(0.5), 1)
    hp.Choice("c", [np.float64(0.5)])
    hp.Choice("d", np.array([3]))
    hp.Choice("e", [None, "x", 2, True])
    hp.Fixed("f", np.str_("text"))
    assert json.loads(json.dumps(hp.values)) == hp.values
    plain = (int, float, str, bool, type(None))
    assert all(type(value) in plain for value in hp.values.values())


def test_a_build_can_ask_for_the_shape_of_its_data() -> None:
    hp = HyperParameters(input_shape=(8, 8, 1), num_classes=10)
    assert hp.copy().input_shape == (8, 8, 1)
    hp.num_classes = 3
    assert hp.copy().num_classes == 3


def test_the_package_loads_neither_tensorflow_nor_keras_nor_optuna() -> None:
    code = (
        "import sys, autosearch.space; "
        "print({'tensorflow', 'keras', 'optuna', 'keras_tuner'} & set(sys.modules))"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert shown.stdout.strip() == "set()"
