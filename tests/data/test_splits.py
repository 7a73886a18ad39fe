import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autosearch.data import SPLITS, stratified_split
from autosearch.data.splits import fold_numbers
from autosearch.errors import DefinitionError


@given(counts=st.lists(st.integers(15, 60), min_size=2, max_size=5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_every_image_is_in_one_part_and_every_class_keeps_its_share(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    parts = stratified_split(labels, seed=seed)
    together = np.concatenate([parts[split] for split in SPLITS])
    assert np.array_equal(np.sort(together), np.arange(len(labels)))
    for split, fraction in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        share = np.bincount(labels[parts[split]], minlength=len(counts))
        assert np.all(np.abs(share - fraction * np.asarray(counts)) <= 2)


def test_the_same_seed_gives_the_same_split():
    labels = [0, 1, 2] * 30
    first, again, other = (stratified_split(labels, seed=seed)["test"] for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_class_too_small_to_split_is_named():
    with pytest.raises(DefinitionError, match='class "cat" has 2 images, too few'):
        stratified_split([0] * 50 + [1] * 2, seed=0, classes=("dog", "cat"))


def test_a_class_that_misses_a_part_by_chance_is_named():
    with pytest.raises(DefinitionError, match='class "1" has 3 images, too few'):
        stratified_split([0] * 500 + [1] * 3, fractions=(0.98, 0.01, 0.01), seed=0)


def test_a_class_without_any_image_is_named():
    with pytest.raises(DefinitionError, match='class "bird" has 0 images'):
        stratified_split([0] * 20, seed=0, classes=("dog", "bird"))


def test_fewer_images_than_classes_in_a_part_is_a_sentence_too():
    with pytest.raises(DefinitionError, match="too few for every part"):
        stratified_split(list(range(10)) * 3, fractions=(0.9, 0.05, 0.05), seed=0)


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.1), (1.0, 0.0, 0.0), (0.5, 0.5)])
def test_fractions_that_divide_nothing_are_refused(fractions):
    with pytest.raises(DefinitionError, match="fractions"):
        stratified_split([0, 1] * 20, fractions=fractions, seed=0)


def test_lopsided_groups_leave_no_fold_empty():
    """Of these five, two land in one fold by themselves."""
    sizes, labels = [51, 1, 2, 7, 6], [2, 2, 2, 2, 1]
    clusters = np.repeat(np.arange(5), sizes)
    for seed in range(200):
        folds = fold_numbers(np.repeat(labels, sizes), clusters, folds=5, seed=seed)
        assert sorted(np.bincount(folds)) == sorted(sizes)
