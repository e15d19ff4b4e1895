"""The languages in which people are spoken to: catalogues, plural forms, numbers and dates.

Belongs here: turning a text of the program, a message or a value into what a reader of a language
expects. Does not belong here: the translations (``catalogues/*.po``), which language somebody wants
(``serve.asking``), and the manual, which is written in each language.

The texts of the program are English and are their own keys: what a catalogue lacks is shown in
English. Catalogues are read as people edit them (``.po``); nothing has to be compiled.
"""

import functools
import gettext
import io
import logging
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from resources.errors import Message, is_message, text_of

T = TypeVar("T", bound=str)

LANGUAGES: Mapping[str, str] = {"en": "English", "fr": "Français"}
"""By code, as each calls itself; the first is the one of the program's own texts."""

ENGLISH = next(iter(LANGUAGES))

PLURAL_FORMS: Mapping[str, str] = {"fr": "nplurals=2; plural=(n > 1);"}
"""As gettext writes the rule by which a number chooses a form, of all languages but English. Not
Babel's: some of its versions have a third form in French, for millions in words."""

_QUOTES = {"fr": ("«\u202f", "\u202f»")}
"""Before and after a text; languages without any show it as Python does."""

_FORMATTER = string.Formatter()
_NUMBER = r"[-+\d.,e%]+|inf|nan"
"""As a note has it, in English."""

_LONGEST_NOTE = 1000
"""Characters; in longer ones, which somebody else has made, looking for values takes long."""

_PHRASES = frozenset(
    {"asked", "fault", "groups", "note", "remedy", "reason", "told", "way_out", "what", "why"}
)
"""Values of messages that are phrases of the program, where these are marked: others are shown as
they are, since a file may be called as a phrase is."""

NOTE = "a note"
"""What a catalogue remarks on the template of a note."""

CATALOGUES = Path(__file__).parent / "catalogues"
"""Its files are ``<language>/<part>.po``: ``pages.po`` of what pages show, ``messages.po`` of
refusals, notes and reasons, ``forms.po`` of what configurations say of their fields."""


@dataclass(frozen=True)
class Language:
    """One language, and how it writes texts, numbers and dates.

    Args:
        code: One of :data:`LANGUAGES`.
    """

    code: str = ENGLISH

    @functools.cached_property
    def _texts(self) -> gettext.NullTranslations:
        return _catalogue(self.code)

    def gettext(self, text: str) -> str:
        """A text of the program in this language."""
        return self._texts.gettext(text) if text else text  # the empty one is a catalogue's header

    def ngettext(self, singular: str, plural: str, number: int) -> str:
        """The form of a text of the program that goes with a number."""
        return self._texts.ngettext(singular, plural, number)

    def pgettext(self, context: str, text: str) -> str:
        """A text that is translated otherwise elsewhere."""
        return self._texts.pgettext(context, text)

    def npgettext(self, context: str, singular: str, plural: str, number: int) -> str:
        """The form that goes with a number, of a text that is translated otherwise elsewhere."""
        return self._texts.npgettext(context, singular, plural, number)

    def texts(self) -> dict[str, str | list[str]]:
        """Every text of pages, for their scripts: by the English one, of a plural its two forms."""
        found: dict[str, str | list[str]] = {}
        for entry in _entries(self.code, "pages.po"):
            if isinstance(entry.id, str) and entry.string and not entry.context:
                found[entry.id] = str(entry.string)
            elif isinstance(entry.id, list | tuple):
                found[entry.id[0]] = [str(form) for form in entry.string]
        return found

    def message(self, said: Message) -> str:
        """A message in this language, with the messages among its values.

        Where the template lacks a translation, or has one with other placeholders, it is English.
        """
        if self.code == ENGLISH:
            return text_of(said)
        english, values = said["template"], said["values"]
        specs = {field: spec or "" for _, field, spec, _ in _FORMATTER.parse(english) if field}
        try:
            parts = [*_FORMATTER.parse(self.gettext(english))]
            wrong = {field for _, field, _, _ in parts if field is not None} != specs.keys()
        except ValueError:  # braces that do not match
            wrong = True
        if wrong:
            parts = [*_FORMATTER.parse(english)]
        filled = []
        for literal, field, _, conversion in parts:
            filled.append(literal)
            if field is not None:  # what is filled in is never parsed
                value = values[field]
                if field in _PHRASES and isinstance(value, str):
                    value = self._known_note(value) or self.gettext(value)
                filled.append(self._shown(value, specs[field], conversion))
        return "".join(filled)

    def error(self, said: Message, text: str) -> str:
        """What an error says in this language.

        Args:
            said: Its message.
            text: Its text in English: a sentence of its own begins with a capital letter, and of
                long values it has more than a message that another process sent.
        """
        if self.code == ENGLISH:
            return text
        spoken = self.message(said)
        return spoken[:1].upper() + spoken[1:] if text[:1].isupper() else spoken

    def _shown(self, value: Any, spec: str, conversion: str | None) -> str:
        """A value of a message, as ``str.format`` shows it in English."""
        if is_message(value):
            value = self.message(value)
        if conversion == "r":
            return self._quoted(value)
        if not spec or not isinstance(value, int | float):
            return str(value)
        from babel.numbers import get_decimal_symbol, get_group_symbol

        signs = get_group_symbol(self.code) + get_decimal_symbol(self.code)
        return format(value, spec).translate(str.maketrans(",.", signs))

    def _quoted(self, value: Any) -> str:
        """A value between this language's quotation marks; what is not printable is escaped."""
        if isinstance(value, list):
            return ", ".join(self._quoted(part) for part in value)
        if self.code not in _QUOTES or not isinstance(value, str):
            return repr(value)
        before, after = _QUOTES[self.code]
        shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in value)
        return f"{before}{shown}{after}"

    def note(self, text: str) -> str:
        """A note of a record, which is kept in English, in this language; as it is if not known.

        Args:
            text: What :func:`resources.errors.noted` has made.
        """
        return (self._known_note(text) if text[-1:] == "." else None) or text

    def phrase(self, text: str) -> str:
        """A phrase of the program that is kept in English, such as why a file is in quarantine.

        Args:
            text: What :func:`resources.errors.noted` has made; another text is left as it is.
        """
        # A single word is a name, such as an act's, for which no catalogue is asked.
        return self._known_note(text) or (self.gettext(text) if " " in text else text)

    def _known_note(self, text: str) -> str | None:
        if len(text) > _LONGEST_NOTE:
            return None
        for pattern, template in _notes(self.code):
            if found := pattern.fullmatch(text):
                values = {
                    name: value if name in _PHRASES else self._rewritten(value)
                    for name, value in found.groupdict().items()
                }
                return self.message({"id": "", "template": template, "values": values})
        one, _, other = text.partition(", and ")
        first = self._known_note(one) if other else None
        then = self._known_note(other) if first else None
        both = self.gettext(N_("{first}, and {then}"))
        return both.format(first=first, then=then) if then else None

    def _rewritten(self, value: str) -> str:
        """An amount that was written in English, as it is written here; all else as it is, as are
        digits alone: 1850 may be a year, and amounts have their thousands apart already."""
        if value.endswith("%"):
            return f"{self._rewritten(value[:-1])}{self._percent_sign}"
        plain = value.replace(",", "")
        if value.isdigit() or not re.fullmatch(r"[\d,]+(\.\d+)?", value):
            return value
        return self._shown(float(plain), f",.{len(plain.partition('.')[2])}f", None)

    def number(self, value: float, digits: int | None = None, grouped: bool = True) -> str:
        """A number as it is written here.

        Args:
            value: The number.
            digits: Decimals; by default none for a whole number and two for others.
            grouped: Whether thousands are set apart.
        """
        from babel.numbers import format_decimal

        shown = (0 if isinstance(value, int) else 2) if digits is None else digits
        form = ("#,##0" if grouped else "0") + ("." + "0" * shown if shown else "")
        return format_decimal(value, format=form, locale=self.code)

    def percent(self, share: float, digits: int = 0) -> str:
        """A share of 1 as percent."""
        from babel.numbers import format_percent

        form = "0" + ("." + "0" * digits if digits else "")
        return format_percent(share, format=form + self._percent_sign, locale=self.code)

    @property
    def _percent_sign(self) -> str:
        return "\u202f%" if self.code == "fr" else "%"

    def moment(self, time: datetime) -> str:
        """A moment, in the time zone of this machine."""
        from babel.dates import format_datetime

        return format_datetime(time.astimezone(), "d MMM y, HH:mm", locale=self.code)

    def size(self, nb_bytes: int) -> str:
        """So many bytes, in the unit that makes the number short; its steps are of 1,000."""
        units = (
            ("o", "ko", "Mo", "Go", "To") if self.code == "fr" else ("B", "kB", "MB", "GB", "TB")
        )
        value, step = float(nb_bytes), 0
        while value >= 999.5 and step + 1 < len(units):
            value, step = value / 1000, step + 1
        digits = 1 if step and value < 10 else 0
        return f"{self.number(value, digits)}\u00a0{units[step]}"


