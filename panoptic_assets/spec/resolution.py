"""The rule that a key is its configuration: how a request is read, resolved, written and compared.

Belongs here: what holds for every configuration class. Does not belong here: the classes, which
each capability has in its ``config``, and Dagster's schema of them (``orchestration``).

Dagster does not remember the configuration of a partition: pressing Materialize, a backfill or
automation would run a key with default parameters and silently replace its result. So a request is
resolved, field by field, from what was given, else the key's record, else its file in
``configs/runs``, else the defaults; and a key that has a record refuses other parameters.
"""

import functools
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.text import shown
from resources.errors import InputError
from resources.field_faults import explain_invalid

Document = dict[str, Any]
"""Configuration as plain data, in the form that a Launchpad or a YAML file gives it."""

_MAX_DEPTH = 8
"""Levels of a document; `method`, `kmeans`, `nb_clusters` are three."""
_MAX_FIELDS = 1000
"""Fields on one level. YAML's aliases nest a mapping in itself, or in another many times over."""

ConfigT = TypeVar("ConfigT", bound=Parameters)


def parse(config: type[ConfigT], document: Document) -> ConfigT:
    """Read plain data as a configuration.

    Args:
        config: The configuration class.
        document: Anything that a YAML file can hold under text.

    Raises:
        InputError: A field is unknown or its value is out of its limits.
    """
    whole = _with_one_choice(config, document)
    try:
        # What is unknown is told last, below, with what is known of the choices that were made.
        parsed = config.model_validate(whole, extra="ignore")
    except ValidationError as error:
        raise InputError(
            "The configuration cannot be used: {problems}",
            id="configuration-unusable",
            problems=explain_invalid(error),
        ) from error
    except RecursionError as error:  # a YAML alias may be inside itself
        raise InputError(
            "The configuration cannot be used: it is nested too deeply.",
            id="configuration-in-itself",
        ) from error
    known = _fields(parsed)
    free = {name for name in type(parsed).model_fields if isinstance(getattr(parsed, name), dict)}
    bound = {name: value for name, value in whole.items() if name not in free}
    unknown = [name for name, value in leaves(bound).items() if value != {} and name not in known]
    if unknown:
        named = ", ".join(map(_plain, unknown))
        raise InputError(
            "The configuration cannot be used: there is no field {named}. Known here: {known}.",
            id="configuration-field-unknown",
            named=named,
            known=", ".join(known),
        )
    return parsed


def document_of(config: Parameters) -> Document:
    """A configuration as plain data, defaults filled in, in the form that :func:`parse` reads back.

    What is empty (None) by default, and is, is left out.
    """
    document: Document = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value is not None or field.default is not None:
            written = _written(value)
            document[name] = (
                {written.pop(field.discriminator): written} if field.discriminator else written
            )
    return document


