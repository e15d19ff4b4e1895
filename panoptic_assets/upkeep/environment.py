"""Environment variables by which a project's automation is set.

Belongs here: reading them, and saying at once what is wrong with one. Does not belong here: those
of one service, beside its client (``resources.labeller``, ``resources.notifier``), and where the
project lies (``resources.project_folder``) and its pages (``resources.report_folder``). Nothing
heavy is imported: what a person mistypes is said before that.
"""

import difflib
import os
from zoneinfo import ZoneInfo, available_timezones

from resources.errors import InputError
from resources.notifier import Notifier
from resources.report_folder import pages_url

SECONDS_VARIABLE = "PANOPTIC_SENSOR_SECONDS"
TIMEZONE_VARIABLE = "PANOPTIC_TIMEZONE"
_MOST_SECONDS = 86_400


def sensor_seconds(default: int) -> int:
    """Seconds between two ticks of a sensor: those of the environment, else the default.

    Raises:
        InputError: The variable holds no number of seconds, or more than a day.
    """
    given = os.environ.get(SECONDS_VARIABLE, "").strip()
    if not given:
        return default
    if not (given.isdecimal() and len(given) < 20 and 0 < int(given) <= _MOST_SECONDS):
        raise InputError(
            "The environment variable {seconds_variable} is {given!r}: give a number of seconds "
            "from 1 to {most_seconds}, such as 60, or unset it.",
            id="interval-unusable",
            seconds_variable=SECONDS_VARIABLE,
            given=given,
            most_seconds=_MOST_SECONDS,
        )
    return int(given)


def timezone() -> str:
    """The time zone of schedules, such as ``Europe/Paris``; Dagster has no setting for it.

    Raises:
        InputError: The variable names none that this machine knows.
    """
    given = os.environ.get(TIMEZONE_VARIABLE, "").strip()
    if not given:
        return "UTC"
    try:
        ZoneInfo(given)
    # A folder of the system's time zones, such as "Europe", cannot be opened as a file.
    except (ValueError, LookupError, OSError) as error:
        raise InputError(
            "The environment variable {timezone_variable} is {given!r}, which is no time zone: "
            "give one such as {examples}, or unset it.",
            id="time-zone-unusable",
            timezone_variable=TIMEZONE_VARIABLE,
            given=given,
            examples=" or ".join(_similar(given)),
        ) from error
    return given


def check_environment() -> None:
    """Say what is wrong with a variable before anything is started.

    Raises:
        InputError: One cannot be used; the message names it.
    """
    sensor_seconds(60)
    timezone()
    Notifier.from_environment()
    pages_url()


def _similar(given: str) -> list[str]:
    """Names of time zones that may be meant."""
    known = sorted(available_timezones())
    city = given.replace(" ", "_").casefold()
    found = [name for name in known if city in name.casefold().split("/")[1:]]
    return found[:2] or difflib.get_close_matches(given, known, 2) or ["Europe/Paris"]
