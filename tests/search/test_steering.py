"""What a person says to a study from outside: work on it, stop, try that, leave that out."""

import json
from pathlib import Path

import optuna
import pytest

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize, minimize
from autosearch.errors import ChangedDefinitionError, DefinitionError, NotFoundError, StorageError
from autosearch.search.enqueueing import check_config, enqueue_config
from autosearch.search.finals import Finals
from autosearch.search.finished import teaching_trials
from autosearch.search.joining import join
from autosearch.search.warm_start import StartingSampler
from autosearch.search.worker import Limits, Outcome, Worker
from autosearch.space import CNN, HyperParameters, Range, Training
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.placement import why_unsafe
from autosearch.store.steering import discard_trial, request_stop
from autosearch.study import load_study_file
from autosearch.values import TrialState

OBJECTIVES = (maximize("accuracy"), minimize("size_bytes"))

FILE = """
from autosearch import Budget, Study, maximize, minimize

def evaluate(trial):
    if trial.number in {stops}:
        from autosearch.store.database import Database
        from autosearch.store.steering import request_stop
        request_stop(Database.open_to_write({storage!r}), 1)
    return {{"accuracy": trial.hp.Float("x", 0, 1), "size_bytes": 1}}

study = Study(name="table", evaluator=evaluate, sampler="random", budget=Budget(trials=7),
              objectives=[maximize("accuracy"), minimize("size_bytes")])
"""


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'search.db'}"


def look_up(trial, meanwhile=lambda number: None):
    meanwhile(trial.number)
    width = trial.hp.Int("width", 1, 64)
    kind = trial.hp.Choice("kind", ["a", "b"])
    with trial.hp.conditional_scope("kind", ["a"]):
        trial.hp.Float("extra", 0.0, 1.0)
    return {"accuracy": width / 64, "size_bytes": 100 * width + (kind == "a")}


def make_study(evaluator=look_up, *, trials=8, **words):
    return Study(
        name="table",
        evaluator=evaluator,
        objectives=OBJECTIVES,
        budget=Budget(trials=trials),
        **{"sampler": "random", **words},
    )


def write_study(tmp_path, storage, stops=()):
    path = tmp_path / "study_file.py"
    path.write_text(FILE.format(stops=stops, storage=storage))
    return load_study_file(path)


def test_whoever_is_asked_to_stop_finishes_its_trial_and_a_later_run_goes_on(storage):
    def stop(number):
        if number == 2:
            request_stop(Database.open_to_write(storage), 1)

    study = make_study(lambda trial: look_up(trial, stop))
    view = autosearch.run(study, storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 3}
    assert autosearch.run(study, storage=storage).progress().num_counted == 8


def test_workers_of_a_run_and_those_that_join_it_stop_alike(tmp_path, storage):
    view = autosearch.run(write_study(tmp_path, storage, stops=(0,)), storage=storage, workers=2)
    assert 1 <= view.progress().num_counted <= 2
    assert set(view.progress().counts) == {TrialState.COMPLETE}
    join(load_study_file(tmp_path / "study_file.py"), storage=storage)
    assert view.progress().counts == {TrialState.COMPLETE: 7}
    assert list(view.trials_frame()["number"]) == list(range(7))


def test_only_who_has_the_same_study_can_join_it(tmp_path, storage):
    study = write_study(tmp_path, storage)
    with pytest.raises(NotFoundError, match="there is no database"):
        join(study, storage=storage)
    assert not (tmp_path / "search.db").exists()
    autosearch.run(study, storage=storage, trials=1)
    changed = write_study(tmp_path, storage, stops=(99,))
    with pytest.raises(ChangedDefinitionError, match="the file that it was started from"):
        join(changed, storage=storage)
    with pytest.raises(DefinitionError, match="only this process knows"):
        join(make_study(), storage=storage)


