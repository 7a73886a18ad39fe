import hashlib

import pytest

from autosearch import SearchSpace
from autosearch.errors import DefinitionError
from autosearch.space import CNN, Preprocessing, Pretrained
from autosearch.space.hyperparameters import HyperParameters
from autosearch.space.pretrained import APPLICATIONS
from autosearch.space.search_space import RandomTrial


def sampled(space, seed=0):
    hp = HyperParameters(RandomTrial(seed))
    return space.sample(hp), hp.values


@pytest.fixture
def keras_file(tmp_path):
    path = tmp_path / "old.keras"
    path.write_bytes(b"a network")
    return path


def test_width_cut_depth_and_rate_are_sampled():
    space = Pretrained("MobileNetV2", width=[0.35, 0.5], cut=(0.2, 1.0), fine_tune_depth=0.5)
    config, values = sampled(space)
    assert config.width in (0.35, 0.5)
    assert 0.2 <= config.cut <= 1.0
    assert 0.01 <= config.learning_rate_ratio <= 1.0
    assert {f"architecture/{name}" for name in ("width", "cut", "learning_rate_ratio")} <= set(
        values
    )


def test_a_frozen_backbone_has_no_learning_rate_to_sample():
    config, values = sampled(Pretrained("MobileNetV2", fine_tune_depth=0.0))
    assert config.learning_rate_ratio == 1.0
    assert "architecture/learning_rate_ratio" not in values


def test_random_weights_are_trained_whole_and_at_the_full_rate():
    config, values = sampled(Pretrained("MobileNetV2", weights=None))
    assert (config.fine_tune_depth, config.learning_rate_ratio) == (1.0, 1.0)
    assert "architecture/fine_tune_depth" not in values


def test_a_definition_makes_the_space_again(keras_file):
    space = SearchSpace(
        architecture=[CNN(stages=1), Pretrained(keras_file, cut=0.5), Pretrained("MobileNetV2")]
    )
    assert space.is_declarative
    assert SearchSpace.from_definition(space.definition()) == space
    assert len(space.dry_run()) == 20
    names = {values["architecture"] for values in space.dry_run()}
    assert names == {"cnn", "pretrained", "mobilenetv2"}


def test_a_file_is_told_by_its_content(keras_file):
    first = Pretrained(keras_file)
    assert first.source_sha256 == hashlib.sha256(b"a network").hexdigest()
    keras_file.write_bytes(b"another network")
    assert Pretrained(keras_file) != first
    keras_file.unlink()
    assert Pretrained(**first.model_dump(mode="json")) == first, "a stored study still opens"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ({"source": "MobileNetV9"}, 'source "MobileNetV9" is unknown; write a .keras file, or one'),
        ({"source": "gone.keras"}, 'source "gone.keras" cannot be read (No such file'),
        ({"source": "MobileNetV2", "weights": "gone.h5"}, 'weights "gone.h5" cannot be read'),
        ({"source": "MobileNetV2", "weights": "cifar"}, "weights 'cifar' are unknown"),
        ({"source": "MobileNetV2", "width": [0.35, 0.4]}, "width 0.4 is not one of MobileNetV2"),
        ({"source": "MobileNetV3Small", "width": 0.5}, "write 0.75, 1.0"),
        ({"source": "Xception", "width": 0.5}, "its width is fixed"),
        ({"source": "MobileNetV2", "width": (0.35, 1.0)}, "width is a range; write a list"),
        ({"source": "MobileNetV2", "cut": 0.0}, "cut: 0.0 is out of bounds"),
        ({"source": "MobileNetV2", "rescaling": "unit"}, "rescaling is for .keras files"),
        ({"source": "MobileNetV2", "depth": 1}, "no such parameter"),
        ({}, "source None is no name"),
    ],
)
def test_a_wrong_word_is_one_sentence(words, complaint):
    with pytest.raises(DefinitionError) as raised:
        Pretrained(**words)
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_of_a_file_fit_one_width(tmp_path):
    weights = tmp_path / "w.weights.h5"
    weights.write_bytes(b"weights")
    assert Pretrained("MobileNetV2", weights=weights, width=0.35).weights_sha256 is not None
    with pytest.raises(DefinitionError, match="fit one width"):
        Pretrained("MobileNetV2", weights=weights, width=[0.35, 0.5])


def test_a_keras_file_has_its_own_weights(keras_file):
    with pytest.raises(DefinitionError, match="leave weights out"):
        Pretrained(keras_file, weights="imagenet")


@pytest.mark.parametrize("size", [24, [24, 48], (24, 48)])
def test_images_that_are_too_small_are_found_in_the_definition(size):
    with pytest.raises(DefinitionError, match="at least 32 pixels, not 24"):
        SearchSpace(preprocessing=Preprocessing(size=size), architecture=Pretrained("MobileNetV2"))


def test_every_width_with_weights_is_a_width():
    for application in APPLICATIONS.values():
        assert set(application.imagenet_widths) <= set(application.widths)
