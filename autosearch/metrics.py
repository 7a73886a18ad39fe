"""The metrics that every candidate of a dataset has: what each is called, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BYTES", "LOGARITHMIC", "METRICS", "SHARES", "WHOLE", "Metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What is known of a metric, whatever a study is after.

    Attributes:
        label: Its words.
        unit: Of what is shown; bytes are shown in thousands.
        more_is_better: Which way it is better.
        is_quality: Whether it tells how well a file classifies.
        is_share: Whether it lies between 0 and 1 and is shown in per cent.
        is_whole: Whether it is a whole number.
        is_of_target: Whether a machine measures it of a file: figures of two never meet.
        spans_decades: Whether it is drawn and compared on a logarithmic axis.
    """

    label: str
    unit: str = ""
    more_is_better: bool = False
    is_quality: bool = False
    is_share: bool = False
    is_whole: bool = False
    is_of_target: bool = False
    spans_decades: bool = True


def _share(label: str) -> Metric:
    return Metric(
        label=label, more_is_better=True, is_quality=True, is_share=True, spans_decades=False
    )


def _loss(label: str, unit: str = "") -> Metric:
    return Metric(label=label, unit=unit, is_quality=True, spans_decades=False)


METRICS = {
    "accuracy": _share("accuracy"),
    "balanced_accuracy": _share("balanced accuracy"),
    "macro_f1": _share("macro F1"),
    "log_loss": _loss("log loss", "nats"),
    "expected_calibration_error": _loss("calibration error"),
    "worst_class_recall": _share("worst class recall"),
    "worst_group_accuracy": _share("worst group accuracy"),
    "size_bytes": Metric(label="size", unit="kB", is_whole=True),
    "latency_ms": Metric(label="latency p50", unit="ms", is_of_target=True),
    "latency_p90_ms": Metric(label="latency p90", unit="ms", is_of_target=True),
    "memory_bytes": Metric(label="arena", unit="kB", is_whole=True, is_of_target=True),
    "parameters": Metric(label="parameters", is_whole=True),
    "macs": Metric(label="multiply-accumulates", is_whole=True),
}
"""Name to what is known of it; an objective of a dataset's study is one of these."""

SHARES = tuple(name for name, metric in METRICS.items() if metric.is_share)
"""Metrics between 0 and 1 that are shown in per cent."""

BYTES = tuple(name for name, metric in METRICS.items() if metric.unit == "kB")
"""Metrics in bytes, which are shown in thousands."""

WHOLE = tuple(name for name, metric in METRICS.items() if metric.is_whole)
"""Metrics that are whole numbers."""

LOGARITHMIC = frozenset(name for name, metric in METRICS.items() if metric.spans_decades)
"""Metrics that span decades: drawn and compared on a logarithmic axis."""