def _written(value: Any) -> Any:
    if isinstance(value, Parameters):
        return document_of(value)
    if isinstance(value, dict):
        return {name: _written(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_written(part) for part in value]
    return value


def given_config(run_config: Mapping[str, Any], asset: str) -> Document:
    """What a run was really given for an asset, without the defaults that Dagster fills in."""
    ops = run_config.get("ops") or {}
    document = (ops.get(asset) or {}).get("config") or {}
    # A Launchpad that scaffolds every field writes the empty ones too.
    return {key: value for key, value in document.items() if value not in ("", None)}


def registered_config(
    document: Document | None, asset: str, file: str, beside: str = "nothing else"
) -> Document | None:
    """What a registry file asks of an asset; None without such a file.

    Args:
        document: The file's content.
        asset: The asset's name.
        file: The file's name, for the message.
        beside: What else the file may hold, for the message.

    Raises:
        InputError: The file holds something else.
    """
    if document is None:
        return None
    content: object = document
    for name in ("ops", asset, "config"):
        content = content[name] if isinstance(content, dict) and [*content] == [name] else None
    if not isinstance(content, dict):
        raise InputError(
            "{file} must hold `ops: {{{asset}: {{config: …}}}}` and {beside}.",
            id="registered-config-malformed",
            file=file,
            asset=asset,
            beside=beside,
        )
    return given_config(document, asset)


def resolve(
    config: type[ConfigT],
    key: str,
    given: Document,
    recorded: Document | None,
    registered: Document | None,
    defaults: Document,
    guarded: bool = True,
) -> ConfigT:
    """Resolve a request for ``key``: given, else recorded, else registered, else defaults.

    A record that is not ``guarded``, since it is stale, may be made again with other parameters.

    Raises:
        InputError: A value cannot be used, or the key's record has other parameters and
            ``replace`` is not set; the message lists the fields that differ.
    """
    base = recorded if recorded is not None else (registered or {})
    layers = [_with_one_choice(config, layer) for layer in (defaults, base, given)]
    try:
        resolved = parse(config, functools.reduce(_layered, layers))
    except InputError:
        # The method that is given may not go together with what is below it: then it is taken by
        # itself. Without one, the fault is the record's, say a method that is gone, and is told.
        if "method" not in layers[2]:
            raise
        layers[1].pop("method", None)
        resolved = parse(config, functools.reduce(_layered, layers))
    if recorded is not None and guarded and not given.get("replace", False):
        differing = _differences(recorded, identity_of(resolved))
        if differing:
            raise InputError(
                "{key} was made with other parameters ({differing}). Choose a new key, or set "
                "`replace: true` (`--replace`) to make it again.",
                id="made-with-other-parameters",
                key=key,
                differing="; ".join(differing),
            )
    return resolved


def identity_of(config: Parameters) -> Document:
    """The part of a configuration that decides the result, and that a record keeps."""
    document = document_of(config)
    document.pop("replace", None)
    return document


def method_of(config: type[Parameters], document: Document) -> str | None:
    """The name of the method that a configuration chooses; None if it chooses none.

    Raises:
        InputError: ``method`` is not one choice with its parameters.
    """
    return next(iter(_with_one_choice(config, document).get("method", {})), None)


def _with_one_choice(config: type[Parameters], document: Document) -> Document:
    """A document whose names are text and whose unions are one choice each, in the whole form."""
    _check_names(document)
    examples = {
        name: (field.examples or [f"{name}: {{…}}"])[0]
        for name, field in config.model_fields.items()
        if field.discriminator
    }
    return {
        field: _one_choice(field, value, examples[field]) if field in examples else value
        for field, value in document.items()
    }


def _check_names(document: Document) -> None:
    level = [document]
    for _ in range(_MAX_DEPTH):
        fields = [field for mapping in level for field in mapping.items()]
        for name, _ in fields[:_MAX_FIELDS]:
            if not isinstance(name, str):
                raise InputError(
                    "The configuration cannot be used: the name of a field is text, not {name}.",
                    id="configuration-field-no-text",
                    name=repr(name),
                )
        level = [value for _, value in fields if isinstance(value, dict)]
        if not level:
            return
        if len(fields) > _MAX_FIELDS:
            break
    raise InputError(
        "The configuration cannot be used: it is nested deeper than {max_depth} levels, or has "
        "more than {max_fields} fields.",
        id="configuration-too-deep-or-large",
        max_depth=_MAX_DEPTH,
        max_fields=_MAX_FIELDS,
    )


def _one_choice(field: str, value: Any, example: str) -> Document:
    """``{"kmeans": {"nb_clusters": 3}}``, checked."""
    name, parameters = None, None
    if isinstance(value, dict) and len(value) == 1:
        [(name, parameters)] = value.items()
    if name is None or not isinstance(parameters, dict | None):
        raise InputError(
            "The configuration cannot be used: {field}: name one choice with its parameters, as "
            "in `{example}`.",
            id="configuration-needs-one-choice",
            field=field,
            example=example,
        )
    return {name: parameters or {}}


def _layered(below: Document, above: Document) -> Document:
    """``above`` over ``below``; the parameters of a method are merged if both chose the same.

    A scope is whole: dates beside the recorded values of another property would be no scope.
    """
    merged = {**below, **above}
    lower, upper = below.get("method"), above.get("method")
    if lower and upper and lower.keys() == upper.keys():
        [name] = lower
        merged["method"] = {name: lower[name] | upper[name]}
    return merged


def _differences(recorded: Document, resolved: Document) -> list[str]:
    before, after = leaves(recorded), leaves(resolved)
    return [
        f"{name}: {shown(before.get(name, 'none'))} is recorded, "
        f"{shown(after.get(name, 'none'))} is asked for"
        for name in sorted(before.keys() | after.keys())
        if _compared(name, before.get(name)) != _compared(name, after.get(name))
    ]


_SPELLED = frozenset({"property", "pattern", "image", "path"})
"""Fields that name what is found in any normal form."""


def _compared(name: str, value: Any) -> Any:
    spelled = isinstance(value, str) and name.rpartition(".")[2] in _SPELLED
    return unicodedata.normalize("NFC", value) if spelled else value


def _plain(name: str) -> str:
    """A field's name as it is, or as Python writes it where it would not be one line."""
    return name if name.isprintable() else shown(name)


def _fields(config: Parameters, prefix: str = "") -> list[str]:
    """The names that a document of this configuration may have, empty fields included."""
    found: list[str] = []
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Parameters):
            choice = getattr(value, "name")  # noqa: B009 (only the classes of unions have one)
            found += [
                field
                for field in _fields(value, f"{prefix}{name}.{choice}.")
                if field != f"{prefix}{name}.{choice}.name"
            ]
        else:
            found.append(f"{prefix}{name}")
    return found


def leaves(document: Document, prefix: str = "") -> Document:
    """The values of a configuration by their dotted names: ``method.kmeans.nb_clusters``."""
    found: Document = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
