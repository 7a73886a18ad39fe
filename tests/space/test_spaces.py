import dataclasses
import json
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autosearch.errors import DefinitionError
from autosearch.space import (
    CNN,
    Augmentation,
    ClassWeighting,
    HyperParameters,
    Preprocessing,
    Quantization,
    Range,
    Training,
)
from autosearch.space.augmentation import AugmentationStep
from autosearch.space.domain import Space
from autosearch.space.quantization import MIXED, SCHEMES
from autosearch.space.search_space import RandomTrial
from autosearch.space.weighting import (
    ClassWeightingConfig,
    class_weights,
    logit_offsets,
    oversampled,
)

SPACES: list[Any] = [Preprocessing, CNN, Augmentation, ClassWeighting, Training]


def integers(low: int, high: int) -> st.SearchStrategy[Any]:
    value = st.integers(low, high)
    pair = st.tuples(value, value).map(lambda ends: (min(ends), max(ends)))
    full = st.builds(
        lambda ends, step, log: Range(*ends, step=step, log=log),
        pair,
        st.none() | st.integers(2, 5),
        st.booleans(),
    )
    return value | pair | full | st.lists(value, min_size=1, max_size=4, unique=True)


def reals(low: float, high: float) -> st.SearchStrategy[Any]:
    value = st.floats(low, high, allow_subnormal=False)
    pair = st.tuples(value, value).map(lambda ends: (min(ends), max(ends)))
    full = pair.map(lambda ends: Range(*ends, step=0.125, log=False))
    return value | pair | full | st.lists(value, min_size=1, max_size=4, unique=True)


def words(*allowed: str) -> st.SearchStrategy[Any]:
    value = st.sampled_from(allowed)
    return value | st.lists(value, min_size=1, unique=True)


spaces = st.one_of(
    st.builds(Preprocessing, size=integers(4, 1024), fit=words("stretch", "crop", "pad")),
    st.builds(
        CNN,
        stages=integers(1, 8),
        width=integers(1, 1024),
        dropout=reals(0.0, 0.9),
        block=words("plain", "separable", "inverted_residual"),
    ),
    st.builds(
        Augmentation,
        horizontal_flip=st.sampled_from([True, False, [True, False]]),
        policy=words("none", "layers", "randaugment"),
        shift=reals(0.0, 0.5),
        mixup=reals(0.0, 1.0),
        mixup_probability=reals(0.1, 1.0),
    ),
    st.builds(
        ClassWeighting, method=words("none", "effective_number", "focal"), beta=reals(0.5, 0.999)
    ),
    st.builds(Training, epochs=st.integers(1, 99), learning_rate=reals(1e-6, 1.0)),
    st.permutations(SCHEMES).map(lambda names: Quantization(*names[:3])),
    st.permutations(["int8", "float32", MIXED]).map(lambda names: Quantization(*names)),
)


@given(space=spaces)
def test_a_space_survives_the_way_to_json_and_back(space: Space) -> None:
    kind = type(space)
    written = space.model_dump_json()
    assert kind.model_validate_json(written) == space
    assert kind.model_validate_json(written).model_dump_json() == written
    assert kind.model_validate(space.model_dump()) == space
    assert json.loads(written) == space.model_dump(mode="json")
    assert hash(kind.model_validate_json(written)) == hash(space)


@given(space=spaces, seed=st.integers(0, 1000))
def test_what_is_sampled_lies_in_the_space_and_is_json(space: Any, seed: int) -> None:
    hp = HyperParameters(RandomTrial(seed))
    config = space.sample(hp)
    plain = config if isinstance(space, Quantization) else dataclasses.asdict(config)
    if isinstance(space, Augmentation):
        plain["steps"] = list(plain["steps"])
    assert json.loads(json.dumps(plain)) == plain
    for name, value in hp.values.items():
        concern, _, field = name.partition("/")
        domain = getattr(space, field or "schemes")
        assert not field or concern in type(space).__module__
        if isinstance(domain, Range):
            assert domain.low <= value <= domain.high
            assert type(value) is type(domain.low)
        elif isinstance(domain, tuple):
            assert value in domain
        else:
            assert value == domain


