"""The words of written dates, in French and English, as a few canonical ones.

Belongs here: what a word or a phrase stands for. Does not belong here: what the canonical words
mean together (``spec.written_dates``).

A canonical word is a number, a mark (``~``, ``?``, ``-``, ``/``, ``.``, ``;``), or one of these,
with a number where there is an *n*: ``On`` an ordinal, ``Rn`` one in Roman digits, ``Nn`` Roman
digits alone, ``Dn`` a decade as 1850s, ``Mn`` a month, ``Sn`` a season as in EDTF, ``Vn`` a month
of the republican calendar from 0 on, ``Pn/m`` the n-th of m parts, ``CENT``, ``MILL``, ``DECADE``,
``AN``, ``BC``, ``AD``, ``BEFORE``, ``AFTER``, ``SINCE``, ``UNTIL``, ``BETWEEN``, ``AND``, ``OR``,
``TO``.
"""

import re
import unicodedata

from panoptic_assets.spec.languages import N_

NO_DATE = N_(
    "not a date: write 1887-03-09, 09/03/1887, 9 mars 1887, 1887, vers 1850, 1850-1860, XIXe "
    "siècle, 450 av. J.-C. or EDTF, and times as 13:45"
)


def plain_words(text: str) -> str:
    """Lower case, without accents, dots behind letters, and double spaces; ``XIX°`` as ``xixe``."""
    text = text.replace("’", "'").replace("°", "e").replace("º", "e")
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = re.sub(r"(?<=[a-z])\.", " ", text)
    return " ".join(text.split())


UNDATED = frozenset(
    {
        *("s d", "sd", "s d.", "sans date", "sans d", "n d", "nd", "n d.", "no date", "undated"),
        *("not dated", "non date", "non datee", "date inconnue", "inconnu", "inconnue", "unknown"),
        *("date unknown", "unknown date", "indetermine", "indeterminee", "date indeterminee"),
        *("?", "??", "???", "-", "--", "–", "—", "(s d )", "(s d)", "(n d )", "(n d)", "…", "..."),
        "date of publication not identified",
        *("non renseigne", "non renseignee", "n/a", "na", "none", "aucune date", "[s d ]", "[s d]"),
    }
)

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "janvier janv jan january",
            "fevrier fevr fev february feb",
            "mars mar march",
            "avril avr april apr",
            "mai may",
            "juin june jun",
            "juillet juil july jul",
            "aout august aug",
            "septembre sept sep september",
            "octobre oct october",
            "novembre nov november",
            "decembre dec december",
        ),
        1,
    )
    for name in names.split()
}
_SEASONS = {
    **dict.fromkeys(("printemps", "spring"), 21),
    **dict.fromkeys(("ete", "summer"), 22),
    **dict.fromkeys(("automne", "autumn", "fall"), 23),
    **dict.fromkeys(("hiver", "winter"), 24),
}
_REPUBLICAN = (
    *("vendemiaire", "brumaire", "frimaire", "nivose", "pluviose", "ventose"),
    *("germinal", "floreal", "prairial", "messidor", "thermidor", "fructidor"),
)

