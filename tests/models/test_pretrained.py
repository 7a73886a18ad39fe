"""Networks that have learned from other images: cut off, frozen as far as asked, fine-tuned."""

import keras
import numpy as np
import pytest
from keras import layers

from autosearch.errors import BuildError, DefinitionError
from autosearch.evaluation.training import compile_model
from autosearch.models.pretrained import build_pretrained
from autosearch.space import CNN, Pretrained, SearchSpace, Training
from autosearch.space.hyperparameters import HyperParameters

SHAPE = (16, 16, 3)


def small_network(channels=3, side=16):
    keras.utils.set_random_seed(1)
    image = keras.Input((side, side, channels))
    x = layers.Rescaling(1 / 255)(image)
    for block in range(4):
        x = layers.Conv2D(4, 3, padding="same", name=f"conv{block}")(x)
        x = layers.BatchNormalization(name=f"norm{block}")(x)
        beside = layers.Conv2D(4, 1, name=f"beside{block}")(x)
        x = layers.Add(name=f"add{block}")([x, beside])
    x = layers.Dense(7, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, x)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "learned.keras"
    small_network().save(path)
    return path


def config(source, **words):
    words = {"cut": 1.0, "fine_tuned": 1.0, "learning_rate_ratio": 0.1, "dropout": 0.0, **words}
    return Pretrained(source, **words).sample(HyperParameters())


def build(source, shape=SHAPE, **words):
    return build_pretrained(config(source, **words), input_shape=shape, num_classes=3, seed=0)


def backbone_of(model):
    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def test_the_features_are_those_of_the_file(file):
    images = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.float32)
    model, _ = build(file)
    whole = keras.models.load_model(file)
    expected = keras.Model(whole.input, whole.get_layer("add3").output)(images)
    np.testing.assert_allclose(backbone_of(model)(images), expected, rtol=1e-5)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("share", "last"), [(0.1, "norm0"), (0.25, "add0"), (0.5, "add1"), (1.0, "add3")]
)
def test_a_cut_ends_at_the_end_of_a_block_and_never_within_one(file, share, last):
    model, _ = build(file, cut=share)
    names = [layer.name for layer in backbone_of(model).layers]
    assert names[-1] == last
    assert keras.models.load_model(file).get_layer(last) is not None


def test_what_does_not_learn_stays_and_the_rest_learns_at_its_own_rate(file):
    model, ratios = build(file, fine_tuned=0.5, learning_rate_ratio=0.1)
    training = Training(
        epochs=1, optimizer="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.0,
        batch_size=8,
    ).sample(HyperParameters())  # fmt: skip
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, *SHAPE)).astype(np.float32)
    labels = rng.integers(0, 3, 8)
    steps = {}
    for kind, of in (("own rate", ratios), ("one rate", {})):
        model, _ = build(file, fine_tuned=0.5)
        before = {w.path: np.array(w) for w in model.weights}
        compile_model(model, training, 1, learning_rate_ratios=of)
        model.fit(images, labels, batch_size=8, verbose=0)
        steps[kind] = {w.path: np.array(w) - before[w.path] for w in model.weights}
    moved = {path for path, step in steps["own rate"].items() if np.abs(step).max() > 0}
    assert moved
    assert not any("conv0" in path or "conv1" in path for path in moved)
    assert not any("norm" in path for path in moved), "batch statistics stay"
    assert any("conv3" in path for path in moved)
    for path in moved:
        factor = ratios.get(path, 1.0)
        np.testing.assert_allclose(
            steps["own rate"][path], factor * steps["one rate"][path], rtol=1e-3, atol=1e-7
        )
    assert {factor for path, factor in ratios.items() if path in moved} == {0.1}


def test_without_fine_tuning_only_the_new_layers_learn(file):
    model, ratios = build(file, fine_tuned=0.0)
    assert ratios == {}
    assert [w.path for w in model.trainable_weights] == [
        "new_probabilities/kernel",
        "new_probabilities/bias",
    ]


def test_greyscale_images_and_other_sizes_fit_a_backbone_for_colour(file):
    model, _ = build(file, shape=(24, 24, 1))
    image = np.full((1, 24, 24, 1), 200, np.float32)
    colour, _ = build(file, shape=(24, 24, 3))
    np.testing.assert_allclose(model(image), colour(np.repeat(image, 3, axis=-1)), rtol=1e-5)


