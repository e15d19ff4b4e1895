"""In which language somebody asks: by a switch that is kept in a cookie, or by the browser's own.

Belongs here: choosing the language of an answer. Does not belong here: what languages there are
(``spec.languages``), and who asks (``serve.who``).
"""

import re

from starlette.requests import HTTPConnection

from panoptic_assets.spec.languages import ENGLISH, LANGUAGES, Language, language

COOKIE = "panoptic-language"
"""Set by the switch on the pages, for all of this server's addresses."""


def language_of(request: HTTPConnection) -> Language:
    """The language that an answer should have: that of the switch, else the browser's."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return language(chosen)
    return language(preferred(request.headers.get("accept-language", "")))


def headers_of(spoken: Language) -> dict[str, str]:
    """What an answer says of its language, which may be another one for who asks next."""
    return {"Content-Language": spoken.code, "Vary": "Accept-Language, Cookie"}


def preferred(accepted: str) -> str:
    """The language that a browser's ``Accept-Language`` asks for first.

    One that there is not is passed over; without any, the first one is taken. See RFC
    9110, section 12.5.4.
    """
    weighed = []
    for part in accepted.split(","):
        tag, _, parameters = part.strip().lower().partition(";")
        weight = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameters) if parameters else None
        known = tag.partition("-")[0]
        if known in LANGUAGES:
            weighed.append((float(weight[1]) if weight else 1.0, known))
    best = max(weighed, default=(0.0, ""), key=lambda pair: pair[0])
    return best[1] if best[0] > 0 else ENGLISH
