"""A study whose space has grown: accepted by name, and the trials so far go on teaching."""

from functools import partial

import optuna
import pytest

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.changes import is_growth
from autosearch.data import Digits
from autosearch.errors import ChangedDefinitionError, DefinitionError, TrialError
from autosearch.search.capacities import Capacities
from autosearch.search.engine import Engine
from autosearch.search.enqueueing import enqueue_config
from autosearch.search.finals import Finals, ReplayedTrial, run_finals
from autosearch.search.growth import GrownTrial
from autosearch.space import CNN, HyperParameters, Preprocessing, Quantization, Range, Training
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.configs import read_configs
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.values import Continuation


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def make_study(evaluator, *, sampler="tpe"):
    return Study(
        name="grown",
        evaluator=evaluator,
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        budget=Budget(trials=30),
        sampler=sampler,
    )


def figures(width, kind):
    return {"accuracy": 1 - 1 / width - (kind == "plain") * 0.1, "size_bytes": 100 * width}


def small(trial):
    hp = trial.hp
    kind = hp.Choice("kind", ["plain", "separable"])
    with hp.conditional_scope("kind", ["plain"]):
        hp.Choice("pooling", ["max", "stride"])
    hp.Fixed("activation", "relu")
    hp.Int("units", 8, 64, step=2, sampling="log")
    width = hp.Int("width", 4, 16)
    return figures(width, kind)


def large(trial):
    hp = trial.hp
    kind = hp.Choice("kind", ["residual", "separable", "plain"])
    with hp.conditional_scope("kind", ["plain"]):
        hp.Choice("pooling", ["average", "max", "stride"])
    hp.Choice("activation", ["hard_swish", "relu"])
    hp.Int("units", 4, 128, step=2, sampling="log")
    width = hp.Int("width", 2, 32)
    return figures(width, kind)


def optuna_trials(storage):
    return optuna.load_study(study_name="grown", storage=storage).trials


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "pareto", "random", "qmc"])
def test_a_study_with_more_choices_and_wider_ranges_goes_on(storage, sampler):
    autosearch.run(make_study(small, sampler=sampler), storage=storage, trials=12)
    view = autosearch.run(
        make_study(large, sampler=sampler), storage=storage, trials=20, accept_changes=True
    )
    configs = view.trials_frame()["config"]
    assert len(configs) == 32
    assert "residual" in {config["kind"] for config in configs[12:]}


def test_the_trials_so_far_have_the_parameters_of_the_grown_space(storage):
    view = autosearch.run(make_study(small, sampler="random"), storage=storage, trials=15)
    before = list(view.trials_frame()["config"])
    grown = make_study(large, sampler="random")
    autosearch.run(grown, storage=storage, trials=12, accept_changes=True)
    trials = optuna_trials(storage)
    assert len(before) == 15
    newest = {name: d for trial in trials[15:] for name, d in trial.distributions.items()}
    for trial, config in zip(trials, before, strict=False):
        assert trial.distributions == {name: newest[name] for name in trial.params}
        assert trial.params["kind"] == config["kind"]
        assert trial.params["width"] == config["width"]
        # Fixed then, one of several now.
        assert trial.params["activation"] == "relu"
        # To Optuna the index of a power: of 8 then, of 4 now.
        assert 4 * 2 ** trial.params["units"] == config["units"]
        assert trial.params.get("pooling[kind=plain]") == config.get("pooling")


def test_a_sampler_learns_from_the_trials_before(storage):
    def first(trial):
        return figures(trial.hp.Choice("width", list(range(2, 20))), "separable")

    def second(trial):
        return figures(trial.hp.Choice("width", list(range(1, 20))), "separable")

    def study(evaluator):
        return Study(
            name="grown",
            evaluator=evaluator,
            objectives=[maximize("accuracy")],
            budget=Budget(trials=100),
            sampler="tpe",
        )

    autosearch.run(study(first), storage=storage, trials=60)
    view = autosearch.run(study(second), storage=storage, trials=10, accept_changes=True)
    widths = [config["width"] for config in view.trials_frame()["config"][60:]]
    # Of ten random ones, fewer than two would be among the best three.
    assert sum(width >= 17 for width in widths) >= 4


def engine_of_grown(storage):
    """An engine that goes on with the larger space, and what it needs to start a trial."""
    autosearch.run(make_study(small, sampler="random"), storage=storage, trials=6)
    database = Database.open_to_write(storage)
    study = make_study(large, sampler="random")
    engine = Engine(study, database, seed=0)
    engine.redefine()
    recorder = Recorder(database, autosearch.open_study("grown", storage=storage).id)
    return study, database, engine, recorder


def hyperparameters(asked, engine):
    trial = GrownTrial(asked, engine)
    return HyperParameters(trial, before_asking=trial.prepare)