def test_an_enqueued_configuration_is_evaluated_next(storage):
    view = autosearch.run(make_study(trials=4), storage=storage)
    database = Database.open_to_write(storage)
    assert enqueue_config(database, view, {"width": 7, "kind": "a", "extra": 0.25}) == 4
    assert enqueue_config(database, view, {"width": 9}) == 5
    waiting = view.trials_frame().set_index("number").loc[5]
    assert (waiting["state"], waiting["config"]) == (TrialState.WAITING, {"width": 9})
    view = autosearch.run(make_study(), storage=storage)
    configs = list(view.trials_frame()["config"])
    assert configs[4] == {"width": 7, "kind": "a", "extra": 0.25}
    assert configs[5]["width"] == 9
    assert view.progress().counts == {TrialState.COMPLETE: 8}
    assert set(view.trials_frame()["attempt"]) == {1}


def test_a_grid_goes_on_after_an_enqueued_configuration(storage):
    def half(trial):
        return {"accuracy": trial.suggest_float("x", 0, 1), "size_bytes": 1}

    study = make_study(half, sampler=optuna.samplers.GridSampler({"x": [0.0, 0.5, 1.0]}, seed=0))
    view = autosearch.run(study, storage=storage, trials=1)
    enqueue_config(Database.open_to_write(storage), view, {"x": 0.25})
    view = autosearch.run(study, storage=storage, trials=3)
    found = [config["x"] for config in view.trials_frame()["config"]]
    assert found[1] == 0.25
    assert sorted([found[0], *found[2:]]) == [0.0, 0.5, 1.0]


def test_a_configuration_that_does_not_fit_is_refused(storage):
    view = autosearch.run(make_study(trials=4), storage=storage)
    database = Database.open_to_write(storage)
    for config, words in [
        ({"width": 65}, r'"width" is 65; expected a whole number from 1 to 64'),
        ({"width": 2.5}, r'"width" is 2.5; expected a whole number'),
        ({"kind": "c"}, r"\"kind\" is 'c'; expected one of 'a', 'b'"),
        ({"width": float("inf")}, r'"width" is inf; expected a whole number'),
        ({"widht": 3}, r'"widht" is no parameter .* such as: width'),
        ({}, "the configuration is empty"),
    ]:
        with pytest.raises(DefinitionError, match=words):
            enqueue_config(database, view, config)
    assert len(optuna.load_study(study_name="table", storage=storage).trials) == 4


SPACE = SearchSpace(
    architecture=CNN(stages=2, width=Range(8, 64, step=8), block=["plain", "separable"]),
    training=Training(learning_rate=Range(0.001, 0.1, log=True), optimizer="adam"),
)


def test_a_configuration_is_checked_against_a_declared_space():
    given = {"width": 16, "architecture/block": "separable", "learning_rate": 0.01}
    params = check_config({**given, "training/optimizer": "adam"}, SPACE)
    assert sorted(params.values(), key=str) == sorted(given.values(), key=str)
    # As the trials of the study list theirs.
    assert check_config(SPACE.dry_run(1)[0], SPACE)
    with pytest.raises(
        DefinitionError, match=r'"width" is 65.*_rate" is 1.*"depth" is no .*optimizer'
    ):
        check_config(
            {"width": 65, "learning_rate": 1, "depth": 3, "training/optimizer": "sgd"}, SPACE
        )


def test_a_logarithmic_range_has_no_zero():
    with pytest.raises(DefinitionError, match=r'"learning_rate" is 0; expected 0\.001 to 0\.1'):
        check_config({"learning_rate": 0}, SPACE)


def begun_with(config, space, *, seed=0):
    """What a trial makes of a configuration, the rest at random."""
    sampler = StartingSampler(config, optuna.samplers.RandomSampler(seed=seed))
    trial = optuna.create_study(sampler=sampler).ask()
    hp = HyperParameters(trial, before_asking=sampler.prepare)
    space.sample_declared(hp)
    return hp.values


