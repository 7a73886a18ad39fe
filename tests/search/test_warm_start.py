"""Starting from another study's best."""

import optuna
import pytest

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.search.engine import Engine
from autosearch.search.enqueueing import enqueue_config
from autosearch.search.growth import GrownTrial
from autosearch.search.warm_start import ORIGIN, StartingSampler, plan_warm_start
from autosearch.space import CNN, HyperParameters, Range, Training
from autosearch.store.database import Database
from autosearch.store.recorder import Recorder
from autosearch.values import Continuation


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def look_up(trial):
    width = trial.hp.Int("width", 1, 64)
    kind = trial.hp.Choice("kind", ["a", "b"])
    extra = 0
    if kind == "a":
        with trial.hp.conditional_scope("kind", ["a"]):
            extra = trial.hp.Int("extra", 0, 8)
    return {"accuracy": width + extra, "size_bytes": 100 * width}


def make_study(name, *, trials=12, **words):
    return Study(
        name=name,
        budget=Budget(trials=trials),
        **{
            "evaluator": look_up,
            "sampler": "random",
            "objectives": (maximize("accuracy"), minimize("size_bytes")),
            **words,
        },
    )


def test_a_study_begins_with_anothers_front_and_goes_on_by_itself(storage):
    first = autosearch.run(make_study("first"), storage=storage, seed=1)
    said = []
    view = autosearch.run(
        make_study("second"), storage=storage, seed=2, warm_start="first", on_message=said.append
    )
    front = {
        repr(c)
        for t, c in zip(*_columns(first), strict=True)
        if t in set(first.front_frame()["trial"])
    }
    configs = [repr(config) for config in _columns(view)[1]]
    assert set(configs[:3]) <= front
    assert len(set(configs[:3])) == 3  # a quarter of the budget
    assert configs[3:] != [repr(config) for config in _columns(first)[1]][3:]
    assert said == [
        'Starting from 3 configurations of "first"; what does not fit by name and range is sampled'
    ]
    origins = [t.user_attrs.get(ORIGIN) for t in _optuna("second", storage).trials]
    assert [bool(origin) for origin in origins] == [True] * 3 + [False] * 9
    again = autosearch.run(
        make_study("second"), storage=storage, warm_start="first", trials=1, on_message=said.append
    )
    assert said[-1].startswith("Starting from 0 configurations")
    assert len(again.trials_frame()) == 13


def _columns(view):
    frame = view.trials_frame()
    return list(frame["number"]), list(frame["config"])


def _optuna(name, storage):
    return optuna.load_study(study_name=name, storage=storage)


def test_a_plain_optuna_study_gives_what_fits_by_name_and_range(storage, tmp_path):
    elsewhere = f"sqlite:///{tmp_path / 'plain.db'}"
    plain = optuna.create_study(study_name="plain", storage=elsewhere, direction="minimize")
    for width, kind, value in ((100, "a", 0.1), (30, "c", 0.2), (7, "a", 0.3), (9, "b", 9.0)):
        plain.enqueue_trial({"width": width, "kind": kind, "extra": 5, "depth": 3})
        plain.optimize(
            lambda t, value=value: (
                t.suggest_int("width", 1, 128),
                t.suggest_categorical("kind", ["a", "b", "c"]),
                t.suggest_int("extra", 0, 9),
                t.suggest_int("depth", 0, 9),
                value,
            )[-1],
            n_trials=1,
        )
    view = autosearch.run(
        make_study("table"), storage=storage, warm_start="plain", warm_start_storage=elsewhere
    )
    configs = _columns(view)[1][:3]
    assert configs[0]["width"] <= 64
    assert configs[0]["kind"] == "a"
    assert configs[0]["extra"] == 5  # "extra[kind=a]" here
    assert configs[1]["width"] == 30
    assert configs[1]["kind"] in ("a", "b")
    assert configs[2] == {"width": 7, "kind": "a", "extra": 5}


def test_of_a_study_of_ours_values_are_taken_whatever_stands_for_them(storage):
    def small(trial):
        units = trial.hp.Int("units", 8, 64, step=2, sampling="log")
        share = trial.hp.Float("share", 0.5, 8.0, sampling="reverse_log")
        return {"accuracy": 10 * units + share, "size_bytes": units}

    def large(trial):
        units = trial.hp.Int("units", 4, 128, step=2, sampling="log")
        share = trial.hp.Float("share", 0.25, 16.0, sampling="reverse_log")
        return {"accuracy": 10 * units + share, "size_bytes": units}

    first = autosearch.run(make_study("first", evaluator=small), storage=storage, trials=6)
    second = autosearch.run(
        make_study("second", evaluator=large), storage=storage, trials=2, warm_start="first"
    )
    origins = [t.user_attrs[ORIGIN]["trial"] for t in _optuna("second", storage).trials[:2]]
    before, begins = _columns(first)[1], _columns(second)[1]
    for origin, begin in zip(origins, begins, strict=False):
        assert begin == pytest.approx(before[origin])