@pytest.mark.parametrize("kind", SPACES)
def test_every_field_of_a_space_is_a_field_of_its_configuration(kind: Any) -> None:
    config = kind().sample(HyperParameters())
    if kind is not Augmentation:  # its configuration holds only what is done
        assert [f.name for f in dataclasses.fields(config)] == list(kind.model_fields)
    assert not hasattr(config, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)
    with pytest.raises(ValueError, match="frozen"):
        setattr(kind(), next(iter(kind.model_fields)), 1)


@pytest.mark.parametrize("kind", [*SPACES, Quantization])
def test_a_default_space_runs_over_optuna_and_over_its_stored_trials(kind: Any) -> None:
    study = optuna.create_study(storage="sqlite://", sampler=optuna.samplers.TPESampler(seed=0))
    for _ in range(12):
        trial = study.ask()
        hp = HyperParameters(trial)
        config = kind().sample(hp)
        stored = HyperParameters(optuna.trial.FixedTrial(trial.params))
        assert kind().sample(stored) == config
        assert set(trial.params) <= set(hp.values)
        study.tell(trial, 0.0)


def test_a_range_is_an_object_in_json_and_choices_are_a_list() -> None:
    space = CNN(stages=(1, 3), width=[1, 3], kernel_size=3)
    dumped = space.model_dump(mode="json")
    assert dumped["stages"] == {"low": 1, "high": 3, "step": None, "log": False}
    assert dumped["width"] == [1, 3]
    assert dumped["kernel_size"] == 3


def test_whole_numbers_become_floats_only_where_a_float_is_meant() -> None:
    assert CNN(stages=Range(1, 3)).stages == Range(1, 3)
    shift = Augmentation(shift=(0, 0.1), rotation=[0, 10])
    assert isinstance(shift.shift, Range)
    assert type(shift.shift.low) is float
    assert shift.rotation == (0.0, 10.0)
    assert all(type(value) is float for value in shift.rotation)


def test_a_fixed_value_is_not_asked_of_optuna_but_stands_in_the_values() -> None:
    trial = optuna.create_study().ask()
    hp = HyperParameters(trial)
    Preprocessing(size=(16, 16), color=["rgb"], resize=["box", "bilinear"]).sample(hp)
    assert list(trial.params) == ["preprocessing/resize"]
    assert hp.values == {
        "preprocessing/size": 16,
        "preprocessing/color": "rgb",
        "preprocessing/resize": trial.params["preprocessing/resize"],
        "preprocessing/fit": "stretch",
    }


def test_the_last_step_of_a_range_of_floats_can_be_reached() -> None:
    space = Augmentation(zoom=Range(0.0, 0.6, step=0.1))
    values = set()
    for seed in range(200):
        hp = HyperParameters(RandomTrial(seed))
        space.sample(hp)
        values.add(hp.values["augmentation/zoom"])
    assert sorted(values) == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert max(values) == 0.6