def N_(text: T) -> T:  # noqa: N802
    """Marks a text that is translated where it is shown, for those who translate."""
    return text


@functools.cache
def language(code: str) -> Language:
    """A language by its code; the first one for a code that is not known."""
    return Language(code if code in LANGUAGES else ENGLISH)


@functools.cache
def _catalogue(code: str) -> gettext.NullTranslations:
    """All catalogues of a language as one."""
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo

    whole = Catalog(locale=code)
    whole.mime_headers = [("Plural-Forms", PLURAL_FORMS.get(code, whole.plural_forms))]
    for entry in _entries(code, "*.po"):
        whole.add(entry.id, entry.string, context=entry.context)
    if not len(whole):
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, whole)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


@functools.cache
def _notes(code: str) -> list[tuple[re.Pattern[str], str]]:
    """What a note that is known looks like, and its template; those with most words first."""
    templates = [entry.id for entry in _entries(code, "messages.po") if NOTE in entry.auto_comments]
    return [(_pattern(template), template) for template in sorted(templates, key=len, reverse=True)]


def _pattern(template: str) -> re.Pattern[str]:
    parts = []
    for literal, field, spec, _ in _FORMATTER.parse(template):
        # Numbers have a form; in what has none, a whole note may stand.
        parts += [re.escape(literal), f"(?P<{field}>{_NUMBER if spec else '.+?'})" if field else ""]
    return re.compile("".join(parts), re.DOTALL)


def _entries(code: str, names: str) -> Iterator[Any]:
    """The translations of some catalogues of a language; one that is broken is left out."""
    from babel.messages.pofile import read_po

    for file in sorted((CATALOGUES / code).glob(names)):
        try:
            with file.open("rb") as opened:
                entries = [*read_po(opened, locale=code, abort_invalid=True)]
        except Exception:  # whatever is wrong with it must not keep a refusal from being said
            logging.getLogger(__name__).exception("%s cannot be read.", file.name)
            continue
        for entry in entries:
            forms = entry.string if isinstance(entry.string, list | tuple) else [entry.string]
            if entry.id and all(forms) and not entry.fuzzy:
                yield entry
