"""Going on from a promoted network: never judged on images that it was fitted on."""

import struct

import numpy as np
import pytest
from PIL import Image

import autosearch
from autosearch import Budget, SearchSpace, Study, maximize
from autosearch.data import Arrays, Dataset, Digits, Idx, ImageFolder
from autosearch.errors import DefinitionError
from autosearch.search.check import check_study
from autosearch.search.finals import plan_finals
from autosearch.search.origins import check_origins
from autosearch.space import Pretrained
from autosearch.store.artifacts import ArtifactStore
from autosearch.store.database import Database
from autosearch.store.promotions import add_promotion
from autosearch.store.recorder import Recorder
from autosearch.store.view import study_names
from autosearch.values import Estimate


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path / 'models.db'}"


def promoted(storage, dataset, estimate=Estimate.VALIDATION, *, is_known=True):
    """The space of a network of study "old", as far as its database knows that study."""
    database = Database.open_to_write(storage)
    sides = dataset.sides()
    if is_known:
        Recorder.save_study(
            database, name="old", seed=0, definition={}, definition_sha256="0" * 64,
            data_fingerprint=dataset.fingerprint(), environment={},
            data_sides=None if sides is None else {"sides": sides},
        )  # fmt: skip
    searched_on = {"fingerprint": dataset.fingerprint(), "definition": dataset.definition()}
    add_promotion(
        database, model="reader", alias="champion", candidate="1-int8", artifact_sha256="1" * 64,
        keras_sha256=ArtifactStore.beside(database).put(b"a network"), note="", test_metrics={},
        record={"study": "old", "dataset": searched_on, "validation": {"estimate": estimate}},
    )  # fmt: skip
    return Pretrained.from_model("reader", storage=storage)


def study_of(dataset, architecture, name="new"):
    return Study(
        name=name, dataset=dataset, space=SearchSpace(architecture=architecture),
        objectives=[maximize("accuracy")], budget=Budget(trials=1),
    )  # fmt: skip


def photos(folder, numbers):
    for number in numbers:
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def test_a_refitted_finalist_is_no_beginning_on_its_own_images(storage):
    study = study_of(Digits(), promoted(storage, Digits(), Estimate.CROSS_VALIDATION))
    words = 'begins from a finalist of "old" that was fitted on the validation images, too'
    with pytest.raises(DefinitionError, match=words) as raised:
        autosearch.run(study, storage=storage)
    assert "\n" not in str(raised.value)
    assert study_names(Database.open_to_read(storage)) == ["old"], "nothing was begun"
    with pytest.raises(DefinitionError, match=words):
        check_study(study)


def test_on_the_same_split_it_goes_on_and_no_fold_judges(storage):
    said = []
    study = study_of(Digits(), promoted(storage, Digits()))
    check_origins(study)
    assert plan_finals(study, on_message=said.append) is None
    assert len(said) == 1
    assert "has seen the images that each fold would judge on" in said[0]
    assert plan_finals(study_of(Digits(), Pretrained("MobileNetV2"))) is not None


def arrays(seed, first=0):
    images = np.random.default_rng(first).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    return Arrays(images, np.arange(60) % 2, split_seed=seed)


class Own(Dataset):
    """A dataset as somebody writes one: it says no more of its split than its seed."""

    name = "own"
    classes = ("a", "b")

    def __init__(self, split_seed):
        self.split_seed = split_seed

    def load(self, split):
        return arrays(self.split_seed).load(split)


def idx(folder, validation):
    """Files of the MNIST family, with a share of the training images for validation."""
    generator = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    for part, count in (("train", 40), ("t10k", 10)):
        pixels = generator.integers(0, 256, (count, 4, 4), dtype=np.uint8)
        images = struct.pack(">IIII", 0x803, count, 4, 4) + pixels.tobytes()
        labels = struct.pack(">II", 0x801, count) + bytes(n % 2 for n in range(count))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    return Idx(folder, classes=("a", "b"), validation=validation)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("kind", [lambda folder, seed: Digits(seed), lambda _, seed: arrays(seed),
                                  lambda folder, seed: ImageFolder(folder, split_seed=seed),
                                  lambda _, seed: Own(seed),
                                  lambda folder, seed: idx(folder / "idx", 0.2 + 0.1 * seed)],
                         ids=["digits", "arrays", "photos", "own", "idx"])  # fmt: skip
def test_another_split_of_its_images_is_refused(storage, tmp_path, kind, is_known):
    folder = photos(tmp_path / "photos", range(40))
    study = study_of(kind(folder, 1), promoted(storage, kind(folder, 0), is_known=is_known))
    with pytest.raises(DefinitionError, match='split the images as "old" does'):
        check_origins(study)


def test_other_images_are_as_good_as_ever(storage):
    study = study_of(arrays(0, first=7), promoted(storage, arrays(0), Estimate.CROSS_VALIDATION))
    check_origins(study)
    assert plan_finals(study) is not None


@pytest.mark.parametrize("estimate", list(Estimate))
def test_a_grown_folder_may_go_on_where_known_images_stay_on_their_sides(
    storage, tmp_path, estimate
):
    folder = photos(tmp_path / "photos", range(40))
    before = ImageFolder(folder)
    space = promoted(storage, before, estimate)
    photos(folder, range(40, 60))
    with pytest.raises(DefinitionError, match='split the images as "old" does'):
        check_origins(study_of(ImageFolder(folder, split_seed=1), space))
    study = study_of(ImageFolder(folder, known_sides=before.sides()), space)
    if estimate is Estimate.CROSS_VALIDATION:
        with pytest.raises(DefinitionError, match="fitted on the validation images, too"):
            check_origins(study)
    else:
        check_origins(study)
        assert plan_finals(study) is None


def test_where_a_network_comes_from_is_no_part_of_its_identity(storage):
    space = promoted(storage, Digits())
    again = SearchSpace.from_definition(SearchSpace(architecture=space).definition())
    assert again.definition() == SearchSpace(architecture=space).definition()
    assert again.architectures[0].source_sha256 == space.source_sha256
    assert (space.origin.study, again.architectures[0].origin) == ("old", None)
