"""Configuration classes that other packages bring: how they are found, and what each must be.

Belongs here: what holds for every kind of them, and the checks of it that an extension's author
runs. Does not belong here: the kinds themselves (``clustering.config``, ``labels.config``), and
what they compute.
"""

import importlib.metadata
import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from panoptic_assets.spec.fields import Parameters
from panoptic_assets.spec.resolution import document_of

T = TypeVar("T", bound=Parameters)

Check = Callable[[], None]
"""One thing that an extension must do; it raises AssertionError where the extension does not. Its
``__name__`` says what, and is what pytest shows."""


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PLAIN = (int, float, bool, str)


def name_of(choice: type[Parameters]) -> str:
    """The name under which a choice is asked for."""
    name: str = choice.model_fields["name"].default
    return name


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of choices that other packages can add to."""

    called: str
    """What one of them is called in messages."""
    base: type[T]
    group: str
    """Of the entry points that name classes of other packages."""
    needs: frozenset[str]
    """What their ``needs`` can name."""
    reading: Mapping[str, tuple[Any, frozenset[str]]]
    """Parameters that say what is read: for each its type, which may also be None, and the needs
    that it is for."""
    reserved: frozenset[str]
    """Names that no parameter can have, as every one of them is asked for beside these."""

    @property
    def taken(self) -> frozenset[str]:
        """All names that no parameter can have: the reserved ones, and what the base has."""
        members = {name for name in vars(self.base) if not name.startswith(("_", "model_"))}
        return self.reserved | members

    def with_others(self, ours: tuple[type[T], ...]) -> tuple[type[T], ...]:
        """These classes, and those of other packages; of what cannot be used a warning is given."""
        found = {name_of(choice): choice for choice in ours}
        for entry in importlib.metadata.entry_points(group=self.group):
            # Whatever another package raises must not take the project down with it.
            try:
                choice: Any = entry.load()
                self.check_class(choice)
                name = name_of(choice)
                if choice is not found.setdefault(name, choice):
                    raise ValueError(f"there is a {self.called} {name!r} already")
            except Exception as error:
                warnings.warn(
                    f"The {self.called} of the entry point {entry.name} = {entry.value} is left "
                    f"out: {error}",
                    stacklevel=2,
                )
        return tuple(found.values())

    def check_class(self, choice: Any) -> None:
        """Refuse a class that a Launchpad and the command line could not offer.

        Raises:
            TypeError: It is no subclass of the base.
            ValueError: It has no name, a parameter cannot be shown or has a name that is taken or
                a default of another type, it needs what is not known, or what is to be read is
                said by no text.
        """
        if not (isinstance(choice, type) and issubclass(choice, self.base)):
            raise TypeError(f"it is no subclass of {self.base.__name__}")
        fields = choice.model_fields
        name = fields.get("name")
        if name is None or get_args(name.annotation) != (name.default,):
            raise ValueError('its name is a field, as in: name: Literal["halves"] = "halves"')
        if not (isinstance(name.default, str) and _NAME.fullmatch(name.default)):
            raise ValueError(
                f"a name like {name.default!r} does not begin with a letter, or has more than "
                "letters, digits, - and _"
            )
        for parameter in fields:
            if not (parameter.isascii() and parameter.isidentifier()):
                raise ValueError(
                    f"a parameter called {parameter!r} has more than letters, digits and _"
                )
        if taken := self.taken & fields.keys():
            raise ValueError(f"no parameter can be called {', '.join(sorted(taken))}")
        for parameter, field in fields.items():
            if _shown_type(field.annotation) is None:
                raise ValueError(
                    f"its parameter {parameter} is no int, float, bool, text, list of one of them, "
                    "or Literal of texts"
                )
            _check_default(parameter, field)
        needs: Any = getattr(choice, "needs", frozenset())
        if not isinstance(needs, frozenset | set) or needs - self.needs:
            known = ", ".join(sorted(self.needs))
            raise ValueError(f"its needs are {needs!r}, and can be a set of {known}")
        for parameter, (kind, reading) in self.reading.items():
            if parameter in fields and needs & reading:
                given = _shown_type(fields[parameter].annotation)
                if given is Literal:
                    given = str
                if given != kind:
                    texts = "text" if kind is str else "list of texts"
                    raise ValueError(
                        f"its parameter {parameter} says what is read, and is no {texts}"
                    )
        number = getattr(choice, "algorithm", 1)
        if type(number) is not int or number < 1:
            raise ValueError(f"its algorithm is {number!r}, and is a number from 1")


def _check_default(parameter: str, field: FieldInfo) -> None:
    """Refuse a default of another type, with which Dagster has no form of any asset."""
    kind: Any = field.annotation
    default = field.get_default(call_default_factory=True)
    is_none = default is None and _shown_type(kind) is not Literal
    if default is PydanticUndefined or is_none:
        return
    try:
        TypeAdapter(kind).validate_python(default, strict=True)
    except ValidationError as error:
        raise ValueError(
            f"its parameter {parameter} is {default!r} by default, which is not of its type"
        ) from error


def _shown_type(kind: Any) -> Any:
    """The type of a parameter without its limits and its None, as the forms of parameters know it.

    Returns:
        One of ``int``, ``float``, ``bool`` and ``str``, or a list of it, such as ``list[str]``;
        ``Literal`` for one of texts. None: no form has a place for its values.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _shown_type(parts[0])
    if origin is Literal and all(isinstance(part, str) for part in parts):
        return Literal
    # Dagster has no form of a Literal that is in a list or may be None, and then of no asset.
    if origin in (Union, UnionType):
        shown = [_shown_type(part) for part in parts if part is not type(None)]
        return shown[0] if len(shown) == 1 and shown[0] is not Literal else None
    if origin is list:
        part = parts[0]
        while get_origin(part) is Annotated:
            part = get_args(part)[0]
        return list[part] if part in _PLAIN else None  # type: ignore[valid-type]
    return kind if kind in _PLAIN else None


