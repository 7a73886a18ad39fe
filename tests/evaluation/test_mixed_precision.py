"""Weights of four bits where they do no harm, on trained networks and real files."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from lone_trial import LoneTrial

import autosearch
from autosearch import Budget, SearchSpace, Study, at_most, maximize, minimize
from autosearch.data import Digits
from autosearch.errors import ConversionError
from autosearch.evaluation.arena import measure_arena, why_no_arena
from autosearch.evaluation.conversion import random_weights, to_tflite
from autosearch.evaluation.cost import estimate_size_bytes
from autosearch.evaluation.layers import layers_of
from autosearch.evaluation.litert import TFLiteModel
from autosearch.evaluation.mixed_precision import (
    MAX_DIVERGENCE,
    _Spread,
    divergence,
    narrowest_file,
    weights_by_layer,
)
from autosearch.evaluation.pipeline import KerasEvaluator, calibration_images
from autosearch.evaluation.quantization import is_fully_integer, quantize, quantize_all
from autosearch.registry import promote
from autosearch.space import CNN, Preprocessing, Quantization, Training
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database

layers = keras.layers


def network():
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 16)(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(24, 3, padding="same", strides=2, activation="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Conv2D(31, 1, activation="relu")(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax")(x))


class Trained:
    """A network that reads digits, and its files."""

    def __init__(self):
        keras.utils.set_random_seed(0)
        self.model = network()
        self.images, labels = Digits().load("train")
        self.model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
        self.model.fit(self.images, labels, epochs=6, batch_size=32, verbose=0)
        self.float_file = to_tflite(self.model)
        self.calibration = calibration_images(self.images)
        self.files = quantize_all(self.float_file, ["int8", "mixed"], self.calibration)


@pytest.fixture(scope="module")
def trained():
    return Trained()


def test_the_file_is_smaller_than_int8_and_reads_as_well(trained):
    mixed = trained.files["mixed"]
    assert len(mixed) < 0.8 * len(trained.files["int8"])
    assert is_fully_integer(mixed)
    images, labels = Digits().load("validation")
    given = TFLiteModel(mixed).predict(images)
    expected = TFLiteModel(trained.files["int8"]).predict(images)
    right = [(p.argmax(axis=1) == labels).mean() for p in (given, expected)]
    assert right[1] > 0.9
    assert right[0] > right[1] - 0.02
    assert TFLiteModel(mixed).input == TFLiteModel(trained.files["int8"]).input


def test_it_strays_no_further_than_it_may_on_the_images_that_it_learned_from(trained):
    images = trained.calibration
    expected = TFLiteModel(trained.float_file).predict(images)
    of_int8, of_mixed = (
        divergence(expected, TFLiteModel(trained.files[scheme]).predict(images))
        for scheme in ("int8", "mixed")
    )
    assert of_mixed <= of_int8 + MAX_DIVERGENCE


def test_the_types_by_layer_are_those_of_the_files_tensors(trained):
    file = trained.files["mixed"]
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(file))
    graph = model.subgraphs[0]
    kinds = {value: name for name, value in vars(schema.TensorType).items()}
    expected = [
        kinds[graph.tensors[operator.inputs[1]].type]
        for operator in graph.operators
        if flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]
    found = weights_by_layer(file)
    assert list(found.values()) == expected
    assert {"INT4", "INT8"} == set(expected)
    (depthwise,) = (kind for name, kind in found.items() if "DEPTHWISE" in name)
    assert depthwise == "INT8"
    names = [f"{place} {layer.operator}" for place, layer in enumerate(layers_of(file))]
    assert set(found) <= set(names)


def test_same_input_gives_the_same_bytes(trained):
    assert quantize(trained.float_file, "mixed", trained.calibration) == trained.files["mixed"]


def test_no_file_is_smaller_than_what_the_untrained_network_shows(trained):
    """So a bound on the size refuses no network that it should not."""
    weights = random_weights(trained.model, 3)
    untrained = to_tflite(trained.model, weights=weights)
    least = quantize_all(untrained, ["mixed"], trained.images[:20], is_trained=False)["mixed"]
    assert len(least) == len(narrowest_file(trained.files["int8"]))
    assert estimate_size_bytes(trained.model, "mixed") < len(least) <= len(trained.files["mixed"])


@pytest.mark.skipif(why_no_arena() is not None, reason="no TensorFlow Lite Micro here")
def test_tensorflow_lite_micro_runs_it(trained):
    assert measure_arena(trained.files["mixed"]).memory_bytes is not None
    assert measure_arena(narrowest_file(trained.files["int8"])).memory_bytes is not None


@pytest.mark.parametrize(
    "convolution",
    [
        layers.Conv2D(8, 3, groups=2, activation="relu"),
        layers.Conv2D(7, 3, dilation_rate=2, use_bias=False),
        layers.Conv2D(9, 5, strides=2),
    ],
)
def test_every_kind_of_convolution_runs_with_four_bits(convolution):
    image = keras.Input((12, 12, 2))
    x = layers.GlobalAveragePooling2D()(convolution(layers.Rescaling(1 / 255)(image)))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(x))
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 2), dtype=np.uint8)
    float_file = to_tflite(model, weights=random_weights(model, 1))
    narrow = narrowest_file(quantize(float_file, "int8", images))
    assert "INT4" in weights_by_layer(narrow).values()
    expected = TFLiteModel(float_file).predict(images)
    assert divergence(expected, TFLiteModel(narrow).predict(images)) < 0.08


def test_a_network_without_such_layers_gives_no_file_and_says_why():
    image = keras.Input((8, 8, 40))
    x = layers.DepthwiseConv2D(5)(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Softmax()(layers.GlobalAveragePooling2D()(x)))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 40), dtype=np.uint8)
    float_file = to_tflite(model, weights=random_weights(model, 0))
    for is_trained in (True, False):
        found = quantize_all(float_file, ["int8", "mixed"], images, is_trained=is_trained)
        assert isinstance(found["int8"], bytes)
        assert "No layer saves 1% of the int8 file" in str(found["mixed"])


def test_a_network_that_four_bits_would_spoil_gives_no_file_and_says_why():
    image = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Dense(4, activation="softmax")(x))
    kernel = np.random.default_rng(0).normal(0, 1, (64, 4))
    # The weight of a pixel that is always black leaves the others 256 steps, but not 16.
    kernel[0] = 8.0
    images = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    images[:, 0, 0] = 0
    float_file = to_tflite(model, weights=[kernel.astype(np.float32), np.zeros(4, np.float32)])
    with pytest.raises(ConversionError, match=r"4 bits in any layer move .* more than 2% beyond"):
        quantize(float_file, "mixed", images)


def with_one_large_channel(model, factor):
    """The same network to float arithmetic: what one layer enlarges the next one makes small."""
    first, second = (layer for layer in model.layers if isinstance(layer, layers.Conv2D))
    kernel, bias = first.get_weights()
    reader, second_bias = second.get_weights()
    channel = int(np.abs(reader).sum(axis=(0, 1, 3)).argmax())
    kernel[..., channel] *= factor
    bias[channel] *= factor
    reader[:, :, channel] /= factor
    changed = {0: kernel, 1: bias, 2: reader, 3: second_bias}
    weights = [np.asarray(variable) for variable in model.variables]
    for place, value in changed.items():
        weights[place] = value
    return to_tflite(model, weights=weights)


def test_an_activation_that_int8_spoils_is_kept_in_float():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 16)(image)
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    model = keras.Model(image, layers.Dense(10, activation="softmax")(x))
    images, labels = Digits().load("train")
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=4, batch_size=32, verbose=0)
    float_file = with_one_large_channel(model, 1000)
    calibration = calibration_images(images)
    files = quantize_all(float_file, ["int8", "mixed"], calibration)
    expected = TFLiteModel(float_file).predict(calibration)
    of_int8, of_mixed = (
        divergence(expected, TFLiteModel(files[scheme]).predict(calibration))
        for scheme in ("int8", "mixed")
    )
    assert of_int8 > 0.1
    assert of_mixed < 2 * MAX_DIVERGENCE
    # The layer whose output it is, and the one that reads it.
    assert list(weights_by_layer(files["mixed"]).values()) == ["FLOAT32", "FLOAT32", "INT4"]
    unseen, labels = Digits().load("validation")
    right = {
        scheme: (TFLiteModel(file).predict(unseen).argmax(axis=1) == labels).mean()
        for scheme, file in files.items()
    }
    assert right["mixed"] > right["int8"] + 0.05


def test_the_spread_of_an_activation_is_that_of_all_images_together():
    rng = np.random.default_rng(0)
    parts = [rng.normal(5, 1 + i, (16, 3)).astype(np.float32) for i in range(5)]
    spread = _Spread()
    for part in parts:
        spread.add(part)
    together = np.concatenate(parts).astype(np.float64)
    assert spread.variances == pytest.approx(together.var(axis=0))
    assert spread.range == pytest.approx(np.ptp(together))


def test_a_reason_against_int8_is_one_against_mixed(trained):
    none = trained.calibration[:0]
    found = quantize_all(trained.float_file, ["float32", "mixed"], none)
    assert list(found) == ["float32", "mixed"]
    assert "no calibration images" in str(found["mixed"])
    with pytest.raises(ConversionError, match=r"no \.tflite file"):
        narrowest_file(b"nothing")


def study_with(constraints=()):
    return Study(
        name="mixed",
        dataset=Digits(),
        space=SearchSpace(
            preprocessing=Preprocessing(size=8, color="greyscale"),
            architecture=CNN(
                stages=2,
                # Wide enough, and trained enough, that half of the bits will do.
                width=24,
                width_growth=2.0,
                blocks_per_stage=1,
                kernel_size=3,
                block="plain",
                activation="relu",
                pooling="max",
                head="average",
                attention="none",
                dropout=[0.0, 0.1],
            ),
            training=Training(epochs=6, optimizer="adam", learning_rate=0.01, batch_size=32),
            quantization=Quantization("mixed", "float32", "int8"),
        ),
        objectives=[maximize("accuracy"), minimize("size_bytes")],
        constraints=constraints,
        budget=Budget(trials=1),
        baselines=False,
        cross_validation=None,
    )


def test_a_bound_that_only_four_bits_may_keep_refuses_no_network():
    """What can be narrowed is known after training, so each has its chance."""
    whole = KerasEvaluator(study_with())
    files = whole.untrained_files(whole.plan(LoneTrial()), seed=1)
    for bound, may_keep in ((len(files["mixed"]), True), (len(files["mixed"]) - 1, False)):
        evaluator = KerasEvaluator(study_with(constraints=[at_most("size_bytes", bound)]))
        costs = evaluator.costs(evaluator.plan(LoneTrial()), seed=1)
        assert costs["int8"]["size_bytes"] > bound
        assert (costs["mixed"]["size_bytes"] <= bound) is may_keep


@pytest.mark.skipif(why_no_arena() is not None, reason="no TensorFlow Lite Micro here")
def test_memory_and_latency_before_training_are_the_least_that_mixed_may_need():
    bounds = [at_most("memory_bytes", 10**6), at_most("latency_ms", 1000)]
    evaluator = KerasEvaluator(study_with(constraints=bounds))
    costs = evaluator.costs(evaluator.plan(LoneTrial()), seed=1)
    for metric in ("memory_bytes", "latency_ms", "latency_p90_ms"):
        assert 0 < costs["mixed"][metric] <= costs["int8"][metric]


def test_a_study_proposes_mixed_candidates_and_one_is_promoted_and_verified(
    tmp_path, autosearch_here
):
    storage = f"sqlite:///{tmp_path / 'mixed.db'}"
    view = autosearch.run(study_with(), storage=storage, seed=0)
    frame = view.candidates_frame().set_index("candidate")
    found = frame[frame["quantization"] == "mixed"]
    assert len(found) == 1
    assert not found["representative"].any()
    assert {t["quantization"] for t in view.trials_frame()["config"]} <= {"float32", "int8"}
    for name, row in found[found["artifact"].notna()].iterrows():
        int8 = frame.loc[name.replace("mixed", "int8")]
        assert row["size_bytes"] < int8["size_bytes"]
        assert row["conditions"]["fully_integer"] == int8["conditions"]["fully_integer"]
        kinds = row["conditions"]["weights_by_layer"]
        num_narrow = list(kinds.values()).count("INT4")
        assert row["conditions"]["weights"] == f"int4 in {num_narrow} of {len(kinds)} layers"
    chosen = found[found["artifact"].notna()].index[0]
    assert set(view.front_frame()["quantization"]) & {"mixed"}

    shown = autosearch_here("show", "mixed", chosen, "--storage", storage)
    assert "int4 in " in shown.stdout
    assert "CONV_2D INT4" in shown.stdout

    database = Database.open_to_write(storage)
    artifacts = ArtifactStore.beside(database, None)
    promoted = promote(database, artifacts, study_name="mixed", candidate=chosen)
    assert promoted.record["quantization"] == "mixed"
    bundle = tmp_path / "bundle"
    words = ("export", "mixed", "--output", bundle, "--storage", storage)
    assert autosearch_here(*words).returncode == 0
    assert (bundle / "model.tflite").stat().st_size == found.loc[chosen, "size_bytes"]
    assert autosearch_here("verify", bundle).returncode == 0
