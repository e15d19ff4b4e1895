"""What people are told in their language: messages with their values, numbers, plural forms."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.spec import languages
from panoptic_assets.spec.languages import Language, language
from resources.errors import InputError, message, noted, text_of

NARROW = "\u202f"
HEADER = (
    'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n'
    '"Plural-Forms: nplurals=2; plural=(n > 1);\\n"\n\n'
)


def forget():
    """Let catalogues be read anew."""
    languages._catalogue.cache_clear()
    languages._notes.cache_clear()


@pytest.fixture
def french(tmp_path, monkeypatch):
    """French with a catalogue of its own: ``french(entries)``, as a .po file has them."""
    monkeypatch.setattr(languages, "CATALOGUES", tmp_path)

    def speaking(entries):
        (tmp_path / "fr").mkdir(exist_ok=True)
        content = entries if isinstance(entries, bytes) else (HEADER + entries).encode()
        (tmp_path / "fr" / "messages.po").write_bytes(content)
        forget()
        return Language("fr")

    yield speaking
    forget()


def translated(text, translation):
    return f'msgid "{text}"\nmsgstr "{translation}"\n\n'


def test_a_message_is_said_with_its_values_in_another_order(french):
    """DESIGN 11: a refusal can be said in any language."""
    spoken = french(translated("{who} has {what}", "{what} est à {who}"))
    said = message("{who} has {what}", id="has", who="Ada", what="tout")
    assert spoken.message(said) == "tout est à Ada"


def test_what_has_no_translation_is_said_in_english(french):
    said = message("{n} things", id="things", n=3)
    assert french("").message(said) == "3 things"


@pytest.mark.parametrize(
    ("template", "value", "shown"),
    [
        ("{n:,}", 1234567, f"1{NARROW}234{NARROW}567"),
        ("{n:,}", 12, "12"),
        ("{n:,.0f}", 12345.6, f"12{NARROW}346"),
        ("{n:.3f}", 0.5, "0,500"),
        ("{n:g}", 0.25, "0,25"),
        ("{n:02x}", 255, "ff"),
        ("{n}", 2026, "2026"),
        ("{n}", None, "None"),
    ],
)
def test_numbers_of_a_message_are_written_as_in_french(template, value, shown):
    assert language("fr").message(message(template, id="number", n=value)) == shown


def test_a_translation_need_not_say_how_a_number_is_written(french):
    spoken = french(translated("{n:,} images", "images : {n}"))
    said = message("{n:,} images", id="images", n=1500)
    assert spoken.message(said) == f"images : 1{NARROW}500"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("l'été", "«\u202fl'été\u202f»"),
        ('"', '«\u202f"\u202f»'),
        ("a\nb", "«\u202fa\\nb\u202f»"),
        ("\u202egnp.exe", "«\u202f\\u202egnp.exe\u202f»"),
        (["a", "b"], "«\u202fa\u202f», «\u202fb\u202f»"),
        (7, "7"),
    ],
)
def test_a_name_stands_between_french_quotation_marks_without_what_is_not_printable(value, shown):
    assert language("fr").message(message("{name!r}", id="name", name=value)) == shown


@given(st.text(), st.text(), st.integers())
def test_no_value_is_taken_for_a_template(one, other, number):
    said = message("{a}|{b}|{n}", id="three", a=one, b=other, n=number)
    assert language("fr").message(said) == f"{one}|{other}|{number}"


def test_a_value_with_braces_is_shown_as_it_is(french):
    spoken = french(translated("{a} is {b}", "{b} : {a}"))
    said = message("{a} is {b}", id="is", a="{b}", b="{a.__class__}")
    assert spoken.message(said) == "{a.__class__} : {b}"


def test_a_message_within_a_message_is_said_in_the_same_language(french):
    spoken = french(translated("no: {why}", "non : {why}") + translated("{n:,} late", "{n} tard"))
    inner = message("{n:,} late", id="late", n=1000)
    outer = message("no: {why}", id="no", why=inner)
    assert spoken.message(outer) == f"non : 1{NARROW}000 tard"


def test_an_error_that_begins_as_a_sentence_does_so_in_french(french):
    spoken = french(translated("there is none.", "il n’y en a pas."))
    error = InputError.of(InputError("there is none.", id="none"))
    assert spoken.error(error.message, str(error)) == "Il n’y en a pas."


def test_an_error_in_english_has_its_whole_text():
    """Another process's text has more of long values than the message that it sends."""
    error = InputError.restored(message("{why}", id="why", why="lon…"), "long")
    assert language("en").error(error.message, str(error)) == "long"


@pytest.mark.parametrize(
    "entries",
    [
        translated("{n} of {all}", "{n}"),
        translated("{n} of {all}", "{n} sur {all} {more}"),
        translated("{n} of {all}", "{n} sur {all"),
        translated("{n} of {all}", "{n} sur {all.real}"),
        "#, fuzzy\n" + translated("{n} of {all}", "{n} sur {all}"),
        translated("{n} of {all}", ""),
        'msgid "never closed\n',
        "what is this?\n",
        b'msgid "{n} of {all}"\nmsgstr "\xff"\n',
        b"",
        b"\x00" * 100,
    ],
)
def test_a_catalogue_that_is_wrong_never_keeps_a_message_from_being_said(french, entries):
    said = message("{n} of {all}", id="some", n=1, all=2)
    assert french(entries).message(said) == "1 of 2"