_ORDINALS = {
    name: number
    for number, names in enumerate(
        (
            "premier premiere first",
            "deuxieme second seconde",
            "troisieme third",
            "quatrieme fourth",
            "cinquieme fifth",
            "sixieme sixth",
            "septieme seventh",
            "huitieme eighth",
            "neuvieme ninth",
            "dixieme tenth",
            "onzieme eleventh",
            "douzieme twelfth",
            "treizieme thirteenth",
            "quatorzieme fourteenth",
            "quinzieme fifteenth",
            "seizieme sixteenth",
            "dix-septieme seventeenth",
            "dix-huitieme eighteenth",
            "dix-neuvieme nineteenth",
            "vingtieme twentieth",
            "twenty-first",
        ),
        1,
    )
    for name in names.split()
}
_WORDS = {
    **dict.fromkeys(
        (
            "vers",
            "circa",
            "ca",
            "c",
            "env",
            "environ",
            "approximativement",
            "approx",
            "about",
            "around",
            "approximately",
            "v",
        ),
        "~",
    ),
    **dict.fromkeys(("probablement", "prob", "probable", "probably", "possibly", "perhaps"), "?"),
    **dict.fromkeys(("siecle", "siecles", "s", "century", "centuries", "cent"), "CENT"),
    **dict.fromkeys(("millenaire", "millenaires", "millennium"), "MILL"),
    **dict.fromkeys(("annees", "decennie", "decade"), "DECADE"),
    **dict.fromkeys(("debut", "early", "beginning"), "P1/3"),
    **dict.fromkeys(("milieu", "mid", "middle", "mi"), "P2/3"),
    **dict.fromkeys(("fin", "late", "end"), "P3/3"),
    **dict.fromkeys(("moitie", "half"), "/2"),
    **dict.fromkeys(("quart", "quarter"), "/4"),
    "tiers": "/3",
    **dict.fromkeys(("dernier", "derniere", "last"), "LAST"),
    **dict.fromkeys(("avant", "before", "anterieur", "pre", "ante"), "BEFORE"),
    **dict.fromkeys(("apres", "after", "posterieur", "post"), "AFTER"),
    **dict.fromkeys(("depuis", "since", "from"), "SINCE"),
    **dict.fromkeys(("jusqu", "until", "till"), "UNTIL"),
    **dict.fromkeys(("entre", "between"), "BETWEEN"),
    **dict.fromkeys(("et", "and", "&"), "AND"),
    **dict.fromkeys(("ou", "or"), "OR"),
    **dict.fromkeys(("a", "au", "to"), "TO"),
    "an": "AN",
    "-": "-",
    "–": "-",
    "—": "-",
    "/": "/",
    ".": ".",
    "?": "?",
    "~": "~",
    ";": ";",
    "bc": "BC",
    "ad": "AD",
}
_LEFT_OUT = frozenset(
    {
        *("le", "la", "les", "de", "du", "des", "the", "of", "in", "en", "on", "dans"),
        *("date", "datee", "dated", "annee", "year", "fait", ",", "'", "©"),
        *("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche", "monday"),
        *("tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    }
)
_PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        # Eras first: they have "avant" and "before" in them.
        (r"\b(?:avant|av) (?:jesus ?-? ?christ|j ?-? ?c)\b ?", " bc "),
        (r"\b(?:avant|av) (?:notre|n) (?:ere|e)\b", " bc "),
        (r"\bavant l'ere (?:commune|chretienne)\b", " bc "),
        (r"\b(?:before christ|b ?c ?e|b c)\b", " bc "),
        (r"\b(?:apres|apr|ap) (?:jesus ?-? ?christ|j ?-? ?c)\b ?", " ad "),
        (r"\b(?:de notre ere|anno domini|a d|c e|ce)\b", " ad "),
        (r"\b(?:cop|copyright|impr|dl|depot legal) (?=[0-9]{4}$)", ""),
        (
            r"\b(?:au plus tard|no later than|not after|at the latest|terminus ante quem)\b",
            " until ",
        ),
        (r"\b(?:au plus tot|not before|no earlier than|terminus post quem)\b", " since "),
        (r"\ba partir d(?:e |u |')", " since "),
        (r"\b(?:prior to|anterieur a)\b", " before "),
        (r"\bposterieur a\b", " after "),
        (r"\baux? (?:alentours|environs) d(?:e |u |es |')|\bautour d(?:e |u |es |')", " vers "),
        (r"\b(an (?:[ivx]+|[0-9]+)) (?:de la republique(?: francaise)?|republicain)\b", r"\1"),
        (r"\bav (?=[0-9])", " before "),
        (r"\bap (?=[0-9])", " after "),
        (r"\bpeut-etre\b|\bsans doute\b", " ? "),
        (r"\b(mid|early|late|mi|pre|post)-", r"\1 "),
        (r"(?<=th)-century\b", " century"),
        (r"\bvingt et unieme\b|\bvingt-et-unieme\b", "21e"),
        (r"\(\?\)", " ?"),
        # Thousands, before an era only: 12 000 av. J.-C.
        (r"\b([0-9]{1,3}) ([0-9]{3})(?= +bc\b)", r"\1\2"),
    )
)
_GLUED = re.compile(r"(?<![a-z0-9'])[a-z][0-9]|[0-9]{3}[a-rt-z](?![a-z])")
"""A lone letter beside digits: of a scan, ``l850`` is 1850."""
_TOKEN = re.compile(
    r"(?P<elided>[ld]')"
    r"|(?P<decade>[0-9]{2,4}'?s)\b"
    r"|(?P<ordinal>[0-9]{1,2}) ?(?:ieme|emes|eme|eres|ere|er|re|nde|nd|rd|th|st|e|d)\b"
    r"|(?P<roman>[ivx]{1,6})(?:emes|eme|ere|er|re|e)\b"
    r"|(?P<number>[0-9]+)"
    r"|(?P<word>dix-(?:sept|huit|neuv)ieme|twenty-first|[a-z]+)"
    r"|(?P<other>[^ ])"
)
_ROMANS = {
    "".join((tens, ones)): 10 * ten + one
    for ten, tens in enumerate(("", "x", "xx", "xxx"))
    for one, ones in enumerate(("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"))
    if tens or ones
}


