"""How an asset fails."""

import dagster as dg
import pytest

from panoptic_assets.orchestration.running import plain_failures
from panoptic_assets.spec.computation import NotComputableError
from resources.errors import InputError


@pytest.mark.parametrize("kind", [InputError, NotComputableError])
def test_what_a_person_can_mend_is_a_plain_failure_that_is_not_retried(kind):
    with pytest.raises(dg.Failure) as caught, plain_failures():
        raise kind("Nothing to divide.")
    assert caught.value.description == "Nothing to divide."
    assert caught.value.allow_retries is False


@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, UnicodeError])
def test_a_fault_of_the_program_keeps_its_exception(kind):
    """As a person's mistake it would be searched for in the wrong place."""
    with pytest.raises(kind), plain_failures():
        raise kind("shapes (3,) and (4,) do not fit")