def test_the_network_opens_in_plain_keras(file, tmp_path):
    model, _ = build(file)
    model.save(tmp_path / "model.keras")
    back = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    image = np.full((1, *SHAPE), 99, np.float32)
    np.testing.assert_allclose(back(image), model(image), rtol=1e-5)
    # And what was fine-tuned can be gone on from once more.
    again, _ = build(tmp_path / "model.keras")
    assert again.output_shape == (None, 3)


def test_an_application_has_its_own_rescaling_and_width(tmp_path):
    narrow, _ = build("MobileNetV2", shape=(32, 32, 3), weights=None, alpha=0.35, cut=0.5)
    wide, _ = build("MobileNetV2", shape=(32, 32, 3), weights=None, alpha=0.5, cut=0.5)
    assert narrow.count_params() < wide.count_params()
    rescaling = narrow.get_layer("new_rescaling")
    assert (rescaling.scale, rescaling.offset) == (1 / 127.5, -1.0)
    assert any(w.trainable for w in narrow.weights if "bn" in w.path.lower()), "it has not learned"


def test_weights_come_from_a_file_that_fits(tmp_path):
    words = {"include_top": False, "input_shape": (32, 32, 3), "weights": None}
    own = keras.applications.MobileNetV2(alpha=0.35, **words)
    own.save_weights(tmp_path / "own.weights.h5")
    path = tmp_path / "own.weights.h5"
    model, _ = build("MobileNetV2", shape=(32, 32, 3), weights=path, alpha=0.35)
    np.testing.assert_array_equal(backbone_of(model).get_weights()[0], own.get_weights()[0])
    with pytest.raises(DefinitionError, match="does not hold weights of MobileNetV2"):
        build("MobileNetV2", shape=(32, 32, 3), weights=path, alpha=0.5)


def test_weights_that_cannot_be_downloaded_are_said_with_the_way_out(monkeypatch):
    def refuse(*_words, **_named):
        raise Exception("URL fetch failure on somewhere")

    monkeypatch.setattr(keras.applications, "MobileNetV2", refuse)
    with pytest.raises(DefinitionError, match=r'or name a file of them.*weights="FILE"'):
        build("MobileNetV2", shape=(32, 32, 3))


def test_images_too_small_for_an_application_are_said_in_a_sentence():
    with pytest.raises(BuildError, match="does not take images of 16 × 16 pixels"):
        build("MobileNetV2", weights=None)


def test_a_file_with_code_in_it_is_refused(tmp_path):
    image = keras.Input(SHAPE)
    x = layers.Lambda(lambda x: x + 1)(layers.Conv2D(2, 1)(image))
    keras.Model(image, x).save(tmp_path / "code.keras")
    with pytest.raises(DefinitionError, match=r"cannot be opened as a \.keras file"):
        build(tmp_path / "code.keras")
    (tmp_path / "text.keras").write_text("no network")
    with pytest.raises(DefinitionError, match=r"cannot be opened as a \.keras file"):
        build(tmp_path / "text.keras")


def test_a_greyscale_file_refuses_colour(tmp_path):
    small_network(channels=1).save(tmp_path / "grey.keras")
    with pytest.raises(DefinitionError, match=r'Preprocessing\(color="greyscale"\)'):
        build(tmp_path / "grey.keras")


@pytest.mark.parametrize(
    ("source", "words", "said"),
    [
        ("no_such_file", {}, "is no file; expected a .keras file, or one of: DenseNet121"),
        ("MobileNetV2", {"alpha": 0.4}, "no ImageNet weights for MobileNetV2"),
        ("ResNet50V2", {"alpha": 0.5}, "has no width multiplier"),
        (
            "MobileNetV2",
            {"weights": "nowhere.h5"},
            'nowhere.h5" is no file; expected "imagenet", None or a file',
        ),
        ("MobileNetV2", {"pixels": "strange"}, 'pixels "strange" is not known'),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(source, words, said):
    with pytest.raises(DefinitionError) as refused:
        Pretrained(source, **words)
    assert said in str(refused.value)


def test_a_definition_names_the_contents_of_the_file(file, tmp_path):
    space = SearchSpace(architecture=[CNN(stages=1), Pretrained(file, cut=0.5)])
    assert space.is_declarative
    back = SearchSpace.from_definition(space.definition())
    assert back == space
    assert len(back.architectures[1].source_sha256) == 64
    names = {values["architecture"] for values in space.dry_run()}
    assert names == {"cnn", "pretrained"}
    copy = tmp_path / "other.keras"
    small_network(side=8).save(copy)
    changed = dict(space.definition()["architecture"][1], source=str(copy))
    with pytest.raises(DefinitionError, match="not the file that the study was started with"):
        Pretrained(**changed)
