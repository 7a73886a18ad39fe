"""Starting from another study's best."""

import optuna
import pytest

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.errors import DefinitionError, NotFoundError
from autosearch.search.warm_start import ORIGIN, plan_warm_start
from autosearch.space import CNN, Training


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
        evaluator=look_up,
        budget=Budget(trials=trials),
        **{
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


def test_the_names_that_do_not_fit_are_told_beforehand_where_the_space_is_declared():
    study = optuna.create_study(direction="maximize")
    space = SearchSpace(
        architecture=CNN(width=[8, 16], dropout=0.1), training=Training(learning_rate=[0.1, 0.01])
    )
    study.add_trial(
        optuna.create_trial(
            value=1.0,
            params={"architecture/width": 16, "training/learning_rate": 0.5, "units": 3},
            distributions={
                "architecture/width": optuna.distributions.IntDistribution(1, 64),
                "training/learning_rate": optuna.distributions.FloatDistribution(0.0, 1.0),
                "units": optuna.distributions.IntDistribution(1, 9),
            },
        )
    )
    start = plan_warm_start(
        "other", study.trials, space=space, trials_in_budget=None, is_front=False
    )
    assert start.line(1) == (
        'Starting from 1 configuration of "other"; not taken, since they do not fit here: '
        "training/learning_rate, units"
    )


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