@pytest.mark.parametrize(
    ("given", "found"),
    [
        # Both have it, or the second one alone.
        ({"width": 8}, {"architecture/width": 8}),
        ({"width": 16}, {"architecture": "cnn", "architecture/width": 16}),
        ({"width": 32}, {"architecture": "cnn_2", "architecture/width": 32}),
        # Asked for with that block alone, which stands last.
        (
            {"expansion": 4},
            {"architecture/block": "inverted_residual", "architecture/expansion": 4},
        ),
        (
            {"weight_decay": 1e-4, "width": 32},
            {
                "architecture": "cnn_2",
                "architecture/width": 32,
                "training/optimizer": "adamw",
                "training/weight_decay": 1e-4,
            },
        ),
    ],
)
def test_a_configuration_brings_the_choices_that_it_hangs_on(given, found):
    blocks = ["plain", "inverted_residual"]
    space = SearchSpace(
        architecture=[CNN(width=[8, 16], block=blocks), CNN(width=[8, 32], block=blocks)],
        training=Training(optimizer=["adam", "adamw"]),
    )
    assert check_config(given, space) == found
    for seed in range(6):
        assert begun_with(found, space, seed=seed).items() >= found.items()


def test_a_configuration_is_written_as_the_trials_show_it():
    space = SearchSpace(
        architecture=CNN(
            width=Range(16, 256, step=2, log=True), width_growth=[1.0, 2.0], stages=2, head="max"
        ),
        training=Training(learning_rate=Range(1e-4, 1e-1, step=10, log=True)),
    )
    for shown in space.dry_run(8):
        assert begun_with(check_config(shown, space), space) == shown
    # As JSON may have them, and what is fixed by the last part of its name, too.
    assert check_config({"width_growth": 2, "head": "max"}, space) == {
        "architecture/width_growth": 2.0
    }
    for config, words in [
        ({"width": 3}, '"width" is 3; expected one of whole numbers 16 to 256, step 2, log$'),
        ({"learning_rate": 0.02}, '"learning_rate" is 0.02; expected one of numbers 0.0001 to 0.1'),
        ({"dropout": float("nan")}, '"dropout" is nan; expected 0 to 0.5$'),
        ({"dropout": 10**400}, "expected 0 to 0.5$"),
        ({"head": "average"}, '"head" is no parameter'),
    ]:
        with pytest.raises(DefinitionError, match=words):
            check_config(config, space)


def test_a_name_may_have_brackets_of_its_own(storage):
    def layers(trial):
        hp = trial.hp
        units = [hp.Int(f"units[{i}]", 8, 64, step=2, sampling="log") for i in range(2)]
        with hp.conditional_scope("units[0]", [8, 16, 32, 64]):
            rate = hp.Float("rate[0]", 0.0, 1.0)
        seen.append(dict(hp.values))
        return {"accuracy": rate, "size_bytes": sum(units)}

    seen = []
    view = autosearch.run(make_study(layers, trials=4), storage=storage)
    config = {"units[1]": seen[0]["units[1]"], "rate[0]": 0.25}
    number = enqueue_config(Database.open_to_write(storage), view, config)
    view = autosearch.run(make_study(layers), storage=storage, trials=1)
    assert list(view.trials_frame()["config"]) == seen
    assert seen[number].items() >= config.items()


def test_what_stands_for_a_value_is_found_in_the_trials(storage):
    def by_factors(trial):
        batch = trial.hp.Int("batch", 16, 256, step=2, sampling="log")
        return {"accuracy": batch, "size_bytes": trial.hp.Int("rest", 1, 9)}

    view = autosearch.run(make_study(by_factors), storage=storage)
    database = Database.open_to_write(storage)
    shown = view.trials_frame()["config"][3]["batch"]
    number = enqueue_config(database, view, {"batch": shown})
    # 3 is how Optuna holds the fourth of the steps.
    with pytest.raises(DefinitionError, match=r'"batch" is 3; expected one of .*, which trials'):
        enqueue_config(database, view, {"batch": 3})
    view = autosearch.run(make_study(by_factors), storage=storage, trials=1)
    assert view.trials_frame()["config"][number]["batch"] == shown