def test_what_is_trained_on_after_the_space_has_grown_is_what_its_parent_was(storage):
    _, _, engine, recorder = engine_of_grown(storage)
    before = read_configs(Database.open_to_read(storage), "grown", [2])[2]
    parent = Continuation(trial=2, keras_sha256="0" * 64, epochs_before=1, epochs=1)
    asked = engine.start_trial(
        recorder, recorder.start_worker(60.0), continue_from=lambda started, pending: parent
    )
    hp = hyperparameters(asked, engine)
    # Fixed when the parent was sampled; of many values the other engine would draw any.
    assert hp.Choice("activation", [*(f"other{n}" for n in range(50)), "relu"]) == "relu"
    # To Optuna an index, which would be that of half as many now.
    assert hp.Int("units", 4, 128, step=2, sampling="log") == before["units"]


def test_a_finalist_is_judged_as_what_it_was_before_the_space_has_grown(storage, monkeypatch):
    view = autosearch.run(make_study(small, sampler="random"), storage=storage, trials=3)
    before, judged = view.trials_frame()["config"][2], []

    def judge_fold(_evaluator, _dataset, trial, **_named):
        hp = trial.hp
        kind = hp.Choice("kind", ["residual", "separable", "plain"])
        units = hp.Int("units", 4, 128, step=2, sampling="log")
        judged.append((kind, hp.Choice("activation", ["hard_swish", "relu"]), units))
        with pytest.raises(TrialError, match="trial 2 has no value of parameter 'depth'"):
            hp.Int("depth", 1, 9)
        return {}

    monkeypatch.setattr("autosearch.evaluation.cross_validation.judge_fold", judge_fold)
    monkeypatch.setattr("autosearch.evaluation.cross_validation.refit", lambda *_, **__: [])
    monkeypatch.setattr(Finals, "finalists", lambda finals, view: [2])
    database = Database.open_to_write(storage)
    assert run_finals(
        Finals(
            num_folds=2, max_finalists=1, data_fingerprint="0" * 64, metric="accuracy",
            is_maximized=True,
        ),
        make_study(large),
        view,
        worker_id=None,
        evaluator=None,
        recorder=Recorder(database, view.id),
        artifacts=ArtifactStore.beside(database),
        seed=0,
        should_stop=lambda: False,
    )  # fmt: skip
    assert judged == [(before["kind"], "relu", before["units"])] * 2


def test_a_queued_configuration_is_evaluated_as_written_though_the_space_grew_meanwhile(storage):
    view = autosearch.run(make_study(small, sampler="random"), storage=storage, trials=6)
    config = {"units": view.trials_frame()["config"][0]["units"], "width": 9}
    number = enqueue_config(Database.open_to_write(storage), view, config)
    grown = make_study(large, sampler="random")
    view = autosearch.run(grown, storage=storage, trials=1, accept_changes=True)
    assert view.trials_frame()["config"][number].items() >= config.items()


def stepped(trial, *, low, high):
    return figures(trial.hp.Int("width", low, high, step=2, sampling="log"), "plain")


@pytest.mark.parametrize(("low", "high"), [(6, 64), (4, 32)])
def test_what_is_off_the_steps_of_today_teaches_no_other_value(storage, low, high):
    def stepping(low, high):
        return make_study(partial(stepped, low=low, high=high), sampler="random")

    view = autosearch.run(stepping(8, 64), storage=storage, trials=12)
    before = [config["width"] for config in view.trials_frame()["config"]]
    assert {8, 16, 32, 64} == set(before)
    autosearch.run(stepping(low, high), storage=storage, trials=1, accept_changes=True)
    today = [low * 2**index for index in range(4)]
    # An index is one of 0 to 3 in either.
    assert [
        today[trial.params["width"]] if "width" in trial.params else None
        for trial in optuna_trials(storage)[:12]
    ] == [width if width in today else None for width in before]


ONE = SearchSpace(architecture=CNN(block="plain"), training=Training(epochs=2))
TWO = SearchSpace(
    architecture=(CNN(block="plain"), CNN(block="residual")), training=Training(epochs=2)
)


def one_architecture(trial):
    ONE.sample_declared(trial.hp)
    trial.describe(architecture="cnn")
    return {"accuracy": 0.5, "size_bytes": 1}


def two_architectures(trial):
    TWO.sample_declared(trial.hp)
    return {"accuracy": 0.5, "size_bytes": 1}


