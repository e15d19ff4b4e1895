"""How an asset fails."""

import json

import dagster as dg
import pytest

from panoptic_assets.orchestration.running import error_of, failure_of, plain_failures
from panoptic_assets.spec.computation import NotComputableError
from resources.errors import InputError, text_of
from resources.project_folder import ProjectSettings, create
from tests.workbench import PARTITIONS, bench_of


@pytest.mark.parametrize("kind", [InputError, NotComputableError])
def test_what_a_person_can_mend_is_a_plain_failure_that_is_not_retried(kind):
    with pytest.raises(dg.Failure) as caught, plain_failures():
        raise kind("Nothing to divide.", id="nothing-to-divide")
    assert caught.value.description == "Nothing to divide."
    assert caught.value.allow_retries is False


def test_a_failure_carries_what_it_says_and_gives_it_back():
    """DESIGN 11: another process can say it in another language."""
    reason = NotComputableError("only {nb:,} differ", id="few-differ", nb=1234)
    said = InputError("{key!r}: {reason}.", id="not-divided", key="greek", reason=reason)
    with pytest.raises(dg.Failure) as caught, plain_failures():
        raise said
    kept = caught.value.metadata["message"].value
    assert kept == said.message
    assert kept["values"]["reason"]["values"] == {"nb": 1234}
    error = error_of(caught.value)
    assert (type(error), str(error)) == (InputError, "'greek': only 1,234 differ.")
    assert error.message == said.message


def test_the_event_of_a_failed_step_holds_what_it_says():
    """So that whoever reads a run's events, the page too, need not take the text apart."""

    @dg.asset
    def refusing():
        with plain_failures():
            raise InputError("There is no run {key!r}.", id="no-such-run", key="{greek}")

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([refusing], instance=instance, raise_on_error=False)
        [stored] = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
        kept = stored.dagster_event.step_failure_data.user_failure_data
        assert kept.description == "There is no run '{greek}'."
        assert kept.metadata["message"].value == {
            "id": "no-such-run",
            "template": "There is no run {key!r}.",
            "values": {"key": "{greek}"},
        }
        with pytest.raises(dg.Failure) as caught:
            dg.materialize([refusing], instance=instance)
    assert error_of(caught.value).values == {"key": "{greek}"}


def test_long_values_are_cut_in_a_failure_and_its_text_and_templates_are_not():
    """A materialization's metadata has 50 kB."""
    long = "x" * 100_000
    template = "{reason}, " + "with a long explanation, " * 20 + "{{as in this}}."
    reason = NotComputableError("{names}: " + "y" * 300, id="inner", names=long)
    said = InputError(template, id="outer", reason=reason)
    failure = failure_of(said)
    kept = failure.metadata["message"].value
    assert len(json.dumps(kept)) < 3000
    assert (kept["template"], kept["values"]["reason"]["template"]) == (template, reason.template)
    assert text_of(kept).startswith("x" * 150)
    again = error_of(failure)
    assert failure.description == str(said) == str(again)
    wrapped = InputError("Stopped: {reason}", id="stopped", reason=again)
    assert str(wrapped) == f"Stopped: {said}"
    assert wrapped.values["reason"] == kept


def test_a_failure_without_a_message_is_told_as_it_is():
    error = error_of(dg.Failure("{out} of memory"))
    assert (error.id, str(error)) == ("run-failed", "{out} of memory")
    assert str(error_of(dg.Failure())) == "The run failed."
    other = dg.Failure("No room.", metadata={"message": "something else"})
    assert error_of(other).template == "{reason}"


@pytest.mark.parametrize("kind", [ValueError, KeyError, OSError, UnicodeError])
def test_a_fault_of_the_program_keeps_its_exception(kind):
    """As a person's mistake it would be searched for in the wrong place."""
    with pytest.raises(kind), plain_failures():
        raise kind("shapes (3,) and (4,) do not fit")


@pytest.fixture
def nothing_yet(tmp_path):
    """A project without an image."""
    (tmp_path / "images").mkdir()
    create(tmp_path / "p", ProjectSettings(images=str(tmp_path / "images")))
    return bench_of(tmp_path / "p")


_NO_KEYS = pytest.mark.parametrize("key", ["../x", "", "a\nb", "x" * 4000])
_KINDS = pytest.mark.parametrize(
    ("asset", "kind"),
    [
        ("embeddings", "vector type"),
        ("projection", "projection"),
        ("clustering", "run key"),
        ("nested_clustering", "node"),
    ],
)


@_NO_KEYS
@_KINDS
def test_a_partition_that_is_no_key_is_refused_and_removed(nothing_yet, asset, kind, key):
    """DESIGN 4: Dagster takes any text, and our parser none of these, whichever door it is."""
    line = nothing_yet.refused(asset, key)
    assert f"is not a {kind}" in line or f"is too long for a {kind}" in line
    assert nothing_yet.instance.get_dynamic_partitions(PARTITIONS[asset]) == []


def test_a_check_that_is_judged_by_itself_removes_a_partition_that_is_no_key(nothing_yet):
    with pytest.raises(dg.Failure, match="is not a vector type"):
        nothing_yet.checks("neighbors", "../x")
    assert nothing_yet.instance.get_dynamic_partitions("vector_types") == []


def test_a_key_whose_run_is_refused_keeps_its_partition(nothing_yet):
    nothing_yet.refused("clustering", "greek")
    assert nothing_yet.instance.get_dynamic_partitions("runs") == ["greek"]
