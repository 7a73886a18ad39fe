"""Samplers by name."""

import sys

import pytest

from autosearch.errors import DefinitionError
from autosearch.search.samplers import check_sampler


def test_what_a_sampler_needs_is_missed_before_the_first_trial(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(DefinitionError, match="needs PyTorch, which is not installed"):
        check_sampler("gp", num_objectives=2)
