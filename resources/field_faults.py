"""What is wrong with the fields of something that was given, as one message.

Belongs here: pydantic's findings in plain words, which can be said in other languages. Does not
belong here: reading what was given, and the limits of each field.
"""

import functools
import reprlib
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from resources.errors import Message, PlainError, message, text_of

_PROBLEMS_SHOWN = 5


def explain_invalid(error: ValidationError) -> Message:
    """Pydantic's findings on one plain line: each field, what is wrong, the value given."""
    problems = error.errors()
    found = [_fault_of_field(problem) for problem in problems[:_PROBLEMS_SHOWN]]
    if more := len(problems) - len(found):
        found.append(message("and {more:,} more", id="more-faults", more=more))
    return functools.reduce(
        lambda first, then: message(
            "{first}; {then}", id="fault-after-fault", first=first, then=then
        ),
        found,
    )


def _fault_of_field(problem: Any) -> Message:
    where = ".".join(_named(part) for part in problem["loc"]) or "value"
    # Of fields that do not go together, the message names the values that matter.
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return message("{field}: {fault}", id="field-at-fault", field=where, fault=_fault(problem))
    return message(
        "{field}: {fault} (given: {value})",
        id="value-at-fault",
        field=where,
        fault=_fault(problem),
        value=_shown(problem["input"]),
    )


def _fault(problem: Any) -> Message | str:
    """What is wrong; in pydantic's own words where there is no message that says just that."""
    said: str = problem["msg"].removeprefix("Value error, ")
    text = said[0].lower() + said[1:]
    context = problem.get("ctx", {})
    if isinstance(context.get("error"), PlainError):
        return context["error"].message
    known = _FAULTS.get(problem["type"])
    if known is None:
        return text
    try:
        fault = known(context)
    except KeyError:
        return text
    return fault if text_of(fault) == text else text


_FAULTS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "missing": lambda _: message("field required", id="fault-missing"),
    "greater_than": lambda context: message(
        "input should be greater than {limit:g}", id="fault-not-greater", limit=context["gt"]
    ),
    "greater_than_equal": lambda context: message(
        "input should be greater than or equal to {limit:g}",
        id="fault-too-small",
        limit=context["ge"],
    ),
    "less_than": lambda context: message(
        "input should be less than {limit:.10g}", id="fault-not-less", limit=context["lt"]
    ),
    "less_than_equal": lambda context: message(
        "input should be less than or equal to {limit:.10g}",
        id="fault-too-large",
        limit=context["le"],
    ),
    "finite_number": lambda _: message("input should be a finite number", id="fault-not-finite"),
    "int_type": lambda _: message("input should be a valid integer", id="fault-no-integer"),
    "int_parsing": lambda _: message(
        "input should be a valid integer, unable to parse string as an integer",
        id="fault-text-no-integer",
    ),
    "int_from_float": lambda _: message(
        "input should be a valid integer, got a number with a fractional part",
        id="fault-fraction-no-integer",
    ),
    "float_type": lambda _: message("input should be a valid number", id="fault-no-number"),
    "float_parsing": lambda _: message(
        "input should be a valid number, unable to parse string as a number",
        id="fault-text-no-number",
    ),
    "bool_type": lambda _: message("input should be a valid boolean", id="fault-no-boolean"),
    "bool_parsing": lambda _: message(
        "input should be a valid boolean, unable to interpret input",
        id="fault-text-no-boolean",
    ),
    "string_type": lambda _: message("input should be a valid string", id="fault-no-text"),
    "string_too_long": lambda context: message(
        "string should have at most {most} characters",
        id="fault-text-too-long",
        most=context["max_length"],
    ),
    "list_type": lambda _: message("input should be a valid list", id="fault-no-list"),
    "dict_type": lambda _: message("input should be a valid dictionary", id="fault-no-dictionary"),
    "literal_error": lambda context: message(
        "input should be {expected}", id="fault-none-of", expected=context["expected"]
    ),
    "extra_forbidden": lambda _: message(
        "extra inputs are not permitted", id="fault-unknown-field"
    ),
}
"""For each of pydantic's types of errors, the message that says the same."""


def _named(part: int | str) -> str:
    text = str(part)
    return text if text.isprintable() and len(text) <= 80 else _shown(text)


def _shown(value: object) -> str:
    """A value as Python writes it, cut: YAML's aliases make gigabytes of a few lines."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 100
    try:
        return short.repr(value)
    except ValueError:  # Python does not write integers of more than 4,300 digits
        return "a very long number"
