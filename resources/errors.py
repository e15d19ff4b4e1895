"""The exceptions that people's input and the outside world can cause.

Belongs here: :class:`InputError` and its kinds, what is found out about a file of images, and what
a message is made of. Does not belong here: faults of the program itself, which keep Python's own
exceptions and their stack trace.
"""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self, TypedDict


class Message(TypedDict):
    """What is said to people, in plain data: another process can say it in another language."""

    id: str
    """Names the template in the whole program."""
    template: str
    """In English, as ``str.format`` takes it."""
    values: dict[str, Any]
    """For each placeholder a text, a number, None, a list or a dictionary; or a message."""


def message(template: str, /, *, id: str, **values: Any) -> Message:
    """What is said to people, or a part of it that varies, as a value of the whole.

    Args:
        template: ``str.format``'s, in English, a literal; braces that mean themselves are doubled.
        id: In kebab-case, a literal; each has one template, and each template one.
        values: For each placeholder. An error that has a message counts as that; what is no plain
            data becomes its text.
    """
    return _made(template, id, values)


def _made(template: str, id: str, values: Mapping[str, Any]) -> Message:
    plain = {name: _plain(value) for name, value in values.items()}
    return {"id": id, "template": template, "values": plain}


def noted(template: str, /, **values: Any) -> str:
    """A sentence or phrase that is kept in English, and known again by its template.

    Such are the notes of a record, and the reasons why files are in quarantine.

    Args:
        template: ``str.format``'s, a literal, so that it can be found and translated.
        values: For each placeholder; what stands between them must tell them apart, and a number's
            has a form (``{count:,}``, ``{count:d}``).
    """
    return template.format_map(values)


def text_of(what: Message, texts: Mapping[str, str] | None = None) -> str:
    """A message's text in English. Values are never taken for templates.

    Args:
        what: The message.
        texts: What stands for some of its values; by default, of a message its own text.
    """
    values = {
        name: text_of(value) if is_message(value) else value
        for name, value in what["values"].items()
    }
    return what["template"].format_map({**values, **(texts or {})})


def is_message(value: object) -> bool:
    """Whether a value of a message is a message itself."""
    return isinstance(value, dict) and value.keys() == Message.__annotations__.keys()


def _plain(value: Any) -> Any:
    if isinstance(value, PlainError):
        return value.message
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):  # NumPy's are among them
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return str(value)


class PlainError(Exception):
    """An exception whose text is one plain line for people, made of a template and its values.

    Args:
        template: As of :func:`message`.
        id: As of :func:`message`.
        values: As of :func:`message`.
    """

    message: Message

    def __init__(self, template: str, /, *, id: str, **values: Any):
        self.message = _made(template, id, values)
        # A restored error's text may say more than its values.
        errors = {
            name: str(value) for name, value in values.items() if isinstance(value, PlainError)
        }
        super().__init__(text_of(self.message, errors))

    @property
    def id(self) -> str:
        """Names the template in the whole program."""
        return self.message["id"]

    @property
    def template(self) -> str:
        """In English, as ``str.format`` takes it."""
        return self.message["template"]

    @property
    def values(self) -> dict[str, Any]:
        """For each placeholder of the template, in plain data."""
        return self.message["values"]

    @classmethod
    def restored(cls, message: Message, text: str) -> Self:
        """An error out of what another one was: its text may say more than its cut values."""
        error = cls.__new__(cls, text)
        error.message = message
        return error

    @classmethod
    def of(cls, error: "PlainError") -> Self:
        """Another kind of error that says the same."""
        return cls.restored(error.message, str(error))

    def __reduce__(self) -> tuple[Any, ...]:
        # Python's own would call the class with the text alone.
        return _unpickled, (type(self), str(self)), self.__dict__


def _unpickled(kind: type[PlainError], text: str) -> PlainError:
    return kind.__new__(kind, text)


class InputError(PlainError, ValueError):
    """Something a person gave cannot be used.

    The message is one plain line: what was wrong, with the value; what was expected; what to do
    now. The command line prints it and exits with 2; an asset turns it into a failure that is not
    retried.
    """

    @classmethod
    def of(cls, error: PlainError) -> Self:
        """The same as a sentence of its own, so with a capital letter."""
        text = str(error)
        return cls.restored(error.message, text[:1].upper() + text[1:])


class UnavailableError(InputError):
    """Something that a person gave cannot be used now: not mounted, not answering.

    It may be over by itself, so a run that nobody waits for tries again.
    """


class MissingError(UnavailableError):
    """Something is no longer there, and whether it is gone for good only a person can say.

    To ask again at once would be in vain, so no run tries again.
    """


def newer_format(what: str, found: int, newest: int) -> InputError:
    """The refusal of what a newer version of this program wrote.

    Args:
        what: Of what, as the sentence begins.
        found: The number of its format.
        newest: The greatest one that this version reads.
    """
    return InputError(
        "{what} has format {found}, and this version of panoptic_assets reads format {newest} at "
        "most: upgrade panoptic_assets (`pip install --upgrade panoptic-assets`). Nothing was read "
        "or written.",
        id="newer-format",
        what=what,
        found=found,
        newest=newest,
    )


class UnreadableImage(ValueError):  # noqa: N818 - a finding about a file, not a fault
    """A file that cannot be used as an image."""

    def __init__(self, reason: str) -> None:
        super().__init__(" ".join(reason.split()))

    @property
    def reason(self) -> str:
        """One plain line for the quarantine: what is wrong, with figures."""
        return str(self)
