import keras
import numpy as np
import pytest

from autosearch.errors import BuildError, NotFoundError, StudyError
from autosearch.models.cnn import build_cnn
from autosearch.models.pretrained import block_ends, build_pretrained
from autosearch.space import CNN, Pretrained
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.pretrained import PretrainedConfig
from autosearch.space.search_space import RandomTrial

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 1)).astype(np.float32)


def build(space, shape=(12, 12, 1), *, width=1.0, cut=1.0, depth=1.0, ratio=0.1, dropout=0.0):
    config = PretrainedConfig(width, cut, depth, ratio, dropout)
    return build_pretrained(space, config, input_shape=shape, num_classes=3, seed=1)


@pytest.fixture(scope="module")
def trained():
    """A network of ours with all its kinds of weights away from where they start."""
    space = CNN(stages=2, width=8, blocks_per_stage=2, kernel_size=3, block="residual",
                attention="squeeze_excite", activation="relu", pooling="max",
                width_growth=2.0)  # fmt: skip
    config = space.sample(HyperParameters(RandomTrial(0)))
    model = build_cnn(config, input_shape=(12, 12, 1), num_classes=5, seed=0)
    generator = np.random.default_rng(1)
    model.set_weights([w + generator.uniform(0.01, 0.1, w.shape) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def keras_file(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("old") / "old.keras"
    trained.save(path)
    return path


def test_the_features_are_those_of_the_trained_network(trained, keras_file):
    model, _ = build(Pretrained(keras_file))
    features = keras.Model(trained.input, block_ends(trained)[-1].output)(IMAGES)
    ours = keras.Model(model.input, model.get_layer("new_pool").input)(IMAGES)
    np.testing.assert_allclose(features, ours, atol=1e-5)
    assert model.output_shape == (None, 3)
    np.testing.assert_allclose(np.sum(model(IMAGES), axis=1), 1.0, atol=1e-5)


def test_the_ends_of_blocks_are_where_nothing_passes_by(trained):
    names = [layer.name for layer in block_ends(trained)]
    assert names == [
        "stem_relu",
        "stage1_block1_out_relu",
        "stage1_block2_out_relu",
        "stage2_pool",
        "stage2_block1_out_relu",
        "stage2_block2_out_relu",
    ]


def test_a_cut_makes_the_network_smaller_and_another_size_is_taken(keras_file):
    sizes = [build(Pretrained(keras_file), (20, 16, 1), cut=cut)[0].count_params()
             for cut in (0.2, 0.6, 1.0)]  # fmt: skip
    assert sizes == sorted(set(sizes))


def test_depth_says_how_much_is_trained_from_the_head_down(keras_file):
    head = 2
    none, tuning = build(Pretrained(keras_file), depth=0.0)
    assert (len(none.trainable_variables), tuning.variables) == (head, ())
    half, tuning = build(Pretrained(keras_file), depth=0.5)
    whole, _ = build(Pretrained(keras_file), depth=1.0)
    counts = [len(model.trainable_variables) for model in (none, half, whole)]
    assert counts == sorted(set(counts))
    assert len(tuning.variables) == len(half.trainable_variables) - head
    trainable = [layer.trainable for layer in half.layers if layer.weights]
    assert trainable == sorted(trainable)
    assert none.count_params() == whole.count_params()


def test_it_is_one_flat_network_that_opens_in_safe_mode(keras_file, tmp_path):
    model, _ = build(Pretrained(keras_file), cut=0.7, dropout=0.2)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    model.save(tmp_path / "new.keras")
    again = keras.saving.load_model(tmp_path / "new.keras", safe_mode=True)
    np.testing.assert_allclose(again(IMAGES), model(IMAGES), atol=1e-6)
    twice, _ = build(Pretrained(tmp_path / "new.keras"), cut=0.5)
    assert twice.count_params() < model.count_params()


def test_the_same_seed_builds_the_same_network(keras_file):
    (one, _), (other, _) = build(Pretrained(keras_file)), build(Pretrained(keras_file))
    assert [w.name for w in one.layers] == [w.name for w in other.layers]
    for mine, yours in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, yours)


def test_weights_come_from_a_local_file(tmp_path):
    old = keras.applications.MobileNet(
        input_shape=(32, 32, 3), alpha=0.25, include_top=False, weights=None
    )
    old.set_weights([np.abs(w) * 0.5 + 0.01 for w in old.get_weights()])
    old.save_weights(tmp_path / "old.weights.h5")
    space = Pretrained("MobileNet", weights=tmp_path / "old.weights.h5", width=0.25)
    model, tuning = build(space, (48, 48, 1), width=0.25, cut=0.1)
    kernel = old.get_layer("conv1").kernel
    np.testing.assert_array_equal(model.get_layer("conv1").kernel, kernel)
    assert {layer.name for layer in model.layers} >= {"grey_as_rgb", "pretrained_rescaling"}
    assert tuning.learning_rate_ratio == 0.1
    with pytest.raises(StudyError, match=r"do not fit MobileNet of width 0\.5"):
        build(space, (48, 48, 1), width=0.5)


@pytest.mark.parametrize("source", ["MobileNet", "MobileNetV3Small"])
def test_pixels_reach_a_backbone_as_it_was_trained_to_see_them(source):
    space = Pretrained(source, weights=None, width=0.5)
    model, _ = build(space, (32, 32, 3), width=0.5)
    made = getattr(keras.applications, source)
    fresh = made(input_shape=(32, 32, 3), alpha=0.5, include_top=False, weights=None)
    fresh.set_weights(model.get_weights()[:-2])
    home = {"MobileNet": "mobilenet"}.get(source, "mobilenet_v3")
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3)).astype(np.float32)
    seen = getattr(keras.applications, home).preprocess_input(image.copy())
    ours = keras.Model(model.input, model.get_layer("new_pool").input)(image)
    np.testing.assert_allclose(ours, fresh(seen), atol=1e-4)