def date_words(plain: str) -> list[str]:
    """The canonical words of a text: ``19e s.`` and ``XIXe siècle`` are ``O19 CENT``."""
    for pattern, said in _PHRASES:
        plain = pattern.sub(said, plain)
    if _GLUED.search(plain):
        raise ValueError(NO_DATE)
    found: list[str] = []
    for match in _TOKEN.finditer(plain):
        kind, text = match.lastgroup, match[0]
        if kind == "number":
            found.append(text)
        elif kind == "decade":
            found.append("D" + text.rstrip("s'"))
        elif kind == "ordinal":
            found.append("O" + str(int(match["ordinal"])))
        elif kind == "elided" or text in _LEFT_OUT:
            continue
        elif kind == "roman" and match["roman"] in _ROMANS:
            found.append(f"R{_ROMANS[match['roman']]}")
        elif text == "c" and found and found[-1][0] in "ORN":
            found.append("CENT")
        else:
            found.append(_word(text))
    return _with_parts(found)


def _word(text: str) -> str:
    if text in _MONTHS:
        return f"M{_MONTHS[text]}"
    if text in _SEASONS:
        return f"S{_SEASONS[text]}"
    if text in _REPUBLICAN:
        return f"V{_REPUBLICAN.index(text)}"
    if text in _ORDINALS:
        return f"O{_ORDINALS[text]}"
    if text in _ROMANS and text != "v":
        return f"N{_ROMANS[text]}"
    if text in _WORDS:
        return _WORDS[text]
    raise ValueError(NO_DATE)


def _with_parts(words: list[str]) -> list[str]:
    """``O2 /2`` becomes ``P2/2``, the second of two; ``O1 O3`` of *first third* ``P1/3``."""
    found: list[str] = []
    at = 0
    while at < len(words):
        word, following = words[at], words[at + 1] if at + 1 < len(words) else ""
        number = word[1:] if word[0] in "OR" and word[1:].isdigit() else ""
        if following[:1] == "/" and following[1:] and (number or word == "LAST"):
            of = following[1:]
            place = number or of
            if not 1 <= int(place) <= int(of):
                raise ValueError(NO_DATE)
            found.append(f"P{place}/{of}")
            at += 2
        elif number and following == "O3":
            found.append(f"P{number}/3")
            at += 2
        else:
            found.append(word)
            at += 1
    return found
