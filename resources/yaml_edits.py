"""Changing YAML files that people wrote.

Belongs here: other values for some fields, while all else in the file says the same, comments
included. Does not belong here: reading such files (``resources.project_folder``) and writing new
ones.
"""

import functools
import io
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from resources.errors import InputError, message
from resources.project_folder import read_yaml

Place = tuple[str, ...]
"""The names that lead to a field, such as ``("retention", "sensor")``."""


def edited_yaml(
    path: Path,
    values: Mapping[Place, Any],
    comments: Mapping[Place, str] | None = None,
    flow: bool = False,
) -> bytes:
    """What a YAML file becomes when some of its fields get other values; it is not written.

    Comments, quotes, order, anchors, the mark of UTF-8 and the first line's kind of newline stay,
    and comments inside a value that is replaced move beside or below it. ruamel.yaml writes some of
    the rest in its own form, with the same meaning: the spaces between a name and its value, an
    empty value for ``~``, dates and numbers such as ``1_0.5``; text that YAML takes for one line
    becomes one.

    Args:
        path: The file, a mapping.
        values: New fields become the last of their section, which must be there.
        comments: What stands above fields, of those that are new.
        flow: Whether values are written in braces.

    Raises:
        InputError: The file is no YAML mapping, or cannot be changed without losing a comment or
            changing another value, such as one where a name stands twice.
    """
    # Not at the top: the import takes 40 ms, and files are read by every command.
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    with read_yaml(path) as wanted:
        pass
    mark, text = _text_of(path)
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    text = text.replace("\r\n", "\n")
    # Comments above the line that begins the document, and that line, ruamel leaves out.
    head = found[0] if (found := re.match(r"(?:(?:[#%].*)?\n)*---[ \t]*(?:#.*)?\n", text)) else ""
    editor = YAML()
    editor.preserve_quotes, editor.width = True, 4096
    editor.map_indent, editor.sequence_indent, editor.sequence_dash_offset = _indents(text)
    nb_marks = text.count("#")
    out = io.StringIO()
    try:
        content = editor.load(text[len(head) :])
        if content is None:  # an empty file, perhaps with comments
            content, head = CommentedMap(), f"{text.rstrip()}\n\n".lstrip()
        out.write(head)
        for (*above, name), value in values.items():
            section, plain = (_at(above, whole) for whole in (content, wanted))
            # By way of PyYAML, which reads the file again: it writes 'no' in quotes, ruamel no.
            written = yaml.safe_dump(value, default_flow_style=flow, sort_keys=False, width=4096)
            nb_marks += written.count("#") - yaml.safe_dump(plain.get(name)).count("#")
            kept = "".join(_comments(section, name))
            section[name] = editor.load(written)
            plain[name] = value
            if kept:
                _set_comment(section, name, kept)
            if above_it := (comments or {}).get((*above, name)):
                indent = editor.map_indent * len(above)
                section.yaml_set_comment_before_after_key(name, before=above_it, indent=indent)
        editor.dump(content, out)
        result = out.getvalue()
        if _dumped(yaml.safe_load(result)) != _dumped(wanted):
            raise _unchangeable(path, values, message("values would change", id="values-change"))
        if result.count("#") < nb_marks:
            raise _unchangeable(path, values, message("a comment would be lost", id="comment-lost"))
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reason = message(
            "{problem}, line {line}", id="yaml-problem", problem=error.problem, line=line
        )
        raise _unchangeable(path, values, reason) from error
    except (YAMLError, yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise _unchangeable(path, values, " ".join(str(error).split())) from error
    return (mark + result.replace("\n", newline)).encode()


def _at(place: Iterable[str], whole: Any) -> Any:
    return functools.reduce(operator.getitem, place, whole)


def _text_of(path: Path) -> tuple[str, str]:
    text = path.read_bytes().decode("utf-8")
    return ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)


def _indents(text: str) -> tuple[int, int, int]:
    """How far mappings and lists stand to the right, and the dash: as where they first do."""
    mapping = re.search(
        r"^( *)[^\s#-][^\n]*:[ ]*(?:#.*)?\n(?: *(?:#.*)?\n)*\1( +)[^\s#-]", text, re.M
    )
    listed = re.search(r"^( *)[^\s#-][^\n]*:[ ]*(?:#.*)?\n(?: *(?:#.*)?\n)*\1( *)(- +)", text, re.M)
    offset, width = (len(listed[2]), len(listed[3])) if listed else (0, 2)
    return len(mapping[2]) if mapping else 2, offset + width, offset


def _dumped(content: Any) -> str:
    # Comparing the objects takes for ever where aliases stand for aliases, and NaN differs.
    return str(yaml.safe_dump(content, sort_keys=False))


def _comments(section: Any, name: str) -> Iterator[str]:
    """The comments in a value and behind it, each with the newline that ends it."""
    tokens = [(section.ca.items.get(name) or [None] * 3)[2]]
    pending, seen = [section.get(name)], set()
    while pending:
        node = pending.pop(0)
        if not hasattr(node, "ca") or id(node) in seen:  # aliases of aliases are without end
            continue
        seen.add(id(node))
        for found in (*node.ca.items.values(), node.ca.comment or []):
            for entry in found:
                tokens += entry if isinstance(entry, list) else [entry]
        pending += node.values() if isinstance(node, dict) else node
    found_once = {id(token): token for token in tokens if token is not None}
    in_order = sorted(found_once.values(), key=lambda token: token.start_mark.line)
    for place, token in enumerate(in_order):
        # One that begins on a line of its own brings the newline that ends the value's.
        yield token.value.removeprefix("\n") if place else token.value


def _set_comment(section: Any, name: str, text: str) -> None:
    from ruamel.yaml.error import CommentMark
    from ruamel.yaml.tokens import CommentToken

    before = (section.ca.items.get(name) or [None, None])[:2]
    section.ca.items[name] = [*before, CommentToken(text, CommentMark(0), None), None]


def _unchangeable(path: Path, values: Mapping[Place, Any], reason: Any) -> InputError:
    return InputError(
        "{path} is left as it is ({reason}): write {fields} into it by hand.",
        id="yaml-unchangeable",
        path=path,
        reason=reason,
        fields=", ".join(".".join(place) for place in values),
    )
