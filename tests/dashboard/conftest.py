"""Databases that no search made: small, empty and awkward ones."""

import numpy as np
import pytest
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.predictions import Predictions
from autosearch.store.recorder import utc_now
from autosearch.store.tables import (
    CandidateRow,
    EpochRow,
    MeasurementRow,
    ModelRow,
    PromotionRow,
    StudyRow,
    TargetRow,
    TrialRow,
)

MARKUP = "<script>alert(1)</script> ../../etc [x](y) $a$ " + "ü" * 100


class Maker:
    """Writes studies, trials and candidates as they are said."""

    def __init__(self, path):
        self.url = f"sqlite:///{path}"
        self.database = Database.open_to_write(self.url)

    def study(self, name="small", *, metrics=("accuracy", "size_bytes", "latency_ms"), bound=None):
        with self.database.session() as session:
            row = StudyRow(
                name=name,
                created_at=utc_now(),
                seed=0,
                definition={
                    "name": name,
                    "dataset": {"kind": "digits", "split_seed": 0},
                    "objectives": [
                        {
                            "metric": metric,
                            "direction": "maximize" if "acc" in metric else "minimize",
                        }
                        for metric in metrics
                    ],
                    "constraints": [{"metric": "size_bytes", "bound": bound}] if bound else [],
                    "evaluator": None,
                    "budget": {"trials": 20, "minutes": None, "total_epochs": None},
                },
                definition_sha256="0" * 64,
                data_fingerprint="0" * 64,
                environment={},
            )
            session.add(row)
            session.flush()
            return row.id

    def trial(self, study, number, *, state="complete", candidates=(), error=None, right=None):
        """Candidates are (scheme, accuracy, bytes, milliseconds, feasible).

        ``right`` says of each image whether all of them classify it as its label says.
        """
        predictions = None
        if right is not None:
            labels = np.arange(len(right)) % 2
            guessed = np.where(right, labels, 1 - labels)
            seen = Predictions(labels, np.eye(2, dtype=np.float32)[guessed])
            predictions = ArtifactStore.beside(self.database).put(seen.to_bytes())
        with self.database.session() as session:
            trial = TrialRow(
                study_id=study,
                number=number,
                state=state,
                config={"width": 8 * (1 + number % 4), "kind": ["plain", MARKUP][number % 2]},
                started_at=utc_now(),
                finished_at=utc_now(),
                duration_s=1.0,
                stage_seconds={"train": 1.0},
                violations={"size_bytes": 0.5} if state == "infeasible" else None,
                facts={},
                error=error,
            )
            session.add(trial)
            session.flush()
            for epoch in (1, 2, 3):
                if candidates:
                    session.add(
                        EpochRow(trial_id=trial.id, epoch=epoch, accuracy=0.3 * epoch, metrics={})
                    )
            target = session.get(TargetRow, 1)
            if target is None:
                target = TargetRow(key="0" * 64, name="host", description={"cpu": "one"})
                session.add(target)
                session.flush()
            for scheme, accuracy, size, latency, feasible in candidates:
                row = CandidateRow(
                    study_id=study,
                    trial_id=trial.id,
                    quantization=scheme,
                    is_representative=scheme == candidates[0][0],
                    is_feasible=feasible,
                    accuracy=accuracy,
                    accuracy_low=accuracy and accuracy - 0.01,
                    accuracy_high=accuracy and accuracy + 0.01,
                    size_bytes=size,
                    parameters=100,
                    macs=100,
                    artifact_sha256="a" * 64,
                    predictions_sha256=predictions,
                    metrics={"extra": 1.5 + number},
                    conditions={
                        "per_class": {
                            MARKUP: {"precision": 1.0, "recall": 0.5, "support": 2},
                            "one": {"precision": None, "recall": None, "support": 0},
                        },
                        "confusion": [[1, 1], [0, 0]],
                    },
                    reasons={},
                )
                session.add(row)
                session.flush()
                session.add(
                    MeasurementRow(
                        candidate_id=row.id,
                        target_id=target.id,
                        is_measured=True,
                        latency_ms=latency,
                        memory_bytes=None,
                        measured_at=utc_now(),
                    )
                )

    def judged_again(self, number, *, accuracy):
        """Gives the candidates of a trial siblings with cross-validated figures."""
        with self.database.session() as session:
            trial = session.scalar(select(TrialRow).where(TrialRow.number == number))
            rows = session.scalars(select(CandidateRow).where(CandidateRow.trial_id == trial.id))
            for row in list(rows):
                columns = {c.name: getattr(row, c.name) for c in CandidateRow.__table__.columns}
                again = CandidateRow(
                    **columns
                    | {
                        "id": None,
                        "estimate": "cross_validation",
                        "is_representative": False,
                        "accuracy": accuracy,
                        "conditions": {"num_folds": 5, "fitted_on": "training images"},
                    }
                )
                session.add(again)
                session.flush()
                session.add(
                    MeasurementRow(
                        candidate_id=again.id,
                        target_id=1,
                        is_measured=True,
                        latency_ms=0.01,
                        measured_at=utc_now(),
                    )
                )

    def promotion(self, study, candidate, *, alias="champion", accuracy=0.9, **record):
        with self.database.session() as session:
            model = ModelRow(name=study, created_at=utc_now())
            session.add(model)
            session.flush()
            session.add(
                PromotionRow(
                    model_id=model.id,
                    alias=alias,
                    candidate=candidate,
                    artifact_sha256="a" * 64,
                    keras_sha256=None,
                    promoted_at=utc_now(),
                    note=MARKUP,
                    test_metrics={"accuracy": accuracy},
                    record={"study": study, "size_bytes": 10, "validation": {"accuracy": 0.8}}
                    | record,
                )
            )


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "made.db")


@pytest.fixture
def small(maker):
    """Twelve trials of two schemes each, one of them infeasible, and a failed one."""
    generator = np.random.default_rng(0)
    study = maker.study(bound=50_000)
    for number in range(12):
        accuracy, size = float(generator.uniform(0.6, 0.99)), float(generator.integers(2e3, 5e4))
        maker.trial(
            study,
            number,
            candidates=[
                ("int8", accuracy, size, size / 1e6, True),
                ("float32", accuracy + 0.005, 4 * size, size / 5e5, 4 * size <= 50_000),
            ],
        )
    maker.trial(study, 12, state="failed", error="it broke")
    maker.trial(study, 13, state="infeasible")
    return maker


@pytest.fixture
def page(monkeypatch):
    """Opens one page of the dashboard on a database, without a browser."""

    def open_page(name, storage, *, promote=False, **query):
        monkeypatch.setenv("AUTOSEARCH_STORAGE", storage)
        monkeypatch.setenv("AUTOSEARCH_DASHBOARD_PROMOTE", "1" if promote else "0")
        test = AppTest.from_string(
            f"from dashboard.navigation import run\nrun({name!r})", default_timeout=30
        )
        for key, value in query.items():
            test.query_params[key] = value
        return test.run()

    return open_page
