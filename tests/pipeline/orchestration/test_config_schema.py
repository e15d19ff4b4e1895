"""Dagster's config schema of classes that know nothing of Dagster."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, ValidationError

from panoptic_assets.clustering.config import METHODS, ClusteringConfig
from panoptic_assets.orchestration.config_schema import schema_of
from panoptic_assets.spec.extensions import name_of
from panoptic_assets.spec.fields import OneLine, Parameters


class Plain(Parameters):
    """Nothing to choose."""

    name: Literal["plain"] = "plain"


class Rich(Parameters):
    """Something of everything."""

    name: Literal["rich"] = "rich"
    number: int | None = Field(default=None, ge=1, description="A number.")
    way: Literal["up", "down"] = Field(default="up", description="Where to.")
    texts: list[Annotated[OneLine, AfterValidator(str.strip)]] = Field(default_factory=list)
    needed: str


class Asked(Parameters):
    """What is asked."""

    method: Plain | Rich = Field(default=Plain(), discriminator="name", examples=["method: …"])
    edits: list[dict[str, Any]] = Field(default_factory=list)
    matches: dict[str, str] = Field(default_factory=dict)


def test_a_union_is_one_choice_with_its_parameters():
    schema = schema_of(Asked)
    assert schema.description == "What is asked."
    fields = schema.config_type.fields
    assert fields["method"].default_value == {"plain": {}}
    choices = fields["method"].config_type.fields
    assert {name: choice.description for name, choice in choices.items()} == {
        "plain": "Nothing to choose.",
        "rich": "Something of everything.",
    }
    assert [*choices["plain"].config_type.fields] == []
    rich = choices["rich"].config_type.fields
    assert {name: field.is_required for name, field in rich.items()} == {
        "number": False,
        "way": False,
        "texts": False,
        "needed": True,
    }
    assert rich["number"].description == "A number."
    assert [value.config_value for value in rich["way"].config_type.enum_values] == ["up", "down"]


def test_every_clustering_method_can_be_chosen_in_the_launchpad():
    method = schema_of(ClusteringConfig).config_type.fields["method"]
    assert [*method.config_type.fields] == [name_of(method) for method in METHODS]


def test_the_classes_are_plain_unchangeable_data_that_refuses_what_it_does_not_know():
    asked = Asked(method={"rich": {"needed": "x"}})
    assert asked.method == Rich(needed="x")
    assert Asked.model_validate(asked.model_dump()) == asked
    with pytest.raises(ValidationError, match="frozen"):
        asked.matches = {}
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Asked(methods={})
    assert not any(kind.__module__.startswith("dagster") for kind in Asked.__mro__)
