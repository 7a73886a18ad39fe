"""The bounds of the Trade-off page."""

import pytest


def test_slider_and_field_follow_each_other(small, page) -> None:
    test = page("trade-off", small.url, max_size_kb="10")
    slider = test.select_slider(key="slide_max_size_kb")
    assert abs(slider.value - 10) < 2
    loosest = max(float(option) for option in slider.options)
    test = slider.set_value(loosest).run()
    assert test.number_input(key="max_size_kb").value is None
    test = test.select_slider(key="slide_min_accuracy").set_value(80.0).run()
    assert not test.exception
    assert test.number_input(key="min_accuracy").value == 80
    assert test.dataframe[0].value["accuracy"].min() >= 80


def test_every_figure_can_be_bounded(small, page) -> None:
    test = page("trade-off", small.url)
    test = test.multiselect(key="more_bounds").set_value(["extra"]).run()
    test = test.number_input(key="max_extra").set_value(4).run()
    assert not test.exception
    names = test.dataframe[0].value["candidate"]
    assert {int(name.partition("-")[0]) for name in names} == {0, 1, 2}


@pytest.mark.parametrize(
    ("bound", "accuracy", "size"),
    [({"min_accuracy": "95"}, 0.95, 1e3), ({"max_size_kb": "1.001"}, 0.9, 1001.0)],
)
def test_a_bound_keeps_what_lies_on_it(bound, accuracy, size, maker, page) -> None:
    study = maker.study()
    maker.trial(study, 0, candidates=[("int8", accuracy, size, 0.1, True)])
    maker.trial(study, 1, candidates=[("int8", 0.5, 1e6, 0.2, True)])
    test = page("trade-off", maker.url, **bound)
    assert not test.exception
    assert test.dataframe[0].value["candidate"].tolist() == ["0-int8"]