class Watching(optuna.samplers.RandomSampler):
    """Remembers which trials it could learn from."""

    def __init__(self):
        super().__init__(seed=0)
        self.seen = {}

    def infer_relative_search_space(self, study, trial):
        complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        self.seen[trial.number] = [trial.number for trial in complete]
        return super().infer_relative_search_space(study, trial)


def test_a_discarded_trial_is_kept_but_neither_shown_nor_learned_from(storage):
    def discard(number):
        if number == 3:
            discard_trial(Database.open_to_write(storage), "table", 1, reason="a bad lens")

    sampler = Watching()
    study = make_study(lambda trial: look_up(trial, discard), trials=6, sampler=sampler)
    view = autosearch.run(study, storage=storage)
    # It counts no more, so that another one took its place.
    assert view.progress().counts == {TrialState.COMPLETE: 6, TrialState.DISCARDED: 1}
    assert sampler.seen[3] == [0, 1, 2]
    assert sampler.seen[4] == [0, 2, 3]
    assert sampler.seen[6] == [0, 2, 3, 4, 5]
    assert 1 not in set(view.candidates_frame()["trial"])
    kept = view.trials_frame().iloc[1]
    assert (kept["state"], kept["error"]) == (TrialState.DISCARDED, "a bad lens")
    database = Database.open_to_write(storage)
    with pytest.raises(DefinitionError, match="discarded already: a bad lens"):
        discard_trial(database, "table", 1, reason="again")
    with pytest.raises(NotFoundError, match="has no trial 70"):
        discard_trial(database, "table", 70, reason="none")


def test_a_discarded_trial_is_nobodys_parent(storage):
    def best_in_vain(trial):
        answer = look_up(trial)
        if trial.number == 9:
            # By then it is a parent of this generation.
            discard_trial(Database.open_to_write(storage), "table", 1, reason="a bad lens")
        return {"accuracy": 2, "size_bytes": 0} if trial.number == 1 else answer

    sampler = optuna.samplers.NSGAIISampler(population_size=4, seed=0)
    autosearch.run(make_study(best_in_vain, trials=14, sampler=sampler), storage=storage)
    study = optuna.load_study(study_name="table", storage=storage)
    attributes = study._storage.get_study_system_attrs(study._study_id)
    parents = [keys for name, keys in attributes.items() if ":parent:" in name]
    assert len(parents) >= 2
    assert all(study.trials[1]._trial_id not in keys for keys in parents)


def test_a_failed_trial_that_was_discarded_teaches_no_more(storage):
    def fails(trial):
        answer = look_up(trial)
        if trial.number in (1, 2):
            raise MemoryError("another program took it")
        return answer

    autosearch.run(make_study(fails, trials=3), storage=storage)
    discard_trial(Database.open_to_write(storage), "table", 1, reason="no fault of its own")
    known = optuna.load_study(study_name="table", storage=storage)
    assert [t.number for t in teaching_trials(known, with_failed=True).trials] == [0, 2, 3, 4]


def make_worker(storage, finals=None):
    database = Database.open_to_write(storage)
    store = ArtifactStore.beside(database)
    return Worker(
        make_study(trials=1), database, store, study_id=1, seed=0, evaluator=look_up,
        limits=Limits(counted_trials=1), finals=finals,
    )  # fmt: skip