def test_without_any_catalogue_all_is_english(tmp_path, monkeypatch):
    monkeypatch.setattr(languages, "CATALOGUES", tmp_path)
    forget()
    try:
        assert Language("fr").gettext("Keys") == "Keys"
        assert Language("fr").texts() == {}
    finally:
        forget()


def test_the_header_of_a_catalogue_is_no_translation():
    assert language("fr").gettext("") == ""


@pytest.mark.parametrize(
    ("number", "form"), [(0, "une image"), (1, "une image"), (2, "des images")]
)
def test_the_form_of_a_text_goes_with_the_number_as_in_french(french, number, form):
    spoken = french(
        'msgid "an image"\nmsgid_plural "images"\nmsgstr[0] "une image"\nmsgstr[1] "des images"\n'
    )
    assert spoken.ngettext("an image", "images", number) == form


def test_scripts_get_both_forms_of_what_goes_with_a_number(french):
    spoken = french("")
    (languages.CATALOGUES / "fr" / "pages.po").write_text(
        HEADER
        + translated("Close", "Fermer")
        + 'msgid "an image"\nmsgid_plural "images"\nmsgstr[0] "une image"\nmsgstr[1] "des images"\n'
    )
    assert spoken.texts() == {"Close": "Fermer", "an image": ["une image", "des images"]}


@pytest.mark.parametrize("code", ["en", "fr"])
def test_a_language_writes_numbers_shares_sizes_and_moments(code):
    spoken = language(code)
    shown = [
        spoken.number(12345),
        spoken.number(0.5),
        spoken.percent(0.125, 1),
        spoken.size(999_600),
        spoken.size(1_500_000),
    ]
    assert (
        shown
        == {
            "en": ["12,345", "0.50", "12.5%", "1.0\u00a0MB", "1.5\u00a0MB"],
            "fr": [f"12{NARROW}345", "0,50", f"12,5{NARROW}%", "1,0\u00a0Mo", "1,5\u00a0Mo"],
        }[code]
    )
    month = {"en": "Mar", "fr": "mars"}[code]
    assert month in spoken.moment(datetime(2026, 3, 9, 12, tzinfo=UTC))


@given(st.text(), st.integers(), st.floats(allow_nan=False))
def test_english_messages_are_what_str_format_makes_of_them(name, number, share):
    said = message("{a!r} {n:,} {x:.2f} {{}}", id="all", a=name, n=number, x=share)
    assert language("en").message(said) == text_of(said)


@pytest.mark.parametrize(
    ("note", "said"),
    [
        (
            noted("All images are identical: they are one cluster."),
            f"Toutes les images sont identiques{NARROW}: elles forment un seul cluster.",
        ),
        (
            noted("Left out, since they have no capture date: {count:,} images.", count=1234),
            f"Laissées de côté, faute de date de prise de vue{NARROW}: 1{NARROW}234 images.",
        ),
        (
            "Of greek@1-0: All images are identical: they are one cluster.",
            f"De greek@1-0{NARROW}: Toutes les images sont identiques{NARROW}: elles forment un "
            "seul cluster.",
        ),
        (
            "Clustering again is due: 7% of the 100 new images are unlike those of their cluster "
            "(more than 5%; 5 % are expected), and 1,000 images came to the 250 that were "
            "clustered (more than 50%). `panoptic-assets replay greek` does it.",
            f"Il est temps de clusteriser de nouveau{NARROW}: 7{NARROW}% des 100 nouvelles images "
            f"ne ressemblent pas à celles de leur cluster (plus de 5{NARROW}%{NARROW}; on en "
            f"attend 5{NARROW}%), et 1{NARROW}000 images se sont ajoutées aux 250 qui avaient été "
            f"clusterisées (plus de 50{NARROW}%). `panoptic-assets replay greek` le fait.",
        ),
        ("What another package’s method says, and more.", None),
        ("", None),
    ],
)
def test_a_note_of_a_record_is_said_in_french_where_it_is_known(note, said):
    """Records keep notes in English, those of earlier versions and other packages too."""
    assert language("fr").note(note) == (said or note)
    assert language("en").note(note) == note


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (noted("the file is empty (0 bytes)"), "le fichier est vide (0 octet)"),
        (
            noted(
                "damaged {format} of {size:,} bytes: {error}", format="PNG", size=9000, error="x"
            ),
            f"PNG endommagé de 9{NARROW}000 octets{NARROW}: x",
        ),
        (
            "until (1850) lies before since (1860): exchange them",
            f"until (1850) vient avant since (1860){NARROW}: échangez-les",
        ),
        ("what another library says", None),
    ],
)
def test_why_a_file_is_in_quarantine_is_said_in_french(reason, said):
    assert language("fr").phrase(reason) == (said or reason)
    assert language("en").phrase(reason) == reason


def test_a_name_that_is_called_as_a_phrase_is_left_as_it_is():
    said = message("{file}: {what}", id="both", file="the image a.jpg", what="the image a.jpg")
    assert language("fr").message(said) == "the image a.jpg: l’image a.jpg"


@given(st.text() | st.just(", and " * 3000 + ".") | st.just("Of a: " * 300 + "."))
def test_any_text_can_be_a_note(text):
    assert isinstance(language("fr").note(text), str)


def test_an_unknown_language_is_english():
    assert language("tlh") == Language("en")
