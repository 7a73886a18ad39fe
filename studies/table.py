"""A function of your own in place of training: whatever it answers is searched.

Run it with ``autosearch run studies/table.py``; 200 trials take about half a minute.

The function gets the trial. ``trial.hp`` samples, with Keras Tuner's names and meaning; Optuna's
``trial.suggest_float`` and the like work too, so an Optuna objective runs as it is.
``trial.check_cost`` ends the trial as infeasible when a constraint is broken, before anything
costly is done. ``trial.report`` records an epoch. The answer is a mapping of metrics, or a list
of mappings where one trial gives several candidates.
"""

import math

from autosearch import Budget, Study, at_most, maximize, minimize

EPOCHS = 5


def evaluate(trial):
    """A toy of a network's trade-off: width and depth buy accuracy, at a price."""
    width = trial.hp.Int("width", 4, 128, step=4)
    depth = trial.hp.Int("depth", 1, 8)
    kind = trial.hp.Choice("kind", ["plain", "separable"])
    if kind == "separable":
        expansion = trial.hp.Choice("expansion", [1, 2, 4])
        weights = depth * width * (9 + width * expansion)
    else:
        weights = depth * width * width * 9

    size_bytes = 2_000 + weights
    latency_ms = 0.002 + weights / 4e6
    trial.check_cost(size_bytes=size_bytes, latency_ms=latency_ms)

    learning_rate = trial.hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    reachable = 1 - 0.5 * math.exp(-0.3 * math.log(weights))
    missed = 0.02 * abs(math.log10(learning_rate) + 2)
    for epoch in range(1, EPOCHS + 1):
        accuracy = (reachable - missed) * (1 - 0.5**epoch)
        trial.report(epoch, accuracy=accuracy)
    return {"accuracy": accuracy, "size_bytes": size_bytes, "latency_ms": latency_ms}


study = Study(
    name="table",
    evaluator=evaluate,
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 100_000)],
    budget=Budget(trials=200),
)
