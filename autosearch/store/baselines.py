"""Reference trials: what a study's images give without a search, apart from its own trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from sqlalchemy import select

from autosearch.store.database import Database
from autosearch.store.recorder import finite, is_held, utc_now
from autosearch.store.tables import BaselineRow
from autosearch.values import CandidateResult

__all__ = ["BASELINES", "BASELINE_COLUMNS", "Baselines"]

BASELINES = ("majority class", "logistic regression", "plain CNN")
"""Their names, in the order in which they are judged and shown."""

_METRICS = (
    "accuracy",
    "size_bytes",
    "latency_ms",
    "latency_p90_ms",
    "memory_bytes",
    "parameters",
    "macs",
)
BASELINE_COLUMNS = (
    "baseline",
    *_METRICS,
    "accuracy_low",
    "accuracy_high",
    "quantization",
    "target",
    "seconds",
    "error",
    "artifact_sha256",
    "conditions",
)

_MAX_ATTEMPTS = 2


class Baselines:
    """The reference trials of one study on the images that it has now.

    Args:
        database: Opened to read or to write.
        study_id: The row of the study.
        data_fingerprint: Of its images: what was judged on others does not count.
    """

    def __init__(self, database: Database, study_id: int, data_fingerprint: str | None) -> None:
        self._database = database
        self._key = (study_id, data_fingerprint or "")

    def claim(self, name: str, worker_id: int) -> bool:
        """Takes a baseline, unless it is done, tried often enough or another worker is at it.

        In one turn: on a server two workers that find no row would both make one.
        """
        with self._database.exclusive(), self._database.session() as session:
            row = session.get(BaselineRow, (*self._key, name))
            if row is None:
                study_id, fingerprint = self._key
                row = BaselineRow(
                    study_id=study_id,
                    data_fingerprint=fingerprint,
                    name=name,
                    attempt=0,
                    is_done=False,
                    metrics={},
                    conditions={},
                )
                session.add(row)
            elif row.is_done or row.attempt >= _MAX_ATTEMPTS or is_held(session, row):
                return False
            row.worker_id, row.attempt = worker_id, row.attempt + 1
            return True

    def release(self, name: str) -> None:
        """Says that the worker was only asked to end: the attempt does not count."""
        with self._database.session() as session:
            row = session.get_one(BaselineRow, (*self._key, name))
            row.worker_id, row.attempt = None, row.attempt - 1

    def finish(
        self,
        name: str,
        result: CandidateResult | None,
        *,
        seconds: float,
        keras: str | None = None,
        target: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> None:
        """Records a baseline's figures, or why it has none.

        Args:
            name: The baseline.
            result: What came of it.
            seconds: How long it took.
            keras: SHA-256 of the trained ``.keras`` file, if there is one.
            target: Where latency and memory were taken.
            error: Why it failed, in a sentence.
        """
        with self._database.session() as session:
            row = session.get_one(BaselineRow, (*self._key, name))
            row.is_done, row.seconds, row.error = True, round(seconds, 3), error
            row.finished_at = utc_now()
            row.target = target["name"] if target is not None else None
            if result is not None:
                row.metrics = {name: finite(value) for name, value in result.metrics.items()}
                row.accuracy_low, row.accuracy_high = result.accuracy_low, result.accuracy_high
                row.quantization = result.quantization
                row.artifact_sha256, row.keras_sha256 = result.artifact, keras
                row.predictions_sha256 = result.predictions
                row.conditions = dict(result.conditions)

    def frame(self) -> pd.DataFrame:
        """One row a baseline that was judged, in the order of ``BASELINES``.

        Columns: those of ``BASELINE_COLUMNS``, then every other metric. ``error`` says why a
        baseline has no figures.
        """
        study_id, fingerprint = self._key
        with self._database.session() as session:
            rows = session.scalars(
                select(BaselineRow).where(
                    BaselineRow.study_id == study_id,
                    BaselineRow.data_fingerprint == fingerprint,
                    BaselineRow.is_done,
                )
            )
            found = [
                {
                    "baseline": row.name,
                    **{metric: row.metrics.get(metric) for metric in _METRICS},
                    "accuracy_low": row.accuracy_low,
                    "accuracy_high": row.accuracy_high,
                    "quantization": row.quantization,
                    "target": row.target,
                    "seconds": row.seconds,
                    "error": row.error,
                    "artifact_sha256": row.artifact_sha256,
                    "conditions": row.conditions,
                    **{k: v for k, v in row.metrics.items() if k not in _METRICS},
                }
                for row in rows
                if row.name in BASELINES
            ]
        found.sort(key=lambda row: BASELINES.index(row["baseline"]))
        others = dict.fromkeys(k for row in found for k in row if k not in BASELINE_COLUMNS)
        figures = [*_METRICS, "accuracy_low", "accuracy_high", "seconds", *others]
        frame = pd.DataFrame(found, columns=[*BASELINE_COLUMNS, *others])
        return frame.astype(dict.fromkeys(figures, float))