def require(condition: bool, sentence: str) -> None:
    """Fail a check, also where Python leaves assertions out.

    Args:
        condition: Whether the extension did what it must.
        sentence: What it did, and what it must do.

    Raises:
        AssertionError: It did not.
    """
    if not condition:
        raise AssertionError(sentence)


def named_check(name: str, check: Callable[..., None], *given: Any) -> Check:
    """A check by its name, which is a sentence of words and underscores about the extension."""

    def run() -> None:
        check(*given)

    run.__name__ = name
    return run


def class_checks(chosen: Parameters, kind: Kind[Any], known: Iterable[type]) -> list[Check]:
    """The checks of what an extension's class is, whatever it computes.

    Args:
        chosen: The extension, with some parameters.
        kind: What it is.
        known: All classes of that kind that are found now.
    """
    given = chosen, kind, tuple(known)
    table = {
        "can_be_offered_by_the_project": _can_be_offered,
        "has_a_name_of_its_own": _has_its_own_name,
        "is_described_with_each_parameter": _is_described,
        "does_not_change": _does_not_change,
        "comes_back_from_json_as_it_was": _comes_back_from_json,
    }
    return [named_check(name, check, *given) for name, check in table.items()]


def _can_be_offered(chosen: Parameters, kind: Kind[Any], known: tuple[type, ...]) -> None:
    try:
        kind.check_class(type(chosen))
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"{type(chosen).__name__} would be left out, as {error}; it must be a "
            f"{kind.called} that can be offered."
        ) from error


def _has_its_own_name(chosen: Parameters, kind: Kind[Any], known: tuple[type, ...]) -> None:
    name = name_of(type(chosen))
    others = [choice for choice in known if choice is not type(chosen) and name_of(choice) == name]
    require(
        not others,
        f"{type(chosen).__name__} is called {name!r}, as another {kind.called} is; it must have a "
        "name of its own.",
    )


def _is_described(chosen: Parameters, kind: Kind[Any], known: tuple[type, ...]) -> None:
    told = type(chosen).__dict__.get("__doc__") or ""
    require(
        bool(told.strip()),
        f"{type(chosen).__name__} has no docstring; its first line must say what it does.",
    )
    for name, field in type(chosen).model_fields.items():
        require(
            bool(field.description) or name == "name",
            f"The parameter {name} has no description; it must say what it means "
            '(Field(…, description="…")).',
        )


def _does_not_change(chosen: Parameters, kind: Kind[Any], known: tuple[type, ...]) -> None:
    for name in type(chosen).model_fields:
        try:
            setattr(chosen, name, getattr(chosen, name))
        except ValidationError:
            continue
        raise AssertionError(
            f"The parameter {name} could be set anew; the class must keep the model_config of "
            f"{kind.base.__name__}, which is frozen."
        )


def _comes_back_from_json(chosen: Parameters, kind: Kind[Any], known: tuple[type, ...]) -> None:
    document = document_of(chosen)
    try:
        written = json.dumps(document, allow_nan=False)
        read = type(chosen).model_validate(json.loads(written))
    except ValueError as error:
        raise AssertionError(
            f"Its parameters {document} did not come back from JSON ({error}); each must be plain "
            "data, without infinities, that its own limits allow."
        ) from error
    require(
        read == chosen,
        f"Its parameters came back from JSON as {document_of(read)} instead of {document}; each "
        "must be what was written.",
    )