def test_weights_that_cannot_be_downloaded_stop_the_study_in_one_sentence(monkeypatch):
    def unreachable(**words):
        raise Exception("URL fetch failure on https://example.org: None -- no network")

    monkeypatch.setattr(keras.applications, "MobileNetV2", unreachable)
    with pytest.raises(StudyError) as raised:
        build(Pretrained("MobileNetV2"), (32, 32, 3))
    assert 'name a local file: Pretrained("MobileNetV2", weights=' in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_changed_or_went_stops_the_study(keras_file, tmp_path):
    path = tmp_path / "copy.keras"
    path.write_bytes(keras_file.read_bytes())
    space = Pretrained(path)
    path.write_bytes(b"something else")
    with pytest.raises(StudyError, match="has changed since"):
        build(space)
    with pytest.raises(StudyError, match="cannot be opened"):
        build(Pretrained(path))
    path.unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        build(space)


def test_a_lambda_in_a_file_is_not_run(tmp_path):
    image = keras.Input((12, 12, 1))
    x = keras.layers.Lambda(lambda pixels: pixels * 2)(keras.layers.Conv2D(4, 3)(image))
    keras.Model(image, x).save(tmp_path / "lambda.keras")
    with pytest.raises(StudyError, match="cannot be opened"):
        build(Pretrained(tmp_path / "lambda.keras"))


def test_a_sequential_file_is_taken_and_cut_behind_its_first_convolution(tmp_path):
    layers = keras.layers
    old = keras.Sequential([
        keras.Input((12, 12, 1)), layers.Rescaling(1 / 255), layers.RandomRotation(0.1),
        layers.RandomZoom(0.1), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(8, 3, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(5),
    ])  # fmt: skip
    old.save(tmp_path / "sequential.keras")
    for cut, width in ((0.01, 4), (1.0, 8)):
        model, _ = build(Pretrained(tmp_path / "sequential.keras"), cut=cut)
        assert model.get_layer("new_pool").output.shape[-1] == width


def test_a_network_within_a_network_is_named(tmp_path, trained):
    image = keras.Input((12, 12, 1))
    inner = keras.Model(trained.input, block_ends(trained)[-1].output, name="inner")
    keras.Model(image, keras.layers.Flatten()(inner(image))).save(tmp_path / "outer.keras")
    with pytest.raises(StudyError, match=r'the network "inner" within it.*get_layer\("inner"\)'):
        build(Pretrained(tmp_path / "outer.keras"))


def test_colours_that_a_file_does_not_take_are_said(keras_file):
    with pytest.raises(BuildError, match='write Preprocessing\\(color="greyscale"\\)'):
        build(Pretrained(keras_file), (12, 12, 3))


def test_a_promoted_candidate_is_a_source(bundle):
    space = Pretrained.from_model("reader", storage=bundle.storage, cut=0.5)
    model, _ = build(space, (16, 16, 1), cut=0.5)
    assert model.output_shape == (None, 3)
    with pytest.raises(NotFoundError, match='no alias "challenger"'):
        Pretrained.from_model("reader", alias="challenger", storage=bundle.storage)
