"""What computations have in common: their arrays, and what they say when they cannot be done.

Belongs here: the types of vectors and labels, the label of the remainder, and
:class:`NotComputableError`. Does not belong here: any computation, and faults of the program.
"""

import numpy as np
import numpy.typing as npt

from resources.errors import PlainError

Vectors = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Rows = npt.NDArray[np.int64]

REMAINDER = -1
"""The label that a method gives to an image that no cluster took. Never shown to people."""


class NotComputableError(PlainError, ValueError):
    """The images or parameters allow no such computation.

    What computes knows of no person who gave something, so this is its own form of an
    ``InputError``.
    """
