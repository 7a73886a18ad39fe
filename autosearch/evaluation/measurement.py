"""A trained network's files → its candidates, each figure read off the file that would ship."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from autosearch.errors import ConversionError
from autosearch.evaluation.arena import measure_arena
from autosearch.evaluation.groups import WORST_GROUP, Groups
from autosearch.evaluation.latency import Latency, measure_latency, times_at_rest
from autosearch.evaluation.metrics import (
    CLASSIFICATION_METRICS,
    class_figures,
    classification_metrics,
    wilson_interval,
)
from autosearch.evaluation.mixed_precision import weights_by_layer
from autosearch.evaluation.plan import Plan
from autosearch.evaluation.quantization import is_fully_integer
from autosearch.space.quantization import MIXED
from autosearch.store.predictions import Predictions
from autosearch.targets import Target
from autosearch.values import CandidateResult, Estimate, EvaluatorTrial

__all__ = ["measure_candidates"]

_MAX_CLASSES_IN_CONDITIONS = 50  # a confusion matrix grows with the square
_COSTS = ("size_bytes", "memory_bytes", "latency_ms", "latency_p90_ms", "parameters", "macs")


def measure_candidates(
    plan: Plan,
    files: Mapping[str, bytes | ConversionError],
    predictions: Mapping[str, Predictions],
    groups: Mapping[str, Sequence[str]],
    trial: EvaluatorTrial,
    *,
    classes: Sequence[str],
    target: Target,
    estimate: Estimate = Estimate.VALIDATION,
    conditions: Mapping[str, Any] | None = None,
    keras_sha256: str | None = None,
) -> list[CandidateResult]:
    """Measures files and puts what is known of each together.

    Args:
        plan: What was sampled.
        files: The file of each scheme, or why there is none.
        predictions: By scheme, what its figures of accuracy are taken from.
        groups: Each group column with the value of every predicted image.
        trial: Where files are stored.
        classes: Their names, in the order of the outputs.
        target: Where the files will run: this machine's time says nothing of a microcontroller.
        estimate: What kind of figures those are.
        conditions: How they were taken, besides what is always recorded.
        keras_sha256: The network's ``.keras`` file, if it is not the trial's own.
    """
    usable = {s: f for s, f in files.items() if not isinstance(f, ConversionError)}
    latencies = {} if target.is_microcontroller else measure_latency(usable)
    by_group = Groups(groups)
    counted = by_group.counted()
    candidates = []
    for scheme, file in files.items():
        if isinstance(file, ConversionError):
            candidates.append(_without_file(scheme, str(file), estimate))
            continue
        seen = predictions[scheme]
        low, high = wilson_interval(int(seen.right.sum()), len(seen.labels))
        of_groups = by_group.figures(seen.labels, seen.probabilities)
        arena = measure_arena(file)
        latency = latencies.get(scheme)
        reasons = {"memory_bytes": arena.reason, WORST_GROUP: of_groups.reason}
        if latency is None:
            reasons |= dict.fromkeys(
                ("latency_ms", "latency_p90_ms"),
                f"Not measured on {target.name}; macs stand in for it, an estimate.",
            )
        candidates.append(
            CandidateResult(
                quantization=scheme,
                estimate=estimate,
                metrics={
                    **classification_metrics(seen.labels, seen.probabilities),
                    WORST_GROUP: of_groups.worst_accuracy,
                    "size_bytes": len(file),
                    **times_at_rest(latency),
                    "memory_bytes": arena.memory_bytes,
                    "parameters": plan.parameters,
                    "macs": plan.macs,
                },
                accuracy_low=low,
                accuracy_high=high,
                artifact=trial.store_artifact(file),
                keras=keras_sha256,
                predictions=replace(seen, groups=counted).stored(trial.store_artifact),
                conditions={
                    "num_validation_images": len(seen.labels),
                    **(conditions or {"interval": "Wilson, 90 %"}),
                    **_conditions_of(latency),
                    "fully_integer": is_fully_integer(file),
                    **_weights_of(scheme, file),
                    **_class_figures(seen, classes),
                    **of_groups.figures,
                },
                reasons={name: why for name, why in reasons.items() if why is not None},
            )
        )
    return candidates


def _conditions_of(latency: Latency | None) -> dict[str, float | bool]:
    if latency is None:
        return {}
    return {
        "num_latency_runs": latency.num_runs,
        "reference_latency_ms": latency.reference_ms,
        "raw_latency_ms": latency.p50_ms,
        "latency_slowdown": round(latency.slowdown, 3),
        "latency_taken_in_quiet": latency.is_quiet,
    }


def _weights_of(scheme: str, file: bytes) -> dict[str, Any]:
    """Which layers of a mixed file have weights of which type; those of any other have one."""
    if scheme != MIXED:
        return {}
    layers = weights_by_layer(file)
    count = Counter(layers.values())
    words = f"int4 in {count['INT4']} of {len(layers)} layers"
    if count["FLOAT32"]:
        words += f", float32 in {count['FLOAT32']}"
    return {"weights": words, "weights_by_layer": layers}


def _class_figures(seen: Predictions, classes: Sequence[str]) -> dict[str, Any]:
    if len(classes) > _MAX_CLASSES_IN_CONDITIONS:
        return {}
    return class_figures(seen.labels, seen.probabilities, classes)


def _without_file(scheme: str, reason: str, estimate: Estimate) -> CandidateResult:
    metrics: dict[str, float | None] = dict.fromkeys(
        (*CLASSIFICATION_METRICS, WORST_GROUP, *_COSTS)
    )
    return CandidateResult(
        quantization=scheme,
        estimate=estimate,
        metrics=metrics,
        reasons=dict.fromkeys(metrics, reason),
    )
