"""The grammar of keys: what every door accepts and refuses."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.spec.keys import (
    MAX_LENGTH,
    parse_clustering,
    parse_features,
    parse_node,
    parse_projection,
    parse_run_key,
    run_key_of,
    vector_type_of,
)
from resources.errors import InputError

LETTERS = string.ascii_letters + string.digits
names = st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + "_-", max_size=40))
clusters = st.one_of(st.integers(0, 10**6).map(str), st.just("remainder"))
nodes = st.builds(
    lambda run, path: "/".join([run, *path]), names, st.lists(clusters, min_size=1, max_size=8)
)
BAD = [
    "",
    ".",
    "..",
    "../x",
    "a b",
    "a//b",
    "/a",
    "a/",
    "é",
    "a\n",
    "a\x00",
    "-a",
    "_a",
    "a.b",
    "a" * 300,
]


@given(names)
def test_letters_digits_dashes_and_underscores_make_a_run_key(name):
    assert parse_run_key(name) == name


@given(nodes.filter(lambda text: len(text) <= MAX_LENGTH))
def test_a_node_reads_back_as_it_was_written(text):
    node = parse_node(text)
    assert str(node) == text
    assert f"{node.clustering}/{node.cluster}" == text
    assert run_key_of(text) == node.run_key


@given(names, names)
def test_a_projection_is_a_vector_type_and_a_name(vector_type, name):
    key = f"{vector_type}/{name}"
    assert parse_projection(key) == (vector_type, name)
    assert parse_features(key) == key
    assert parse_features(name) == name
    assert vector_type_of(key) == vector_type_of(vector_type) == vector_type


@pytest.mark.parametrize("text", ["mini", "mini/", "/umap", "mini/a/b", "mini/..", "mini/a.b"])
def test_a_projection_has_two_names(text):
    with pytest.raises(InputError, match="for example 'mini/umap'"):
        parse_projection(text)


@given(st.text(max_size=200))
def test_any_text_is_either_a_key_or_an_input_error_on_one_line(text):
    for parse in (parse_run_key, parse_node, parse_clustering, parse_features):
        try:
            assert set(str(parse(text))) <= set(LETTERS + "_-/")
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) < 300


@pytest.mark.parametrize("text", BAD)
def test_what_could_leave_a_folder_or_a_line_is_refused(text):
    for parse in (parse_run_key, parse_node, parse_clustering, parse_projection, parse_features):
        with pytest.raises(InputError):
            parse(text)


@pytest.mark.parametrize(
    "text", ["greek", "greek/x", "greek/-1", "greek/03", "greek/3/", "greek//3"]
)
def test_a_node_is_a_run_key_and_clusters(text):
    with pytest.raises(InputError, match="for example 'greek/3'"):
        parse_node(text)


def test_120_characters_are_the_most():
    assert parse_run_key("a" * 120)
    with pytest.raises(InputError, match="121 characters, at most 120 are"):
        parse_run_key("a" * 121)
