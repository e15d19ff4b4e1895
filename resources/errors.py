"""The exceptions that people's input and the outside world can cause.

Belongs here: :class:`InputError` and its kinds. Does not belong here: faults of the program itself,
which keep Python's own exceptions and their stack trace.
"""


class InputError(ValueError):
    """Something a person gave cannot be used.

    The message is one plain line: what was wrong, with the value; what was expected; what to do
    now. The command line prints it and exits with 2; an asset turns it into a failure that is not
    retried.
    """


class UnavailableError(InputError):
    """Something that a person gave cannot be used now: not mounted, not answering.

    It may be over by itself, so a run that nobody waits for tries again.
    """


def newer_format(what: str, found: int, newest: int) -> InputError:
    """The refusal of what a newer version of this program wrote.

    Args:
        what: Of what, as the sentence begins.
        found: The number of its format.
        newest: The greatest one that this version reads.
    """
    return InputError(
        f"{what} has format {found}, and this version of panoptic_assets reads format {newest} at "
        "most: upgrade panoptic_assets (`pip install --upgrade panoptic-assets`). Nothing was read "
        "or written."
    )