def test_one_architecture_that_grew_into_several_goes_on_teaching(storage):
    first, second = (
        make_study(one, sampler="random") for one in (one_architecture, two_architectures)
    )
    view = autosearch.run(first, storage=storage, trials=3)
    before = view.trials_frame()["config"]
    capacities = [Capacities(ONE)(trial.params) for trial in optuna_trials(storage)]
    # So many that both are sampled.
    autosearch.run(second, storage=storage, trials=6, accept_changes=True)
    trials = optuna_trials(storage)
    assert {trial.params["architecture"] for trial in trials[3:]} == {"cnn", "cnn_2"}
    for trial, config, capacity in zip(trials, before, capacities, strict=False):
        assert trial.params["architecture"] == "cnn"
        for name, value in trial.params.items():
            if name.startswith("architecture/"):
                plain = name.removesuffix("[architecture=cnn]")
                # Under its new name alone.
                assert plain != name
                assert value == config[plain]
        assert Capacities(TWO)(trial.params) == capacity
    replayed = ReplayedTrial(0, read_configs(Database.open_to_read(storage), "grown", [0])[0],
                             None, lambda: False)  # fmt: skip
    hp = replayed.hp
    TWO.sample_declared(hp)
    assert hp.values == {"architecture": "cnn", **before[0]}


def pooled(trial, *, kinds):
    kind = trial.hp.Choice("kind", ["plain", "residual", "separable"])
    if kinds is None:
        trial.hp.Choice("pooling", ["max", "stride"])
    else:
        with trial.hp.conditional_scope("kind", kinds):
            trial.hp.Choice("pooling", ["max", "stride"])
    return figures(8, kind)


@pytest.mark.parametrize("wider", [["plain", "residual"], None])
def test_a_parameter_asked_for_in_more_cases_is_one_parameter_and_not_two(storage, wider):
    def pooling(kinds):
        return make_study(partial(pooled, kinds=kinds), sampler="random")

    view = autosearch.run(pooling(["plain"]), storage=storage, trials=12)
    before = [config.get("pooling") for config in view.trials_frame()["config"]]
    assert {"max", None} <= set(before)
    autosearch.run(pooling(wider), storage=storage, trials=8, accept_changes=True)
    trials = optuna_trials(storage)
    (newest,) = {name for t in trials[12:] for name in t.params if name.startswith("pooling")}
    for trial, value in zip(trials[:12], before, strict=True):
        params = {name: v for name, v in trial.params.items() if name.startswith("pooling")}
        assert params == ({} if value is None else {newest: value})


def twice(trial, *, is_wider):
    kind = trial.hp.Choice("kind", ["plain", "residual"])
    trial.hp.Choice("size", [8, 16])
    with trial.hp.conditional_scope("kind", ["plain"]):
        trial.hp.Choice("pooling", ["max", "stride"])
    if is_wider:
        with trial.hp.conditional_scope("size", [16]):
            trial.hp.Choice("pooling", ["max", "stride"])
    return figures(8, kind)


def test_a_parameter_of_two_cases_stays_in_the_one_that_it_was_asked_for_in(storage):
    def asking(is_wider):
        return make_study(partial(twice, is_wider=is_wider), sampler="random")

    view = autosearch.run(asking(False), storage=storage, trials=12)
    before = [config.get("pooling") for config in view.trials_frame()["config"]]
    autosearch.run(asking(True), storage=storage, trials=12, accept_changes=True)
    trials = optuna_trials(storage)
    assert {"pooling[kind=plain]", "pooling[size=16]"} <= {n for t in trials[12:] for n in t.params}
    assert [trial.params.get("pooling[kind=plain]") for trial in trials[:12]] == before


def test_every_worker_learns_what_was_fixed_before(storage):
    study, database, first, recorder = engine_of_grown(storage)
    second = Engine(study, database, seed=0)
    second.known_trials()
    for engine in (first, second):
        asked = engine.start_trial(recorder, recorder.start_worker(60.0))
        hyperparameters(asked, engine).Choice("activation", ["hard_swish", "relu"])
        known = engine.known_trials()[:6]
        assert [trial.params.get("activation") for trial in known] == ["relu"] * 6


def test_an_optuna_objective_grows_likewise(storage):
    def first(trial):
        kind = trial.suggest_categorical("kind", ["plain", "separable"])
        return figures(trial.suggest_int("width", 4, 16), kind)

    def second(trial):
        kind = trial.suggest_categorical("kind", ["new", "plain", "separable"])
        return figures(trial.suggest_int("width", 4, 32), kind)

    view = autosearch.run(make_study(first), storage=storage, trials=5)
    kinds = [config["kind"] for config in view.trials_frame()["config"]]
    autosearch.run(make_study(second), storage=storage, trials=5, accept_changes=True)
    assert [trial.params["kind"] for trial in optuna_trials(storage)[:5]] == kinds


def test_a_choice_that_trials_had_cannot_be_taken_away(storage):
    def fewer(trial):
        return figures(trial.hp.Int("width", 4, 16), trial.hp.Choice("kind", ["separable"] * 1))

    def other(trial):
        return figures(trial.hp.Int("width", 4, 16), trial.hp.Choice("kind", ["separable", "x"]))

    autosearch.run(make_study(small), storage=storage, trials=8)
    for evaluator in (fewer, other):
        with pytest.raises(DefinitionError, match=r"'kind' can no longer be 'plain'.*put it back"):
            autosearch.run(make_study(evaluator), storage=storage, trials=1, accept_changes=True)


