"""The bounds of the Trade-off page."""

import pytest
from sqlalchemy import select

from autosearch.store.tables import CandidateRow


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


def test_a_metric_called_as_a_field_of_ours_is_has_a_field_of_its_own(maker, page) -> None:
    study = maker.study(metrics=("size_bytes", "size_kb"))
    for number in range(3):
        maker.trial(study, number, candidates=[("int8", 0.9, 1e3 * (1 + number), 0.1, True)])
    with maker.database.session() as session:
        for row in session.scalars(select(CandidateRow)):
            row.metrics = {"size_kb": float(row.size_bytes) / 1024}
    test = page("trade-off", maker.url, max_size_kb="2")
    assert not test.exception
    assert len(test.dataframe[0].value) == 2
    assert test.number_input(key="max_own_size_kb").value is None
