"""What the pages of the manual, and the README, tell people to do does what they say."""

import contextlib
import os
import shlex
import shutil
from pathlib import Path

import click
import pytest

from panoptic_assets.cli.main import main
from panoptic_assets.manual.contents import FOLDER
from tests.commands import run
from tests.manual.blocks import blocks_of, commands_of, differing, start_of
from tests.pictures import SAMPLE

ROOT = Path(__file__).parents[3]
ENGLISH = {
    path.relative_to(FOLDER / "en").with_suffix("").as_posix(): path
    for path in sorted((FOLDER / "en").rglob("*.md"))
} | {"README": ROOT / "README.md"}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in ENGLISH.items()}
RUN = sorted(name for name, text in TEXTS.items() if start_of(text) in ("demo", "empty"))

TELLING = ("verify", "explain", "status")
"""Commands whose exit code tells what they found."""


@pytest.fixture
def place(demo_folder, one_mini, tmp_path, monkeypatch):
    """Where a page's commands run: a home with a folder of pictures, and in it the project."""
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(SAMPLE / "monuments", tmp_path / "Pictures")

    def folder(start):
        if start == "demo":
            return Path(shutil.copytree(demo_folder, tmp_path / "project"))
        (tmp_path / "project").mkdir()
        return tmp_path / "project"

    return folder


@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_page_do_what_it_says(name, place):
    """Each command works, and prints what the page shows but for numbers."""
    text = TEXTS[name]
    folder, known = place(start_of(text)), {}
    for block in blocks_of(text):
        where = f"{ENGLISH[name].name}:{block.line}"
        if "file" in block.about:
            written = folder / block.about["file"]
            written.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(block.text, encoding="utf-8")
        elif "skip" in block.about:
            continue
        elif block.kind == "python":
            with contextlib.chdir(folder):
                exec(compile(block.text, where, "exec"), known)
        for words, expected in commands_of(block):
            if words[0] == "panoptic-assets":
                check(words[1:], expected, folder, where)


def check(words, expected, folder, where):
    refusing = any(line.startswith("Error: ") for line in expected or ())
    done = run(*map(os.path.expanduser, words), cwd=folder, expect=None)
    said = f"{where}: {shlex.join(words)}\n{done.stderr}{done.stdout}"
    codes = (2,) if refusing else (0, 1, 3) if expected and words[0] in TELLING else (0,)
    assert done.returncode in codes, said
    if expected is not None:
        printed = (done.stderr + done.stdout).splitlines()
        assert differing(printed, expected) is None, (
            f"{said}\nThe page shows: {differing(printed, expected)}"
        )


def parsed(words):
    """The command that a command line asks for, with its options checked."""
    command, context = main, click.Context(main)
    rest = list(words)
    while isinstance(command, click.Group):
        left = command.make_parser(context).parse_args(rest)[1]
        if not left:  # `panoptic-assets --version`
            return
        name, found, rest = command.resolve_command(context, left)
        command, context = found, click.Context(found, parent=context, info_name=name)
    command.make_context(context.info_name, rest, parent=context.parent)


# What extensions add is there once they are installed: tests/pipeline/test_extend.py.
@pytest.mark.parametrize("name", sorted(TEXTS.keys() - {"how-to/extend"}))
def test_commands_that_are_only_shown_exist_with_their_options(name):
    text = TEXTS[name]
    for block in blocks_of(text):
        if start_of(text) == "none" or "skip" in block.about:
            for words, _ in commands_of(block):
                if words[0] == "panoptic-assets" and words[1:]:
                    try:
                        parsed(words[1:])
                    except click.UsageError as error:
                        pytest.fail(f"{ENGLISH[name].name}:{block.line}: {error.format_message()}")
                    except click.exceptions.Exit:
                        pass