def test_the_step_of_a_logarithmic_range_is_a_factor() -> None:
    space = Training(batch_size=Range(8, 128, step=4, log=True))
    values = {space.sample(HyperParameters(RandomTrial(seed))).batch_size for seed in range(60)}
    assert values == {8, 32, 128}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CNN(stages=(5, 2)), r"stages: low 5 is above high 2; write \(2, 5\)"),
        (lambda: CNN(width=[]), "width: the list of choices is empty; write a whole number from 1"),
        (lambda: CNN(width=8.5), "width: 8.5 is not a whole number"),
        (lambda: CNN(width=True), "width: True is not a whole number"),
        (lambda: CNN(width=[8, 0]), "width: 0 is out of bounds; write a whole number from 1 to"),
        (lambda: CNN(width=[8, 8]), "width: 8 is listed twice"),
        (lambda: CNN(width=(8, 16, 32)), r"width: \(8, 16, 32\) is not a range; .* \[8, 16, 32\]"),
        (lambda: CNN(width=Range(8.0, 16.0)), "width: 8.0 is not a whole number"),
        (lambda: CNN(width=Range(8, 16, step=0.5)), "width: the step 0.5 is not a whole number"),
        (lambda: CNN(width={"low": 8}), "width: {'low': 8} is not a range"),
        (lambda: CNN(block="conv"), "block: 'conv' is unknown; write one or a list of plain, "),
        (lambda: CNN(block=("plain", "residual")), "choices are a list: \\['plain', 'residual'\\]"),
        (lambda: CNN(block=Range(1, 2)), "block: a range does not fit here; write one or a list"),
        (lambda: CNN(activation=["relu", "tanh"]), "activation: 'tanh' is unknown"),
        (lambda: CNN(dropout=(0.0, 1.0)), "dropout: 1.0 is out of bounds; write a number from 0.0"),
        (lambda: CNN(dropout="half"), "dropout: 'half' is not a number"),
        (lambda: CNN(depth=3), "depth: no such parameter; CNN has stages, width, "),
        (lambda: Preprocessing(size=2), "size: 2 is out of bounds; write a whole number from 4"),
        (lambda: Augmentation(horizontal_flip="yes"), "horizontal_flip: 'yes' is not a truth"),
        (lambda: ClassWeighting(beta=1.0), "beta: 1.0 is out of bounds; write a number above 0.0"),
        (lambda: Training(learning_rate=(0.0, 0.1)), "learning_rate: 0.0 is out of bounds"),
        (lambda: Training(epochs=0), "epochs: input should be greater than or equal to 1, not 0"),
        (lambda: Training(epochs=(1, 5)), r"epochs: \(1, 5\) is not one number, .* write a number"),
        (lambda: Training(epochs="5"), "epochs: input should be a valid integer, not '5'"),
        (lambda: ClassWeighting("balanced"), r"'balanced' came without a name; .*\(method=…\)"),
        (lambda: Quantization("int4"), "'int4' is unknown; write one or more of float32, "),
        (lambda: Quantization("int8", "int8"), "'int8' is there twice; keep one of them"),
        (lambda: Quantization("float32", "mixed"), "'mixed' narrows the file of int8; write "),
        (lambda: Quantization(schemes=None), "None is unknown; write one or more of float32, "),
        (lambda: Quantization(schemes=[]), "no scheme is left; write one or more of float32, "),
        (lambda: Range(5, 2), r"Range\(5, 2\): low is above high; write Range\(2, 5\)"),
        (lambda: Range(0, 1, log=True), r"Range\(0, 1\): a logarithmic range needs a low above 0"),
        (lambda: Range(1, 9, step=1, log=True), "the step is a factor and must be above 1, not 1"),
        (lambda: Range(1, 9, step=-1), "step -1 must be above 0"),
        (lambda: Range("1", 9), "Range: low must be a number, not '1'"),
        (lambda: Range(1, 9, log="yes"), "Range: log must be True or False, not 'yes'"),
    ],
)
def test_a_fault_is_one_clear_line(make: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers() -> None:
    widths = list(np.array([8, 16]))
    assert CNN(width=np.int64(8)) == CNN(width=8)
    assert CNN(width=widths, dropout=(np.float32(0), np.float32(0.5))) == CNN(
        width=[8, 16], dropout=(0.0, 0.5)
    )
    assert Training(epochs=np.int64(3)) == Training(epochs=3)
    assert json.dumps(Range(np.float32(0.5), np.int64(2)).high) == "2"


def test_schemes_may_come_as_a_list() -> None:
    assert Quantization(["float32", "int8"]) == Quantization("float32", "int8")


def test_all_faults_of_a_space_are_reported_at_once() -> None:
    with pytest.raises(DefinitionError, match="CNN has 3 faults: ") as caught:
        CNN(stages=(5, 2), block="conv", depth=3)
    for field in ("stages: ", "block: ", "depth: "):
        assert field in str(caught.value)


def test_the_input_shape_follows_size_and_colour() -> None:
    grey = Preprocessing(size=8, color="greyscale").sample(HyperParameters())
    assert grey.input_shape == (8, 8, 1)
    assert Preprocessing().sample(HyperParameters()).input_shape == (32, 32, 3)


def test_the_expansion_is_sampled_only_for_inverted_residuals() -> None:
    for block, names in (("plain", set()), ("inverted_residual", {"architecture/expansion"})):
        trial = optuna.create_study().ask()
        config = CNN(block=block).sample(HyperParameters(trial))
        assert {"architecture/expansion"} & set(trial.params) == names
        assert (config.expansion > 1) == bool(names)


def test_a_weighting_samples_only_the_number_of_its_method() -> None:
    of_method = {
        "none": None,
        "balanced": None,
        "effective_number": "beta",
        "focal": "gamma",
        "oversample": "power",
        "logit_adjustment": "tau",
    }
    for method, number in of_method.items():
        trial = optuna.create_study().ask()
        config = ClassWeighting(method=method).sample(HyperParameters(trial))
        assert list(trial.params) == ([f"weighting/{number}"] if number else [])
        above_zero = {k for k, v in dataclasses.asdict(config).items() if k != "method" and v > 0}
        assert above_zero == ({number} if number else set())


def test_logit_offsets_are_the_logarithms_of_the_priors() -> None:
    config = ClassWeightingConfig("logit_adjustment", tau=2.0)
    offsets = logit_offsets(config, [60, 20, 20])
    assert offsets == pytest.approx(2.0 * np.log([0.6, 0.2, 0.2]))
    assert np.isfinite(logit_offsets(config, [60, 0])).all()
    assert logit_offsets(ClassWeightingConfig("none"), [1, 2]).tolist() == [0.0, 0.0]


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60), power=st.sampled_from([0.5, 1.0])
)
def test_oversampling_repeats_the_rare_and_loses_none(labels: list[int], power: float) -> None:
    config = ClassWeightingConfig("oversample", power=power)
    indices = oversampled(config, labels, seed=3)
    assert set(indices) == set(range(len(labels)))
    assert indices.tolist() == oversampled(config, labels, seed=3).tolist()
    before = np.bincount(labels)
    after = np.bincount(np.asarray(labels)[indices])
    assert (after >= before).all()
    if power == 1.0:
        assert set(after[before > 0]) == {before.max()}
    times = np.bincount(indices)
    for label in set(labels):
        of_class = times[np.asarray(labels) == label]
        assert of_class.max() - of_class.min() <= 1


