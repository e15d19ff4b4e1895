"""Every message to people has an id and whole values, so that it can be said in any language."""

import ast
import re
import string
from collections import defaultdict

import pytest

from tests.test_architecture import ROOT, parsed, sources

MAKER = "message"
"""The function that makes a part of a message."""


def kinds(trees):
    """The names of the errors that carry a message."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"PlainError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def makers(tree, names):
    """Each call that makes a message."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            yield node


def fault(call):
    """What is wrong with such a call; None if nothing is."""
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    name = values.pop("id", None)
    if len(call.args) != 1 or not isinstance(getattr(call.args[0], "value", None), str):
        return "the template is no literal"
    if not isinstance(name, ast.Constant) or not re.fullmatch(
        r"[a-z][a-z0-9]*(-[a-z0-9]+)*", str(name.value)
    ):
        return "the id is no literal in kebab-case"
    if None in values:
        return "values are not named one by one"
    parts = [part for part in string.Formatter().parse(call.args[0].value) if part[1] is not None]
    if not all(field.isidentifier() and "{" not in spec for _, field, spec, _ in parts):
        return "a placeholder is no plain name"
    if {field for _, field, _, _ in parts} != values.keys():
        return "placeholders and values differ"
    return None


TREES = {path: parsed(path) for path in sources()}
NAMES = kinds(TREES.values()) | {MAKER}
CALLS = [
    (f"{path.relative_to(ROOT)}:{call.lineno}", call)
    for path, tree in TREES.items()
    for call in makers(tree, NAMES)
]


def test_every_message_has_a_literal_template_a_literal_id_and_its_values():
    """DESIGN 11: InputError carries an id, a template and its values."""
    assert {"InputError", "EditError", "NotComputableError", "_FatalError"} <= NAMES
    assert len(CALLS) > 300
    assert {where: wrong for where, call in CALLS if (wrong := fault(call))} == {}


def test_an_id_has_one_template_and_a_template_one_id():
    templates, ids = defaultdict(set), defaultdict(set)
    for _, call in CALLS:
        [name] = [keyword.value.value for keyword in call.keywords if keyword.arg == "id"]
        templates[name].add(call.args[0].value)
        ids[call.args[0].value].add(name)
    assert {name: found for name, found in templates.items() if len(found) > 1} == {}
    assert {text: found for text, found in ids.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("InputError(f'{key} is gone.', id='gone')", "the template is no literal"),
        ("InputError(str(error), id='gone')", "the template is no literal"),
        ("InputError(id='gone')", "the template is no literal"),
        ("InputError('It is gone.')", "the id is no literal in kebab-case"),
        ("InputError('It is gone.', id=name)", "the id is no literal in kebab-case"),
        ("InputError('It is gone.', id='is_gone')", "the id is no literal in kebab-case"),
        ("InputError('{key} is gone.', id='gone', **values)", "values are not named one by one"),
        ("InputError('{} is gone.', id='gone')", "a placeholder is no plain name"),
        ("InputError('{key.name} is gone.', id='gone', key=key)", "a placeholder is no plain name"),
        ("InputError('{key} is gone.', id='gone')", "placeholders and values differ"),
        ("InputError('It is gone.', id='gone', key=key)", "placeholders and values differ"),
        ("InputError('{key!r}: {{a}} {n:,}.', id='gone', key=key, n=n)", None),
    ],
)
def test_what_is_wrong_with_a_message_is_found(code, wrong):
    [call] = makers(ast.parse(code), NAMES)
    assert fault(call) == wrong
