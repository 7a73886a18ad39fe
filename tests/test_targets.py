"""Where a model will run: boards, the bounds that they bring, and what makes no sense there."""

import pytest

from autosearch import Budget, SearchSpace, Study, Target, at_most, maximize, minimize
from autosearch.changes import changes
from autosearch.data import Digits
from autosearch.errors import DefinitionError
from autosearch.space import CNN, Quantization
from autosearch.targets import BOARDS


def study_for(target, *, objectives=("size_bytes",), schemes=("int8",), **words):
    return Study(
        name="for a board",
        dataset=Digits(),
        space=SearchSpace(architecture=CNN(), quantization=Quantization(*schemes)),
        objectives=[maximize("accuracy"), *map(minimize, objectives)],
        budget=Budget(trials=1),
        target=target,
        **words,
    )


def test_every_board_leaves_room_and_names_its_source():
    for name, board in BOARDS.items():
        target = Target(name)
        flash, ram = target.constraints
        assert (flash.metric, ram.metric) == ("size_bytes", "memory_bytes")
        assert 0 < flash.bound == board.flash_bytes - board.reserved_flash_bytes
        assert 0 < ram.bound == board.ram_bytes - board.reserved_ram_bytes
        # 96 KiB of flash and 16 KiB of RAM are the runtime's alone.
        assert board.reserved_flash_bytes > 96 * 1024
        assert board.reserved_ram_bytes > 16 * 1024
        assert "atasheet" in board.source or "Specification" in board.source


def test_room_that_is_given_takes_the_place_of_a_boards():
    assert Target("Raspberry Pi Pico", ram_bytes=50_000).constraints == (
        at_most("size_bytes", 2 * 2**20 - 256 * 2**10),
        at_most("memory_bytes", 50_000),
    )
    own = Target("microcontroller", flash_bytes=1000, ram_bytes=200)
    assert [c.bound for c in own.constraints] == [1000, 200]
    assert Target("host").constraints == ()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"name": "moon"}, 'expected "host", .* or one of the boards: arduino_nano_33_ble_sense'),
        ({"name": "microcontroller", "ram_bytes": 9}, "needs flash_bytes= and ram_bytes="),
        ({"name": "host", "flash_bytes": 9}, 'the target "host" has no flash_bytes'),
        ({"name": "stm32f746", "ram_bytes": 0}, "greater than or equal to 1"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(words, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        Target(**words)


def test_a_study_bears_the_bounds_of_its_target_beside_its_own():
    study = study_for(Target("esp32_s3"), constraints=[at_most("size_bytes", 9000)])
    assert study.constraints == (at_most("size_bytes", 9000), *Target("esp32_s3").constraints)


def test_a_study_for_a_board_comes_back_from_its_definition_and_the_host_is_as_before():
    study = study_for(Target("portenta_h7", ram_bytes=7000))
    again = Study.from_definition(study.definition())
    assert again.target == study.target
    assert again.constraints == study.constraints
    assert not changes(study.definition(), again.definition())
    assert study_for(Target("host")).definition()["target"] == {"name": "host"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"objectives": ["latency_ms"]}, r'"latency_ms" is the time on.*minimize\("macs"\)'),
        ({"constraints": [at_most("latency_p90_ms", 5)]}, r'at_most\("macs", …\)'),
        ({"schemes": ["float16", "dynamic_int8"]}, "add one or more of float32, int8, int16x8"),
    ],
)
def test_what_a_microcontroller_cannot_give_is_refused_with_what_to_use(words, sentence):
    with pytest.raises(DefinitionError, match=sentence):
        study_for(Target("stm32f746"), **words)


def test_a_users_own_function_may_know_the_time_on_the_board():
    study = Study(
        name="table",
        evaluator=lambda trial: {"latency_ms": 1.0, "size_bytes": 1, "memory_bytes": 1},
        objectives=[minimize("latency_ms")],
        target=Target("stm32f746"),
    )
    assert len(study.constraints) == 2
