"""Who acts.

Belongs here: the name by which the system knows whoever runs a program. Does not belong here: names
that people give in a browser (``panoptic_assets.serve``).
"""

import getpass


def system_user() -> str:
    """The user of the system; ``unknown`` where it knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container's user may have no name, nor Windows'
        return "unknown"