def test_finals_stop_after_the_fold_that_is_judged_and_go_on_later(storage, monkeypatch):
    autosearch.run(make_study(trials=1), storage=storage)
    judged, fitted = [], []

    def judge_fold(*_words, fold, **_named):
        judged.append(fold)
        if fold == 0:
            request_stop(Database.open_to_write(storage), 1)
        return {}

    monkeypatch.setattr("autosearch.evaluation.cross_validation.judge_fold", judge_fold)
    monkeypatch.setattr(
        "autosearch.evaluation.cross_validation.refit", lambda *_, **__: fitted.append(1) or []
    )
    monkeypatch.setattr(Finals, "finalists", lambda finals, view: [0])
    finals = Finals(
        num_folds=2, max_finalists=1, data_fingerprint="0" * 64, metric="accuracy",
        is_maximized=True,
    )  # fmt: skip
    assert make_worker(storage, finals).run() == Outcome.STOPPED
    assert (judged, fitted) == ([0], [])
    assert make_worker(storage, finals).run() == Outcome.DONE
    assert (judged, fitted) == ([0, 1], [1])


def test_baselines_stop_when_the_study_does(storage, monkeypatch):
    autosearch.run(make_study(trials=1), storage=storage)

    def run_baselines(*_words, should_end, **_named):
        request_stop(Database.open_to_write(storage), 1)
        return not should_end()

    monkeypatch.setattr("autosearch.search.worker.are_wanted", lambda study: True)
    monkeypatch.setattr("autosearch.search.worker.run_baselines", run_baselines)
    assert make_worker(storage).run() == Outcome.STOPPED


MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/me/disk ext4 rw 0 0
//nas/share /mnt/my\\040share cifs rw 0 0
me@host: /mnt/ssh fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/data/search.db", None),
        ("/home/me/search.db", "network file system (NFS at /home)"),
        ("/home/me/disk/search.db", None),
        ("/mnt/my share/search.db", "network file system (CIFS at /mnt/my share)"),
        ("/mnt/ssh/a/search.db", "network file system (sshfs at /mnt/ssh)"),
        ("/data/Dropbox (Me)/search.db", "in a folder that Dropbox synchronises"),
        ("/data/OneDrive - Firm/a/search.db", "in a folder that OneDrive synchronises"),
        ("/data/dropbox.db", None),
    ],
)
def test_where_an_sqlite_file_is_unsafe(path, words):
    reason = why_unsafe(Path(path), MOUNTS)
    assert reason is None if words is None else words in reason


def test_several_workers_refuse_a_synchronised_folder_and_one_does_not(tmp_path):
    (tmp_path / "Dropbox").mkdir()
    storage = f"sqlite:///{tmp_path / 'Dropbox' / 'search.db'}"
    study = write_study(tmp_path, storage)
    with pytest.raises(StorageError, match=r"Dropbox synchronises.*postgresql://USER@HOST"):
        autosearch.run(study, storage=storage, workers=2)
    autosearch.run(make_study(trials=1), storage=storage)
    with pytest.raises(StorageError, match="Dropbox synchronises"):
        join(study, storage=storage)


def test_the_commands_say_what_they_did_and_refuse_nonsense(autosearch_here, tmp_path, storage):
    autosearch.run(make_study(trials=3), storage=storage)
    where = ("--storage", storage)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"width": 5}))
    said = autosearch_here("enqueue", "table", path, *where).stderr
    assert said.strip() == 'Added to "table" as trial 3; the next free worker evaluates it.'
    for config, words in [
        ("{", "is no JSON"),
        ("width=3", "neither JSON nor a file"),
        ("[1]", "list"),
    ]:
        refused = autosearch_here("enqueue", "table", config, *where)
        assert refused.returncode == 2
        assert words in refused.stderr
    said = autosearch_here("discard", "table", "1", "--reason", "too dark", *where).stderr
    assert 'Discarded trial 1 of "table"' in said
    trials = json.loads(autosearch_here("trials", "table", "--format", "json", *where).stdout)
    assert [(t["state"], t["error"]) for t in trials][1] == ("discarded", "too dark")
    assert 'No worker is at "table"' in autosearch_here("stop", "table", *where).stderr
    assert "there is no study" in autosearch_here("stop", "other", *where).stderr
