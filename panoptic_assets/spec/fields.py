"""What configuration classes are made of: their base, and types of fields that several use.

Belongs here: how a configuration is written, and what a text must look like to be the value of a
field. Does not belong here: the fields themselves, and keys (``spec.keys``).
"""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    model_validator,
)
from pydantic.fields import FieldInfo

from panoptic_assets.spec.languages import N_

_NOT_ON_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Control characters, all line separators, and halves of characters that no file can hold."""


def _one_line(text: str) -> str:
    if _NOT_ON_ONE_LINE.search(text):
        raise ValueError(N_("must be one line, without control characters"))
    return text


def _few_lines(text: str) -> str:
    lines = text.replace("\r\n", "\n").split("\n")
    if any(map(_NOT_ON_ONE_LINE.search, lines)):
        raise ValueError(N_("must be lines of text, without other control characters"))
    return "\n".join(lines).strip()


def _visible(text: str) -> str:
    if text != text.strip() or not text:
        raise ValueError(N_("must not be empty, nor begin or end with a space"))
    return text


def _unquoted(value: Any) -> Any:
    """The text of what YAML reads as a number or a date where quotes are left out."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value


OneLine = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[OneLine, AfterValidator(_visible)]
FewLines = Annotated[str, AfterValidator(_few_lines)]
"""Text whose lines end as a browser on any system ends them, without spaces around it."""
Unquoted = Annotated[str, BeforeValidator(_unquoted)]
"""Text that may look like a number or a date."""

ADVANCED: dict[str, JsonValue] = {"advanced": True}
"""Of a field, as ``json_schema_extra``: a newcomer need not know it, and forms show it last."""


def is_advanced(field: FieldInfo) -> bool:
    """Whether a field is marked as :data:`ADVANCED`."""
    return isinstance(field.json_schema_extra, dict) and "advanced" in field.json_schema_extra


class Parameters(BaseModel):
    """Base of all that can be asked for: plain data that does not change.

    Of a field that may be one of several such classes, told apart by their ``name``
    (``discriminator="name"``), the choice is written as ``{kmeans: {nb_clusters: 10}}``; such a
    field has an example of that, for messages (``examples``).
    """

    # A command uses a few of the some fifty classes: a validator is made when it is first needed.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, given: Any) -> Any:
        """Choices in pydantic's form, and what is left out but needed as empty."""
        if not isinstance(given, dict):
            return given
        read = dict(given)
        for name, field in cls.model_fields.items():
            if field.is_required():
                # Then the message says what it must be, and not only that it must be.
                read.setdefault(name, None)
            value = read.get(name)
            if field.discriminator and isinstance(value, dict) and len(value) == 1:
                [(choice, parameters)] = value.items()
                if isinstance(parameters, dict):
                    read[name] = {**parameters, field.discriminator: choice}
        return read
