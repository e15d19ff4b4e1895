"""How often Python looks for cycles while a process starts."""

import gc

import pytest

from panoptic_assets.orchestration.starting import fewer_collections, no_collections


def test_cycles_are_looked_for_less_often_and_afterwards_as_before():
    before = gc.get_threshold()
    with fewer_collections():
        assert gc.get_threshold()[0] > 20 * before[0]
        with fewer_collections():
            pass
        assert gc.get_threshold() != before
    assert gc.get_threshold() == before


def test_no_cycles_are_looked_for_and_afterwards_as_before():
    with no_collections():
        assert not gc.isenabled()
        with no_collections():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_cycles_are_looked_for_as_before_when_a_module_fails():
    before = gc.get_threshold()
    for pause in (fewer_collections, no_collections):
        with pytest.raises(ImportError), pause():
            raise ImportError
        assert (gc.get_threshold(), gc.isenabled()) == (before, True)