def test_of_two_alike_the_better_one_is_started_from():
    study = optuna.create_study(direction="minimize")
    ranges = {"x": optuna.distributions.IntDistribution(0, 100)}
    for x, value in [(7, 0.0), *((20 + i, 1.0 + i) for i in range(20)), (7, 99.0)]:
        study.add_trial(optuna.create_trial(params={"x": x}, distributions=ranges, value=value))
    start = plan_warm_start(
        "other", study.trials, space=None, trials_in_budget=None, is_front=False
    )
    assert [point.params["x"] for point in start.points] == [7, *range(20, 29)]


def test_a_genetic_sampler_learns_from_what_was_put_first_and_not_from_what_is_trained_on(storage):
    autosearch.run(make_study("first"), storage=storage)
    study = make_study("second", sampler="nsga2")
    view = autosearch.run(study, storage=storage, warm_start="first", trials=4)
    database = Database.open_to_write(storage)
    enqueue_config(database, view, {"width": 9, "kind": "a", "extra": 1})
    autosearch.run(study, storage=storage, trials=2)
    engine, recorder = Engine(study, database, seed=0), Recorder(database, view.id)
    gone_on = Continuation(trial=4, keras_sha256="0" * 64, epochs_before=1, epochs=1)
    asked = engine.start_trial(
        recorder, recorder.start_worker(60.0), continue_from=lambda started, pending: gone_on
    )
    trial = GrownTrial(asked, engine)
    hp = HyperParameters(trial, before_asking=trial.prepare)
    assert hp.Int("width", 1, 64) == 9
    generations = ["NSGAIISampler:generation" in t.system_attrs
                   for t in _optuna("second", storage).trials]  # fmt: skip
    assert generations == [True] * 6 + [False]


class Together(optuna.samplers.RandomSampler):
    """Draws two parameters together."""

    def infer_relative_search_space(self, study, trial):
        return dict.fromkeys("xy", optuna.distributions.FloatDistribution(0.0, 1.0))

    def sample_relative(self, study, trial, search_space):
        return dict(zip(search_space, (0.25, 0.75), strict=False))


def test_what_a_configuration_leaves_out_is_drawn_as_the_sampler_draws_it():
    trial = optuna.create_study(sampler=StartingSampler({"x": 0.5}, Together())).ask()
    assert [trial.suggest_float(name, 0.0, 1.0) for name in "xy"] == [0.5, 0.75]


def test_the_names_that_do_not_fit_are_told_beforehand_where_the_space_is_declared():
    study = optuna.create_study(direction="maximize")
    space = SearchSpace(
        architecture=CNN(width=[8, 16], stages=Range(1, 4, step=2, log=True), dropout=0.1),
        training=Training(learning_rate=[0.1, 0.01]),
    )
    params = {
        "architecture/width": 16,
        # One of 1, 2 and 4, or the index of one: who knows.
        "architecture/stages": 2,
        "architecture/dropout": 0.1,
        "training/learning_rate": 0.5,
        "units": 3,
    }
    ranges = {
        name: optuna.distributions.IntDistribution(1, 64)
        if isinstance(value, int)
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, value in params.items()
    }
    study.add_trial(optuna.create_trial(value=1.0, params=params, distributions=ranges))
    words = {"space": space, "trials_in_budget": None, "is_front": False}
    start = plan_warm_start("other", study.trials, **words)
    assert start.line(1) == (
        'Starting from 1 configuration of "other"; not taken, since they do not fit here: '
        "architecture/stages, training/learning_rate, units"
    )
    ours = plan_warm_start(
        "ours", study.trials, **words, read_configs=lambda numbers: dict.fromkeys(numbers, params)
    )
    assert ours.misfits == ("training/learning_rate", "units")


def test_what_cannot_be_started_from_is_refused_before_anything_is_stored(storage, tmp_path):
    with pytest.raises(NotFoundError, match=r'no database ".*nowhere\.db"'):
        autosearch.run(
            make_study("x"),
            storage=storage,
            warm_start="y",
            warm_start_storage=f"sqlite:///{tmp_path / 'nowhere.db'}",
        )
    autosearch.run(make_study("done", trials=1), storage=storage)
    with pytest.raises(NotFoundError, match='no study "gone" to start from; expected one of: done'):
        autosearch.run(make_study("x"), storage=storage, warm_start="gone")
    with pytest.raises(DefinitionError, match="cannot start from itself"):
        autosearch.run(make_study("done"), storage=storage, warm_start="done")
    with pytest.raises(DefinitionError, match="add --warm-start"):
        autosearch.run(make_study("x"), storage=storage, warm_start_storage=storage)
    optuna.create_study(study_name="empty", storage=storage)
    with pytest.raises(NotFoundError, match='"empty" has no complete, feasible trial'):
        autosearch.run(make_study("x"), storage=storage, warm_start="empty")