def test_without_oversampling_every_image_comes_once() -> None:
    assert oversampled(ClassWeightingConfig("balanced"), [1, 1, 0], seed=0).tolist() == [0, 1, 2]


def test_a_compiled_model_leaves_only_the_batch_size_to_sample() -> None:
    trial = optuna.create_study().ask()
    config = Training(epochs=3).sample(HyperParameters(trial), compiled=True)
    assert list(trial.params) == ["training/batch_size"]
    filled = {k: v for k, v in dataclasses.asdict(config).items() if v is not None}
    assert filled == {"epochs": 3, "batch_size": trial.params["training/batch_size"]}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_weight_decay_is_sampled_only_where_there_is_one(name: str) -> None:
    trial = optuna.create_study().ask()
    config = Training(optimizer=name).sample(HyperParameters(trial))
    assert ("training/weight_decay" in trial.params) == (name != "adam")
    assert (config.weight_decay == 0.0) == (name == "adam")


def test_no_augmentation_says_so() -> None:
    assert Augmentation().sample(HyperParameters()).is_none
    assert not Augmentation(horizontal_flip=True).sample(HyperParameters()).is_none
    assert not Augmentation(contrast=0.1).sample(HyperParameters()).is_none
    hp = HyperParameters()
    assert Augmentation(policy="none", contrast=0.1).sample(hp).is_none
    assert hp.values == {"augmentation/policy": "none"}


