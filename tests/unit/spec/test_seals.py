"""A seal names what was changed, and nothing else."""

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from panoptic_assets.spec.seals import changed, fields, root, seal

RECORD = {
    "config": {"method": {"kmeans": {"nb_clusters": 10, "tol": 1e-4}}, "scope": {"corpus": {}}},
    "inputs": [{"table": "files", "version": 2}, {"table": "vectors.mini", "version": 1}],
    "notes": [],
    "stability": None,
}
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_each_field_has_a_dotted_name_and_empty_ones_are_fields_too():
    assert list(dict(fields(RECORD))) == [
        "config.method.kmeans.nb_clusters",
        "config.method.kmeans.tol",
        "config.scope.corpus",
        "inputs.0.table",
        "inputs.0.version",
        "inputs.1.table",
        "inputs.1.version",
        "notes",
        "stability",
    ]


def test_a_changed_an_added_and_a_removed_field_are_named():
    sealed = seal(RECORD)
    other = deepcopy(RECORD)
    other["config"]["method"]["kmeans"]["nb_clusters"] = 11
    other["notes"] = ["new"]
    del other["stability"]
    assert changed(RECORD, sealed) == []
    assert changed(other, sealed) == [
        "config.method.kmeans.nb_clusters",
        "notes",
        "notes.0",
        "stability",
    ]


def test_a_value_and_its_hash_changed_together_break_the_seal_itself():
    sealed = seal(RECORD)
    other = RECORD | {"stability": 0.5}
    forged = {"fields": seal(other)["fields"], "root": sealed["root"]}
    assert changed(other, forged) == ["seal"]


def test_names_with_dots_are_not_those_of_inner_fields():
    assert seal({"a": {"b": 1}}) != seal({"a.b": 1})
    assert seal({"a\\": {"b": 1}}) != seal({"a\\.b": 1})


def test_the_order_of_fields_does_not_count_and_a_type_does():
    assert seal({"a": 1, "b": 2}) == seal({"b": 2, "a": 1})
    assert changed({"a": "1"}, seal({"a": 1})) == ["a"]


@given(DOCUMENTS, DOCUMENTS)
def test_equal_seals_are_of_equal_documents(one, other):
    same = repr(one) == repr(other)
    if same:
        assert changed(other, seal(one)) == []
    sealed = seal(one)
    assert root(sealed["fields"]) == sealed["root"]
    assert changed(one, sealed) == []
    if changed(other, sealed):
        assert not same
