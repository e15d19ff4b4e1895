"""Dagster's config schema of the project's configuration classes, which know nothing of Dagster.

Belongs here: making the schema, and nothing else does so. Does not belong here: reading what a run
was given (``spec.resolution``).

Assets declare the schema and parse the values themselves: Dagster checks the limits (``ge=``,
``le=``) of a Config parameter only when the step starts, and then shows a stack trace.
"""

import functools
import types
from typing import Any, Literal, Union, get_args, get_origin

import dagster as dg
from pydantic import ConfigDict, Field, create_model

from panoptic_assets.spec.fields import Parameters


def schema_of(config: type[Parameters]) -> Any:
    """The config schema of a configuration class, for ``config_schema=`` of an asset or op."""
    return _twin(config).to_config_schema().as_field()


class _Twin(dg.Config):
    """The schema is read from the fields: a validator, which takes as long, is hardly ever made."""

    model_config = ConfigDict(defer_build=True)


@functools.cache
def _twin(config: type[Parameters]) -> type[dg.Config]:
    """A class of Dagster's with the same fields; its schema says nothing of limits."""
    fields: dict[str, Any] = {}
    for name, field in config.model_fields.items():
        told: dict[str, Any] = {"default_factory": field.default_factory}
        if field.default_factory is None:
            told = {"default": _twin_value(field.default)}
        told |= {"description": field.description, "discriminator": field.discriminator}
        fields[name] = (_twin_type(field.annotation), Field(**told))
    return create_model(config.__name__, __base__=_Twin, __doc__=config.__doc__, **fields)


def _twin_type(kind: Any) -> Any:
    choices = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else ()
    if choices and all(isinstance(one, type) and issubclass(one, Parameters) for one in choices):
        return Union[tuple(map(_twin, choices))]  # noqa: UP007 (made when the program runs)
    if any(get_origin(one) is Literal for one in choices):
        return str | None  # Dagster knows no choice that may be empty; whoever parses it does
    return kind


def _twin_value(value: Any) -> Any:
    return _twin(type(value))(**dict(value)) if isinstance(value, Parameters) else value