def test_a_probability_is_sampled_only_for_what_is_done() -> None:
    space = Augmentation(
        shift=[0.1, 0.2],
        shift_probability=(0.2, 0.9),
        zoom_probability=(0.2, 0.9),
        saturation=(0.1, 0.5),
    )
    trial = optuna.create_study().ask()
    config = space.sample(HyperParameters(trial))
    assert list(trial.params) == [
        "augmentation/shift",
        "augmentation/shift_probability",
        "augmentation/saturation",
    ]
    assert config.steps[0] == AugmentationStep(
        "shift", trial.params["augmentation/shift"], trial.params["augmentation/shift_probability"]
    )
    grey = optuna.create_study().ask()
    assert len(space.sample(HyperParameters(grey), num_channels=1).steps) == 1
    assert "augmentation/saturation" not in grey.params


def test_rand_augment_takes_the_place_of_the_layers() -> None:
    space = Augmentation(
        policy="randaugment",
        horizontal_flip=True,
        shift=(0.1, 0.2),
        randaugment=0.4,
        randaugment_layers=3,
        cutmix=0.5,
    )
    trial = optuna.create_study().ask()
    config = space.sample(HyperParameters(trial))
    assert not trial.params
    assert config.steps == (
        AugmentationStep("horizontal_flip", 1.0, 0.5),
        AugmentationStep("randaugment", 0.4, 1.0, repeats=3),
        AugmentationStep("cutmix", 0.5, 1.0),
    )
    assert config.mixes_labels
    assert not Augmentation(shift=0.1).sample(HyperParameters()).mixes_labels


def test_the_scheme_is_sampled_among_those_of_the_study() -> None:
    space = Quantization("float16", "int8")
    sampled = {space.sample(HyperParameters(RandomTrial(seed))) for seed in range(30)}
    assert sampled == {"float16", "int8"}
    assert Quantization().schemes == SCHEMES
    with_mixed = Quantization(MIXED, "float32", "int8")
    # Nothing is known of it before training, and of some networks nothing comes.
    sampled = {with_mixed.sample(HyperParameters(RandomTrial(seed))) for seed in range(30)}
    assert sampled == {"float32", "int8"}
    assert Quantization(schemes=["int8"]) == Quantization("int8")


@given(
    counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any),
    method=st.sampled_from(["balanced", "effective_number"]),
    beta=st.sampled_from([0.9, 0.999, 0.9999999]),
)
def test_the_mean_weight_of_all_samples_is_one(counts: list[int], method: str, beta: float) -> None:
    weights = class_weights(ClassWeightingConfig(method, beta), counts)
    assert weights.shape == (len(counts),)
    assert (weights @ counts) / sum(counts) == pytest.approx(1.0)
    assert all((weight == 0) == (count == 0) for weight, count in zip(weights, counts, strict=True))
    order = np.argsort(counts)
    present = [index for index in order if counts[index]]
    assert all(np.diff(weights[present]) <= 1e-9)


def test_the_effective_number_is_that_of_the_paper() -> None:
    counts = np.array([5, 50, 500])
    effective = (1 - 0.99**counts) / (1 - 0.99)
    weights = class_weights(ClassWeightingConfig("effective_number", 0.99), counts)
    assert weights / weights[0] == pytest.approx((1 / effective) / (1 / effective[0]))


def test_without_weighting_every_class_counts_the_same() -> None:
    assert class_weights(ClassWeightingConfig("none", 0.0), [3, 0, 9]).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("counts", [[], [0, 0], [3, -1], [[1, 2]], 5])
def test_class_weights_need_counts(counts: Any) -> None:
    with pytest.raises(DefinitionError, match="class weights need the number of samples"):
        class_weights(ClassWeightingConfig("balanced", 0.0), counts)