def test_a_definition_does_not_change_under_the_hands_of_its_workers(storage):
    view = autosearch.run(make_study(small), storage=storage, trials=1)
    recorder = Recorder(Database.open_to_write(storage), view.id)
    worker = recorder.start_worker(60.0)
    with pytest.raises(ChangedDefinitionError, match="autosearch stop grown"):
        autosearch.run(make_study(large), storage=storage, trials=1, accept_changes=True)
    recorder.end_worker(worker)
    autosearch.run(make_study(large), storage=storage, trials=1, accept_changes=True)


RATE = Range(1e-3, 1e-2, log=True)


def definition(*, width=(8, 16), rate=RATE, schemes=("int8",), epochs=5):
    study = Study(
        name="declared",
        dataset=Digits(),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8),
            architecture=CNN(width=width),
            training=Training(epochs=epochs, learning_rate=rate),
            quantization=Quantization(*schemes),
        ),
        objectives=[maximize("accuracy")],
    )
    return study.definition()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"width": (4, 32)}, True),
        ({"width": (9, 32)}, False),
        ({"rate": Range(1e-4, 1e-1, log=True)}, True),
        ({"rate": Range(1e-4, 1e-1)}, False),
        ({"schemes": ("float32", "int8")}, True),
        ({"schemes": ("float32",)}, False),
        ({"epochs": 9}, False),
        ({}, True),
    ],
)
def test_growth_is_told_from_other_changes(words, expected):
    assert is_growth(definition(), definition(**words)) is expected


def test_a_fixed_value_grows_into_choices_or_a_range_that_hold_it():
    assert is_growth(definition(width=8), definition(width=[16, 8]))
    assert is_growth(definition(width=8), definition(width=(4, 8)))
    assert not is_growth(definition(width=8), definition(width=[16, 32]))
    assert not is_growth(definition(width=[8, 16]), definition(width=[16]))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"width": Range(8, 32, step=8)}, {"width": Range(4, 36, step=8)}, False),
        ({"width": Range(16, 32, step=8)}, {"width": Range(8, 36, step=8)}, True),
        ({"width": 12}, {"width": Range(8, 32, step=8)}, False),
        ({"width": 24}, {"width": Range(8, 32, step=8)}, True),
        ({"width": Range(8, 32, 2, log=True)}, {"width": Range(6, 48, 2, log=True)}, False),
        ({"width": Range(8, 32, 2, log=True)}, {"width": Range(4, 64, 2, log=True)}, True),
        ({"rate": Range(0.7, 0.9, step=0.2)}, {"rate": Range(0.1, 0.9, step=0.2)}, True),
        ({"rate": 0.6}, {"rate": Range(0.1, 0.9, step=0.2)}, False),
    ],
)  # fmt: skip
def test_a_range_that_steps_over_earlier_values_has_not_grown(before, after, expected):
    assert is_growth(definition(**before), definition(**after)) is expected


def test_a_declared_space_that_has_grown_needs_no_word_of_consent(storage):
    def study(width):
        return Study(
            name="declared",
            dataset=Digits(),
            space=SearchSpace(
                preprocessing=Preprocessing(size=8, color="greyscale"),
                architecture=CNN(
                    stages=1, width=width, blocks_per_stage=1, block="plain", kernel_size=3,
                    attention="none", head="max", dropout=0.0,
                ),
                training=Training(epochs=1, batch_size=256),
                quantization=Quantization("int8"),
            ),
            objectives=[maximize("accuracy")],
            cross_validation=None,
            baselines=False,
        )  # fmt: skip

    autosearch.run(study([4, 8]), storage=storage, trials=1)
    said = []
    view = autosearch.run(study([2, 4, 8]), storage=storage, trials=1, on_message=said.append)
    assert "go on teaching" in said[0]
    assert set(view.trials_frame()["state"]) == {"complete"}
    with pytest.raises(ChangedDefinitionError, match="--accept-changes"):
        autosearch.run(study([2, 4]), storage=storage, trials=1)


def test_a_run_that_is_cut_off_while_the_definition_changes_can_be_gone_on_with(
    storage, monkeypatch
):
    autosearch.run(make_study(small), storage=storage, trials=8)

    def interrupt(*_words, **_named):
        raise KeyboardInterrupt

    for owner, name in ((Engine, "redefine"), (Recorder, "save_study")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                autosearch.run(make_study(large), storage=storage, accept_changes=True)
    view = autosearch.run(make_study(large), storage=storage, trials=2, accept_changes=True)
    assert len(view.trials_frame()) == 10
