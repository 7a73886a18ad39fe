"""Fashion-MNIST in the same space and the same minutes: autosearch beside what one would write.

Usage: python benchmarks/fashion.py [--minutes 20] [--seed 0] [--workers 2] [--folder FOLDER]
           [--arms hand_written optuna hyperband autosearch]

Each arm has the cores to itself, one after the other, and starts in a process of its own; its time
runs from there, so loading TensorFlow counts.

* ``hand_written``: three tiny networks, trained one after the other.
* ``optuna``: a plain loop of several objectives: every trial is trained to its end, converted and
  measured. Optuna's default sampler.
* ``hyperband``: ``keras_tuner.Hyperband`` on the validation accuracy; every trial that it ends is
  converted and measured.
* ``autosearch``: the study of this file; ``autosearch check benchmarks/fashion.py`` shows it.

All build networks with the same code, from the same space, and make int8 files with the same code;
XLA is off for all, since on a CPU it makes depthwise convolutions slower. What differs is which
networks are trained, for how long, and what an epoch costs.

At the end every int8 file of every arm is judged alike, on the test split and beside one another:
error within [0.06, 0.15], log10 of bytes within [3.7, 5.3] and log10 of milliseconds within
[-2.2, -0.5], each scaled to [0, 1], reference point (1, 1, 1). One JSON line an arm, and one that
compares autosearch with the better of the two peers. ``--folder`` keeps what was found, and arms
that are in it already are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autosearch import Budget, SearchSpace, Study, TrainOn, at_most, maximize, minimize, pareto
from autosearch.data import Idx
from autosearch.space import CNN, Preprocessing, Quantization, Range, Training

if TYPE_CHECKING:
    from autosearch.store.view import StudyView

_BOX = np.array([[0.06, 0.15], [3.7, 5.3], [-2.2, -0.5]])
_SIZES_KB = (16, 32, 64)
_PEERS = ("optuna", "hyperband")
# A plain loop then ends about five trainings in 20 minutes on two cores.
_EPOCHS = 8

study = Study(
    name="fashion",
    dataset=Idx(),
    space=SearchSpace(
        preprocessing=Preprocessing(size=28, color="greyscale"),
        architecture=CNN(
            stages=(1, 3),
            width=[4, 8, 12, 16],
            width_growth=[1.0, 1.5, 2.0],
            blocks_per_stage=(1, 2),
            kernel_size=3,
            block=["plain", "separable", "residual", "inverted_residual"],
            expansion=[2, 4],
            activation=["relu", "hard_swish"],
            pooling=["max", "stride"],
            head="average",
            attention="none",
            dropout=(0.0, 0.3),
        ),
        training=Training(
            epochs=_EPOCHS,
            optimizer="adam",
            learning_rate=Range(5e-4, 1e-2, log=True),
            schedule="cosine",
            batch_size=[64, 128],
        ),
        quantization=Quantization("int8"),
    ),
    objectives=[maximize("accuracy"), minimize("size_bytes"), minimize("latency_ms")],
    constraints=[at_most("size_bytes", 200_000), at_most("latency_ms", 0.316)],
    train_on=TrainOn(first_epochs=2),
    # No peer takes any, and the hand-written networks stand for them.
    baselines=False,
    budget=Budget(minutes=20),
)


def main() -> None:
    """Runs the arms one after the other, then judges their files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--arms", nargs="+", choices=_ARMS, default=list(_ARMS))
    parser.add_argument("--arm", choices=_ARMS, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.arm is not None:
        _ARMS[words.arm](words, Files(words.folder, words.minutes))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = (words.folder or Path(scratch)).absolute()
        for arm in words.arms:
            run_arm(__file__, arm, folder / arm, words, seed=words.seed)
        _judge({arm: folder / arm for arm in words.arms}, words.minutes)


class Files:
    """The files of one arm, each with the seconds after which it was there.

    Args:
        folder: Where they are kept.
        minutes: How long the arm may take from now on.

    Attributes:
        folder: The same.
        deadline: ``time.time()`` after which a file comes too late to count.
    """

    def __init__(self, folder: Path, minutes: float) -> None:
        self.folder = folder
        self._count = 0
        self._started = time.time()
        self.deadline = self._started + 60 * minutes

    def add(self, file: bytes, *, at: float | None = None, label: str = "int8") -> None:
        """Keeps a file that was there at that ``time.time()``, or is there now."""
        seconds = (at or time.time()) - self._started
        if seconds <= self.deadline - self._started:
            self._count += 1
            name = f"{seconds:08.1f} {self._count:05d} {label}.tflite"
            (self.folder / name).write_bytes(file)

    def add_all(self, view: StudyView) -> None:
        """Keeps what a study has found, labelled with the scheme, and "sampled" if it was that."""
        ended = view.trials_frame().set_index("number")["finished_at"]
        for row in view.candidates_frame().to_dict("records"):
            if row["artifact_sha256"]:
                label = row["quantization"] + (" sampled" if row["representative"] else "")
                at = ended[row["trial"]].timestamp()
                self.add(view.artifact(row["artifact_sha256"]), at=at, label=label)


def run_arm(script: str, arm: str, place: Path, words: argparse.Namespace, *, seed: int) -> None:
    """Runs one arm of a script in a process of its own, unless its folder holds a finished run.

    An arm that was cut off starts anew: its time runs from the start of its process.
    """
    if (place / "done").exists():
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    command = [sys.executable, script, "--arm", arm, "--folder", str(place), "--seed", str(seed)]
    command += ["--minutes", str(words.minutes), "--workers", str(words.workers)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, stdout=sys.stderr, env=quiet)
    (place / "done").touch()


def search(searched: Study, words: argparse.Namespace, files: Files) -> None:
    """Lets autosearch search a study for an arm's minutes, and keeps what it found."""
    from autosearch import run

    budgeted = searched.model_copy(update={"budget": Budget(minutes=words.minutes)})
    storage = f"sqlite:///{files.folder}/study.db"
    files.add_all(run(budgeted, storage=storage, seed=words.seed, workers=words.workers))


def _autosearch(words: argparse.Namespace, files: Files) -> None:
    search(study, words, files)


def _plain_optuna(words: argparse.Namespace, files: Files) -> None:
    import optuna

    from autosearch.space.hyperparameters import HyperParameters

    def objective(trial: optuna.Trial) -> tuple[float, float, float]:
        model, training = _built(HyperParameters(trial))
        accuracy = _fitted(model, training, [_stop_at(files.deadline)])
        file = _int8_file(model)
        files.add(file)
        return accuracy, float(len(file)), _plain_latency_ms(file)

    search = optuna.create_study(
        directions=["maximize", "minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=words.seed),
    )
    try:
        search.optimize(objective, timeout=files.deadline - time.time())
    except _TimeIsUp:
        return


def _plain_hyperband(words: argparse.Namespace, files: Files) -> None:
    import keras_tuner

    class Hyperband(keras_tuner.Hyperband):
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            if trial.status == "COMPLETED":
                files.add(_int8_file(self.load_model(trial)))

    def build(hp: Any) -> Any:
        model, training = _built(hp)
        _compile(model, training)
        return model

    tuner = Hyperband(
        build,
        objective="val_accuracy",
        max_epochs=_EPOCHS,
        hyperband_iterations=100,
        seed=words.seed,
        directory=files.folder / "tuner",
        project_name="fashion",
    )
    (images, labels), validation = _data("train"), _data("validation")
    try:
        tuner.search(
            images,
            labels,
            validation_data=validation,
            batch_size=128,
            callbacks=[_stop_at(files.deadline)],
            verbose=0,
        )
    except _TimeIsUp:
        return


def _hand_written(words: argparse.Namespace, files: Files) -> None:
    from autosearch.models.cnn import build_cnn
    from autosearch.space.hyperparameters import HyperParameters

    for width, stages, block in ((8, 2, "plain"), (8, 3, "separable"), (16, 3, "plain")):
        fixed = CNN(
            stages=stages, width=width, width_growth=1.5, blocks_per_stage=1, kernel_size=3,
            block=block, activation="relu", pooling="max", head="average", attention="none",
            dropout=0.0,
        )  # fmt: skip
        training = Training(
            epochs=_EPOCHS, optimizer="adam", learning_rate=3e-3, schedule="cosine", batch_size=128
        )
        hp = HyperParameters()
        model = build_cnn(
            fixed.sample(hp), input_shape=(28, 28, 1), num_classes=10, seed=words.seed
        )
        try:
            _fitted(model, training.sample(hp), [_stop_at(files.deadline)])
        except _TimeIsUp:
            return
        files.add(_int8_file(model))


_ARMS = {
    "hand_written": _hand_written,
    "optuna": _plain_optuna,
    "hyperband": _plain_hyperband,
    "autosearch": _autosearch,
}


class _TimeIsUp(BaseException):
    """Ends an arm in the middle of a training; Keras Tuner would swallow an ``Exception``."""


def _stop_at(deadline: float) -> Any:
    import keras

    class StopAt(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if time.time() > deadline:
                raise _TimeIsUp

    return StopAt()


@cache
def _data(split: str) -> tuple[Any, Any]:
    images, labels = study.dataset.load(split)
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32)
    return pixels.reshape(-1, 28, 28, 1), np.asarray(labels)


def _built(hp: Any) -> tuple[Any, Any]:
    """A network from the study's space, whichever library samples."""
    from autosearch.models.cnn import build_cnn

    config = study.space.architecture.sample(hp)
    training = study.space.training.sample(hp)
    return build_cnn(config, input_shape=(28, 28, 1), num_classes=10, seed=0), training


def _compile(model: Any, training: Any) -> None:
    import keras

    steps = training.epochs * -(-len(_data("train")[1]) // training.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(training.learning_rate, steps, alpha=0.01)
    model.compile(
        keras.optimizers.Adam(rate),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )


def _fitted(model: Any, training: Any, callbacks: list[Any]) -> float:
    _compile(model, training)
    (images, labels), validation = _data("train"), _data("validation")
    history = model.fit(
        images,
        labels,
        validation_data=validation,
        epochs=training.epochs,
        batch_size=training.batch_size,
        callbacks=callbacks,
        verbose=0,
    )
    return float(history.history["val_accuracy"][-1])


def _int8_file(model: Any) -> bytes:
    from autosearch.evaluation.conversion import to_tflite
    from autosearch.evaluation.quantization import quantize_all

    calibration = _data("train")[0][:200].astype(np.uint8)
    file = quantize_all(to_tflite(model), ["int8"], calibration)["int8"]
    if not isinstance(file, bytes):
        raise file
    return file


def _plain_latency_ms(file: bytes) -> float:
    from autosearch.evaluation.litert import TFLiteModel

    model = TFLiteModel(file, num_threads=1)
    model.fill_input(np.zeros((28, 28, 1), np.uint8))
    seconds = []
    for _ in range(200):
        started = time.perf_counter()
        model.invoke()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[20:]))


def _judge(folders: dict[str, Path], minutes: float) -> None:
    arms = judged(folders)
    curves = {arm: list(curve(figures)) for arm, figures in arms.items()}
    for arm, figures in arms.items():
        print(json.dumps({"arm": arm, **summary(figures, minutes)}), flush=True)
    peers = [arm for arm in _PEERS if arms.get(arm)]
    if not arms.get("autosearch") or not peers:
        return
    best = max(peers, key=lambda arm: curves[arm][-1][1])
    goal, ours = curves[best][-1][1], curves["autosearch"]
    reached = next((seconds for seconds, volume in ours if volume >= goal), None)
    print(
        json.dumps(
            {
                "better_peer": best,
                "box": _BOX.tolist(),
                "hypervolume_ratio": round(ours[-1][1] / goal, 3) if goal else None,
                "seconds_to_its_final_hypervolume": reached and round(reached, 1),
            }
        )
    )


def judged(folders: Mapping[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """The figures of each arm's files on the test split, in the order in which they were there.

    The files of all arms are timed in one go, block by block in turns: this machine is a different
    one a minute later, and a file that two arms found would be the quicker one in one of them.

    Args:
        folders: Where each arm's files are.
    """
    from autosearch.evaluation.latency import measure_latency
    from autosearch.evaluation.litert import TFLiteModel

    images, labels = study.dataset.load("test")
    pixels = np.stack([np.asarray(image) for image in images]).reshape(-1, 28, 28, 1)
    found = {
        arm: {path.stem: path.read_bytes() for path in sorted(folder.glob("*.tflite"))}
        for arm, folder in folders.items()
    }
    distinct = list(dict.fromkeys(file for files in found.values() for file in files.values()))
    timed = {str(number): file for number, file in enumerate(distinct)}
    latencies = measure_latency(timed, seconds_per_file=0.15)

    def accuracy(file: bytes) -> float:
        return float((TFLiteModel(file).predict(pixels).argmax(axis=1) == labels).mean())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        accuracies = list(pool.map(accuracy, distinct))
    of = {
        file: {"accuracy": share, "size_bytes": len(file), "latency_ms": latencies[name].p50_ms}
        for (name, file), share in zip(timed.items(), accuracies, strict=True)
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for arm, files in found.items():
        rows[arm] = []
        for stem, file in files.items():
            seconds, _, label = stem.split(" ", 2)
            rows[arm].append({"seconds": float(seconds), "label": label, **of[file]})
    return rows


def curve(figures: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    """After how many seconds which hypervolume was reached, file by file."""
    points = np.array(
        [[1 - f["accuracy"], np.log10(f["size_bytes"]), np.log10(f["latency_ms"])] for f in figures]
    ).reshape(-1, 3)
    scaled = np.maximum((points - _BOX[:, 0]) / (_BOX[:, 1] - _BOX[:, 0]), 0.0)
    for end, figure in enumerate(figures, start=1):
        yield figure["seconds"], float(pareto.hypervolume(scaled[:end], np.ones(3)))


def summary(figures: list[dict[str, Any]], minutes: float) -> dict[str, Any]:
    """What a line tells of an arm that had so many minutes."""
    reached = list(curve(figures))
    best = {
        f"best_accuracy_under_{kb}_kb": max(
            (round(f["accuracy"], 4) for f in figures if f["size_bytes"] < 1000 * kb), default=None
        )
        for kb in _SIZES_KB
    }
    at = {
        f"hypervolume_at_{share}": round(
            max((v for s, v in reached if s <= share * 60 * minutes), default=0.0), 4
        )
        for share in (0.1, 0.25, 0.5)
    } if reached else {}  # fmt: skip
    final = round(reached[-1][1], 4) if reached else 0.0
    return {"files": len(figures), "hypervolume": final, **at, **best}


if __name__ == "__main__":
    main()
