"""Changing YAML files that people wrote, and nothing else in them."""

import pytest
import yaml

from resources.errors import InputError
from resources.yaml_edits import edited_yaml


@pytest.fixture
def edit(tmp_path):
    """Gives ``refresh`` a value in a file of some text; the file's new text."""

    def _edit(text, value="keep", place=("refresh",), **options):
        path = tmp_path / "greek.yaml"
        path.write_bytes(text.encode())
        found = edited_yaml(path, {place: value}, **options).decode()
        assert path.read_bytes() == text.encode()
        return found

    return _edit


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "refresh: keep\n"),
        ("# mine\n", "# mine\n\nrefresh: keep\n"),
        ("ops: 1", "ops: 1\nrefresh: keep\n"),
        ("ops: 1  # one\n# end\n", "ops: 1  # one\n# end\nrefresh: keep\n"),
        ("refresh: assign  # why\n# b\nb: 1\n", "refresh: keep # why\n# b\nb: 1\n"),
        ("refresh:\n  assign:\n    x: 1\n# b\nb: 1\n", "refresh: keep\n# b\nb: 1\n"),
        (
            "refresh:  # a\n  assign:\n  - 1  # c\n  # d\n  - 2\n\n# b\nb: 1\n",
            "refresh: keep # a\n# c\n  # d\n\n# b\nb: 1\n",
        ),
        ("refresh:\n  # a\n  assign: 1\nb: 1\n", "refresh: keep # a\nb: 1\n"),
        ("{ops: {a: 1}}\n", "{ops: {a: 1}, refresh: keep}\n"),
        ("# c\n---\nops: 1\n", "# c\n---\nops: 1\nrefresh: keep\n"),
        ("a:\n    b:\n        - 'x'\n", "a:\n    b:\n        - 'x'\nrefresh: keep\n"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "a: &x {b: 1}\nc:\n  <<: *x\nrefresh: keep\n"),
        ("refresh: &x [1]\nb: *x\n", "refresh: keep\nb: [1]\n"),
        ("\ufeffa: 1\r\n# é\r\n", "\ufeffa: 1\r\n# é\r\nrefresh: keep\r\n"),
        (f"a: {'word ' * 60}end\n", f"a: {'word ' * 60}end\nrefresh: keep\n"),
        ("a: |\n  x\n  # y\nb: yes\n", "a: |\n  x\n  # y\nb: yes\nrefresh: keep\n"),
        ("a: 010\nb: .nan\nc: 12:30\n", "a: 010\nb: .nan\nc: 12:30\nrefresh: keep\n"),
    ],
)  # fmt: skip
def test_all_else_stays_as_it_is_written(edit, before, after):
    assert edit(before) == after


@pytest.mark.parametrize(
    "value", ["no", "012", "2024-01-01", "~", "# x", "a: b", {"on": ["y", None]}]
)
def test_a_value_is_read_back_as_it_was_given(edit, value):
    for flow in (False, True):
        assert yaml.safe_load(edit("a: 1\n", value, flow=flow)) == {"a": 1, "refresh": value}


def test_a_new_field_of_a_section_gets_its_comment(edit):
    found = edit("a:\n  b: 1\nc: 2\n", {"d": 1}, ("a", "new"), comments={("a", "new"): "why"})
    assert found == "a:\n  b: 1\n  # why\n  new:\n    d: 1\nc: 2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ops: 1\nops: 2\n", r"duplicate key \"ops\".*, line 2\): write refresh into it by hand"),
        ("a: {\n  # lost\n  b: 1}\n", "a comment would be lost"),
        ("a: 1\n---\nb: 1\n", "is not valid YAML"),
        ("- a\n", "must hold `name: value` lines"),
        ("a: " + "[" * 300 + "]" * 300, "nested too deeply|left as it is"),
    ],
)
def test_what_cannot_be_kept_is_refused(edit, text, message):
    with pytest.raises(InputError, match=message) as caught:
        edit(text)
    assert len(str(caught.value).splitlines()) == 1


def test_aliases_of_aliases_are_looked_at_once(tmp_path):
    """Each of 26 lists has the one before it twice: 67 million ways lead to the first."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 27)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join([*lines, "refresh: [*a26]"]))
    try:
        edited_yaml(path, {("refresh",): "keep"})
    except InputError as error:
        assert "is left as it is" in str(error)
