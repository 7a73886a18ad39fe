"""``studies``, ``trials``, ``front``, ``show`` and ``models``: what only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosearch.cli.options import Artifacts, FigureKind, Format, OutputFormat, Storage
from autosearch.errors import AutosearchError

if TYPE_CHECKING:
    from autosearch.store.view import StudyView
    from autosearch.suggestion import Suggestion

__all__ = ["print_front", "register"]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]

FRONT_FIELDS = (
    "candidate",
    "trial",
    "quantization",
    "accuracy",
    "size_bytes",
    "accuracy_low",
    "accuracy_high",
    "latency_ms",
    "latency_p90_ms",
    "memory_bytes",
    "target",
    "parameters",
    "macs",
    "artifact",
    "is_measured",
    "estimate",
    "suggested",
)

_NOT_SHOWN = (
    "candidate",
    "representative",
    "is_measured",
    "artifact_sha256",
    "keras_sha256",
    "predictions_sha256",
    "target_id",
)

_MODEL_COLUMNS = (
    "model",
    "alias",
    "current",
    "study",
    "candidate",
    "test_accuracy",
    "size_bytes",
    "promoted_at",
    "note",
)

_FRONT_COLUMNS = {
    "candidate": "candidate",
    "accuracy": "accuracy",
    "interval": "90 % interval",
    "size_bytes": "bytes",
    "latency_ms": "p50 ms",
    "latency_p90_ms": "p90 ms",
    "memory_bytes": "arena bytes",
    "parameters": "parameters",
    "macs": "MACs",
}


def register(app: typer.Typer) -> None:
    """Adds the commands of this module."""
    for command in (studies, trials, front, suggest, show, models):
        app.command(command.__name__)(command)


def studies(
    storage: Storage = None, artifacts: Artifacts = None, output_format: Format = OutputFormat.TABLE
) -> None:
    """List the studies of a database.

    Example: autosearch studies --format json
    """
    from autosearch.cli.output import emit, say
    from autosearch.store.artifacts import ArtifactStore
    from autosearch.store.database import Database
    from autosearch.store.view import StudyView, study_names
    from autosearch.values import TrialState

    database = Database.open_to_read(storage)
    store = ArtifactStore.beside(database, artifacts)
    states = [str(state) for state in TrialState]
    fields = ["study", "budget", "counted", *states, "best_accuracy", "front", "run_minutes"]
    fields.append("created_at")
    rows = []
    for name in study_names(database):
        view = StudyView(database, store, name)
        progress = view.progress()
        row: dict[str, Any] = {"study": name, "budget": view.definition["budget"]["trials"]}
        row["counted"] = progress.num_counted
        row |= {state: progress.counts.get(TrialState(state), 0) for state in states}
        row["best_accuracy"] = progress.best_accuracy
        row["front"] = len(view.front_frame())
        row["run_minutes"] = round(progress.run_seconds / 60, 1)
        row["created_at"] = view.created_at.isoformat(timespec="seconds") + "+00:00"
        rows.append(row)
    columns = {
        "study": "study",
        "counted": "trials",
        "budget": "of budget",
        "failed": "failed",
        "running": "running",
        "best_accuracy": "best accuracy",
        "front": "front",
        "run_minutes": "minutes",
    }
    emit(rows, output_format, columns=columns, fields=fields)
    if not rows:
        say(f"{database.shown_url} holds no study; start one with: autosearch run STUDY_FILE")


def trials(
    study: StudyName,
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """List the trials of a study, with configurations and errors.

    Example: autosearch trials digits --format json
    """
    from autosearch.cli.output import emit, say
    from autosearch.store.rungs import why_pruned
    from autosearch.store.view import open_study, records
    from autosearch.values import TrialState

    view = open_study(study, storage=storage, artifacts=artifacts)
    rows = records(view.trials_frame())
    epochs: dict[int, list[dict[str, Any]]] = {}
    for epoch in records(view.epochs_frame()):
        epochs.setdefault(epoch.pop("trial"), []).append(epoch)
    for row in rows:
        row["epochs"] = epochs.get(row["number"], [])
        row["num_epochs"] = len(row["epochs"])
        # Of the epoch whose weights became the trial's candidates.
        known = [epoch["accuracy"] for epoch in row["epochs"] if epoch["accuracy"] is not None]
        row["best_accuracy"] = max(known, default=None)
        seconds = row["duration_s"]
        row["seconds"] = seconds if seconds is None else float(f"{seconds:.3g}")
        # A complete trial's figures are those of one scheme, and another one may be feasible.
        is_infeasible = row["state"] == TrialState.INFEASIBLE
        over = _over(row["violations"]) if is_infeasible else None
        row["why"] = row["error"] or over or why_pruned(row["facts"])
        if "repeats" in row["facts"] and not row["error"]:
            row["why"] = f"the same as trial {row['facts']['repeats']['trial']}, not trained again"
    columns = {
        "number": "trial",
        "state": "state",
        "seconds": "seconds",
        "num_epochs": "epochs",
        "best_accuracy": "best accuracy",
        "parameters": "parameters",
        "why": "why it ended early",
    }
    if not rows:
        say(f'Study "{study}" has no trials yet.')
    fields = [
        "number", "state", "config", "started_at", "duration_s", "error", "finished_at",
        "attempt", "parameters", "macs", "violations", "stage_seconds", "facts", "traceback",
        "epochs",
    ]  # fmt: skip
    emit(rows, output_format, columns=columns, fields=fields)


def front(
    study: StudyName,
    storage: Storage = None,
    artifacts: Artifacts = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="NAME", help="Rank the figures taken on this target."),
    ] = None,
    estimate: Annotated[
        FigureKind,
        typer.Option("--estimate", help="The kind of figure to rank."),
    ] = FigureKind.VALIDATION,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Print the candidates that no other one beats in everything.

    In JSON and CSV "suggested" is true for the one to take by the figures printed. Where accuracy
    is the only objective, that may be a smaller one that is not on the front, and no row has it:
    autosearch suggest names it.

    Example: autosearch front digits --format csv
    """
    from autosearch.store.view import open_study

    view = open_study(study, storage=storage, artifacts=artifacts)
    print_front(view, output_format, target=target, estimate=estimate)


