"""Files by content: whole or not there, and never another's."""

import hashlib
from pathlib import Path

import pytest

from autosearch import Budget, Study, maximize, run
from autosearch.errors import NotFoundError, StorageError
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.deletion import delete_study_rows
from autosearch.store.promotions import add_promotion, current_promotion, promotions
from autosearch.values import CandidateResult


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    return ArtifactStore(
        str(tmp_path / "files") if request.param == "folder" else f"memory://{tmp_path.name}"
    )


def test_what_is_put_comes_back_by_its_sum(store):
    assert not store.exists()
    sha256 = store.put(b"content")
    assert sha256 == hashlib.sha256(b"content").hexdigest() == store.put(b"content")
    assert store.get(sha256) == b"content"
    assert sha256 in store.url(sha256)
    assert store.delete([sha256, "0" * 64]) == 1
    with pytest.raises(NotFoundError, match="AUTOSEARCH_ARTIFACTS"):
        store.get(sha256)


def test_a_damaged_file_is_not_handed_out(tmp_path):
    store = ArtifactStore(str(tmp_path))
    sha256 = store.put(b"content")
    Path(store.url(sha256)).write_bytes(b"Content")
    with pytest.raises(StorageError, match="damaged"):
        store.get(sha256)


def test_a_file_that_cannot_be_read_is_no_traceback(tmp_path):
    store = ArtifactStore(str(tmp_path))
    path = Path(store.url("0" * 64))
    path.mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be read"):
        store.get("0" * 64)


def test_an_unknown_kind_of_store_is_refused():
    with pytest.raises(StorageError, match="nonsense://x"):
        ArtifactStore("nonsense://x")


def test_deleting_a_study_keeps_what_others_and_promotions_refer_to(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.db'}"

    def stores(*contents):
        def evaluate(trial):
            trial.hp.Int("x", 1, 9)
            return [
                CandidateResult(
                    metrics={"accuracy": 0.5},
                    quantization=content.decode(),
                    artifact=trial.store_artifact(content),
                )
                for content in contents
            ]

        return evaluate

    views = {
        name: run(
            Study(
                name=name,
                evaluator=stores(*contents),
                objectives=[maximize("accuracy")],
                budget=Budget(trials=1),
            ),
            storage=url,
        )
        for name, contents in {"one": (b"a", b"b", b"c"), "two": (b"b",)}.items()
    }
    database = Database.open_to_write(url)
    store = ArtifactStore.beside(database)
    sums = {content: hashlib.sha256(content).hexdigest() for content in (b"a", b"b", b"c")}
    for candidate in ("0-a", "0-c"):
        add_promotion(
            database,
            model="line",
            alias="champion",
            candidate=candidate,
            artifact_sha256=sums[candidate[-1].encode()],
            keras_sha256=None,
            note="",
            test_metrics={},
            record={"study": "one"},
        )
    assert current_promotion(database, "line", "champion").candidate == "0-c"
    assert [promotion.candidate for promotion in promotions(database)] == ["0-c", "0-a"]
    # b is the other study's too, a and c were promoted: nothing may go.
    assert delete_study_rows(database, store, views["one"].id) == 0
    assert {store.get(sha256) for sha256 in sums.values()} == {b"a", b"b", b"c"}
    assert delete_study_rows(database, store, views["two"].id) == 1
    with pytest.raises(NotFoundError, match='there is no model "other"; expected one of: line'):
        current_promotion(database, "other", "champion")
    with pytest.raises(NotFoundError, match='no alias "old"; expected one of: champion'):
        current_promotion(database, "line", "old")


def test_a_store_that_other_databases_may_use_keeps_its_files(tmp_path):
    database = Database.open_to_write(f"sqlite:///{tmp_path / 'x.db'}")
    shared = ArtifactStore(str(tmp_path / "shared"))

    def evaluate(trial):
        file = trial.store_artifact(b"the same network")
        return CandidateResult(metrics={"accuracy": 0.5}, artifact=file)

    study = Study(
        name="one", evaluator=evaluate, objectives=[maximize("accuracy")], budget=Budget(trials=1)
    )
    view = run(study, storage=database.url, artifacts=shared.root)
    assert delete_study_rows(database, shared, view.id) == 0
    assert shared.get(hashlib.sha256(b"the same network").hexdigest()) == b"the same network"
    # The folder by the database is its own, though it was named.
    assert ArtifactStore(str(tmp_path / "x-artifacts")).is_beside(database)
