"""What a computation says when it cannot be done.

Belongs here: :class:`NotComputableError`. Does not belong here: faults of the program itself.
"""


class NotComputableError(ValueError):
    """The images or parameters allow no such computation; the message is one plain line.

    ``core`` knows nothing of ``resources``, so this is its own form of an ``InputError``.
    """