def print_front(
    view: StudyView,
    output_format: OutputFormat,
    *,
    target: str | None = None,
    estimate: FigureKind = FigureKind.VALIDATION,
) -> bool:
    """Prints a front, or why there is none; answers whether there is one."""
    from autosearch.cli.figures import baselines_line
    from autosearch.cli.output import emit, say
    from autosearch.store.view import CANDIDATE_COLUMNS, records

    rows = records(view.front_frame(target, estimate=estimate))
    suggestion, refused = _suggestion_or_why(view, target)
    # A finalist that was fitted again is none of these rows; among them is the search's own pick.
    pick = suggestion
    if pick is None or pick.estimate != estimate:
        pick, _ = _suggestion_or_why(view, target, estimate)
    others = [key for key in rows[0] if _is_own_metric(key, CANDIDATE_COLUMNS)] if rows else []
    for row in rows:
        low, high = row["accuracy_low"], row["accuracy_high"]
        row["suggested"] = pick is not None and row["candidate"] == pick.candidate
        row["interval"] = f"{low:.3f}–{high:.3f}" if low is not None and high is not None else None
    # What a training measures besides would make the table wider than any terminal.
    asked = [o.metric for o in view.objectives] + [c.metric for c in view.constraints]
    is_own = view.definition["evaluator"] is not None
    columns = {**_FRONT_COLUMNS, **{key: key for key in others if is_own or key in asked}}
    if rows or output_format is not OutputFormat.TABLE:
        noun = "candidate" if len(rows) == 1 else "candidates"
        goals = ", ".join(map(str, view.objectives))
        title = f"Front of {view.name}: {len(rows)} {noun}\n{goals}"
        if rows and rows[0]["target"]:
            title += f"\n{_where(rows[0])}"
            if _is_for_microcontroller(rows[0]):
                columns["memory_bytes"] = "arena bytes (estimate)"
                columns["macs"] = "MACs (estimate of its time)"
        if rows and rows[0]["estimate"] == FigureKind.CROSS_VALIDATION:
            title += f"\n{_cross_validated(rows[0]['conditions'])}"
        emit(rows, output_format, columns=columns, title=title, fields=[*FRONT_FIELDS, *others])
    if suggestion is not None:
        say(_suggested(view, suggestion))
    if refused:
        say(f"Nothing can be suggested: {refused}")
    without_search = baselines_line(view)
    if without_search:
        say(without_search)
    if not rows:
        say(_why_no_front(view, estimate))
    return bool(rows)


def suggest(
    study: StudyName,
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Say which candidate to take, and why.

    It is the smallest one that cannot be told apart from the best.

    Example: autosearch suggest digits --format json
    """
    from dataclasses import asdict

    from autosearch.cli.output import emit, say, stdout
    from autosearch.store.view import open_study
    from autosearch.suggestion import suggest as suggest_candidate

    view = open_study(study, storage=storage, artifacts=artifacts)
    suggestion = suggest_candidate(view)
    if suggestion is None:
        say(
            f'Nothing to suggest for "{study}": it has no front yet, or no figure of how well a '
            "file classifies."
        )
        raise typer.Exit(1)
    if output_format is OutputFormat.TABLE:
        stdout.print(_suggested(view, suggestion), markup=False, soft_wrap=True)
    else:
        emit([{**asdict(suggestion), "reason": suggestion.reason}], output_format, columns={})


def show(
    study: StudyName,
    candidate: Annotated[
        str, typer.Argument(metavar="CANDIDATE", help="Its id, as front lists it.")
    ],
    storage: Storage = None,
    artifacts: Artifacts = None,
    output_format: Format = OutputFormat.TABLE,
) -> None:
    """Show everything about one candidate.

    Example: autosearch show digits 12-int8
    """
    from autosearch.cli.figures import baselines_line, print_details
    from autosearch.cli.output import emit, print_json
    from autosearch.store.view import open_study

    view = open_study(study, storage=storage, artifacts=artifacts)
    found = view.candidate(candidate)
    if output_format is OutputFormat.JSON:
        print_json(found)
    elif output_format is OutputFormat.CSV:
        emit([found], output_format, columns={})
    else:
        title = f"Candidate {candidate} of {study}"
        lines = _lines(found)
        without_search = baselines_line(view)
        if without_search:
            lines += [
                {"what": "", "value": ""},
                {"what": "baselines", "value": without_search},
            ]
        emit(lines, output_format, columns={"what": "", "value": ""}, title=title)
        print_details({**found["conditions"], "classes": found["classes"]})


def models(storage: Storage = None, output_format: Format = OutputFormat.TABLE) -> None:
    """List what was promoted, the newest first.

    Example: autosearch models
    """
    from autosearch.cli.output import emit, say
    from autosearch.store.database import Database
    from autosearch.store.promotions import promotions

    rows = []
    pointed: set[tuple[str, str]] = set()
    database = Database.open_to_read(storage)
    for promotion in promotions(database):
        key = (promotion.model, promotion.alias)
        rows.append(
            {
                "model": promotion.model,
                "alias": promotion.alias,
                "current": key not in pointed,
                "study": promotion.record["study"],
                "candidate": promotion.candidate,
                "test_accuracy": promotion.test_metrics["accuracy"],
                "size_bytes": promotion.record["size_bytes"],
                "promoted_at": promotion.promoted_at.isoformat(timespec="seconds") + "+00:00",
                "note": promotion.note,
                "test_metrics": promotion.test_metrics,
                "comparison": promotion.record.get("comparison"),
                "test_reading": promotion.record.get("test_reading"),
            }
        )
        pointed.add(key)
    columns = {name: name.replace("_", " ") for name in _MODEL_COLUMNS}
    fields = [*_MODEL_COLUMNS, "test_metrics", "comparison", "test_reading"]
    emit(rows, output_format, columns=columns, fields=fields)
    if not rows:
        say(
            f"{database.shown_url} holds no promoted model; "
            "make one with: autosearch promote STUDY CANDIDATE"
        )


def _lines(found: dict[str, Any]) -> list[dict[str, str]]:
    """Everything about a candidate, a line each, in groups."""
    from autosearch.cli.figures import DETAIL_KEYS
    from autosearch.cli.output import figure

    reasons = found["reasons"]
    plain = {
        key: reasons.get(key) if value is None else figure(key, value)
        for key, value in found.items()
        if not isinstance(value, (dict, list)) and key not in _NOT_SHOWN
    }
    if found["target"]:
        plain["target"] = _place(found)
    if _is_for_microcontroller(found):
        description = found["target_description"]
        plain["macs"] = (
            f"{plain['macs']} (stands in for the time, which is not measured: an estimate)"
        )
        if found["memory_bytes"] is not None:
            plain["memory_bytes"] = f"{plain['memory_bytes']} ({description['memory']})"
    plain["started_at"] = f"{found['started_at'][:19].replace('T', ' ')} UTC"
    epochs = found["epochs"]
    if epochs:
        best = max(epochs, key=lambda epoch: epoch["accuracy"] or 0.0)
        plain["epochs"] = f"{len(epochs)}, the best was {best['epoch']}"
    origin = found["facts"].get("continues")
    if origin is not None:
        plain["trained on"] = (
            f"from trial {origin['trial']}, after {origin['epochs_before']} epochs"
        )
    config = {key: figure(key, value) for key, value in found["config"].items()}
    if "quantization" in config:
        # One scheme is drawn in a trial, and all of them become candidates.
        config["quantization"] += ", which the sampler was told about"
    groups = {
        "configuration": config,
        "conditions": {
            key: ", ".join(f"{one} {of}" for one, of in value.items())
            if isinstance(value, dict)
            else figure(key, value)
            for key, value in found["conditions"].items()
            if key not in DETAIL_KEYS
        },
        "time": {stage: f"{s:.2f} s" for stage, s in found["stage_seconds"].items()},
    }
    if found["latencies_again"]:
        groups["latency taken again"] = {
            f"{one['measured_at'][:19].replace('T', ' ')} UTC": _again(one)
            for one in found["latencies_again"]
        }
    lines = [{"what": key, "value": text} for key, text in plain.items() if text]
    for heading, group in groups.items():
        if group:
            lines += [{"what": "", "value": ""}, {"what": f"{heading}:", "value": ""}]
            lines += [{"what": f"  {key}", "value": text} for key, text in group.items()]
    return lines


def _again(reading: dict[str, Any]) -> str:
    """A latency that was taken again, with what it is to be compared by."""
    text = (
        f"{reading['latency_ms']:.3g} ms (p90 {reading['latency_p90_ms']:.3g} ms, "
        f"reference {reading['reference_latency_ms']:.3g} ms) on {_place(reading)}"
    )
    return text if reading["is_quiet"] else f"{text}, beside other workers"


def _is_own_metric(key: str, known: tuple[str, ...]) -> bool:
    """Whether a column is a metric that only the user's function answers."""
    from autosearch.store.view import RESERVED_COLUMNS

    return key not in known and key not in RESERVED_COLUMNS


def _suggestion_or_why(
    view: StudyView, target: str | None, estimate: FigureKind | None = None
) -> tuple[Suggestion | None, str]:
    """What to take, and why that cannot be said, such as a file of predictions that is gone."""
    from autosearch.suggestion import suggest as suggest_candidate

    try:
        return suggest_candidate(view, target=target, estimate=estimate), ""
    except AutosearchError as error:
        return None, str(error)


def _suggested(view: StudyView, suggestion: Suggestion) -> str:
    value = f"{suggestion.metric.replace('_', ' ')} {suggestion.value:.3f}"
    how = f"on {suggestion.num_images:,} validation images"
    if suggestion.estimate == FigureKind.CROSS_VALIDATION:
        conditions = view.candidate(suggestion.candidate)["conditions"]
        how = (
            f"in {conditions['num_folds']}-fold cross-validation on {suggestion.num_images:,} "
            f"images; the file is fitted on the {conditions['fitted_on']}"
        )
    return f"Suggested: {suggestion.candidate} ({value} {how}), {suggestion.reason}."


def _cross_validated(conditions: dict[str, Any]) -> str:
    return (
        f"figures of {conditions['num_folds']}-fold cross-validation on "
        f"{conditions['num_validation_images']:,} images; "
        f"the files are fitted on the {conditions['fitted_on']}"
    )


def _is_for_microcontroller(row: dict[str, Any]) -> bool:
    return "ram_bytes" in (row.get("target_description") or {})


def _where(row: dict[str, Any]) -> str:
    """What the figures of a front hold for, in a line."""
    if not _is_for_microcontroller(row):
        return f"measured on {_place(row)}"
    return f"for {_place(row)}; its time is not measured: MACs stand in for it, an estimate"


def _place(row: dict[str, Any]) -> str:
    description = row.get("target_description") or {}
    if _is_for_microcontroller(row):
        return (
            f"{description['title']}, file ≤ {description['flash_bytes']:,} bytes, arena ≤ "
            f"{description['ram_bytes']:,} bytes"
        )
    details = [str(description[k]) for k in ("cpu", "runtime") if description.get(k)]
    return f"{row['target']} ({', '.join(details)})" if details else str(row["target"])


def _over(violations: dict[str, float] | None) -> str:
    over = [name for name, violation in (violations or {}).items() if violation > 0]
    return f"breaks {', '.join(over)}" if over else ""


def _why_no_front(view: StudyView, estimate: FigureKind) -> str:
    from autosearch.cli.output import command
    from autosearch.values import TrialState

    counts = view.progress().counts
    total = sum(counts.values())
    if not total:
        return f'Study "{view.name}" has no trials yet.'
    kinds = set(view.candidates_frame()["estimate"])
    if kinds and estimate not in kinds:
        return f'No candidate of "{view.name}" has a figure of {estimate.replace("_", "-")} yet.'
    bounds = ", ".join(map(str, view.constraints))
    decided = counts.get(TrialState.INFEASIBLE, 0) + counts.get(TrialState.COMPLETE, 0)
    failed = counts.get(TrialState.FAILED, 0)
    if bounds and decided and not counts.get(TrialState.PRUNED):
        others = f" ({failed} more failed)" if failed else ""
        return (
            f"Nothing is feasible: none of {decided} trials keeps {bounds}{others}. "
            "Loosen the constraint, or make the space smaller."
        )
    if failed:
        return (
            f"No candidate yet: {failed} of {total} trials failed; "
            f"see why with: {command('trials', view.name)}"
        )
    return (
        f"No candidate yet: {total} trials, none of them complete; "
        f"see them with: {command('trials', view.name)}"
    )
