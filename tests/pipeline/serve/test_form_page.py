"""What the form for a clustering offers: methods, images and features that there are."""

import html
import json
import re
import shutil

import pyarrow as pa
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from panoptic_assets.clustering.config import METHODS
from panoptic_assets.clustering.scopes import WithProperty
from panoptic_assets.corpus.properties import write_properties
from panoptic_assets.corpus.table import present_files
from panoptic_assets.serve.form_page import form_field
from panoptic_assets.serve.live_pages import ProjectPages
from panoptic_assets.serve.page_address import PAGES
from panoptic_assets.spec.extensions import name_of
from resources.schemas import SCHEMAS
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}"
REGION = {"region": {"projection": "mini/pca", "polygon": [[0, 0], [1, 0], [1, 1]]}}


class Form(TestClient):
    """Asks for the form of one project."""

    def __init__(self, folder):
        pages = ProjectPages(folder, {})
        self.address = f"{PAGES.format(corpus=pages.corpus)}/new"
        super().__init__(Starlette(routes=[Mount(PAGES, pages)]), raise_server_exceptions=False)

    def asked(self, **parameters):
        answer = self.get(self.address, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.text

    def refused(self, **parameters):
        """Status and text of a page that says no."""
        answer = self.get(self.address, params=parameters)
        [said] = re.findall(r"<h1>[^<]+</h1>\s*<p>(.*?)</p>", answer.text)
        return answer.status_code, html.unescape(re.sub(r"<[^>]+>", "", said))


@pytest.fixture(scope="module")
def form(told_folder):
    return Form(told_folder)


@pytest.fixture(scope="module")
def page(form):
    return form.asked()


def chosen(page, name):
    """The value of the radio button, or of the option, that is chosen."""
    tags = re.findall(r"<(?:input type=\"radio\"|option)[^>]*>", page)
    if name == "scope":
        around = re.search(r'<select name="scope".*?</select>', page, re.DOTALL)[0]
        tags = re.findall(r"<option[^>]*>", around)
        [found] = [tag for tag in tags if " selected" in tag]
    else:
        [found] = [tag for tag in tags if f'name="{name}"' in tag and " checked" in tag]
    return re.search(r'value="([^"]*)"', found)[1]


def field(page, name):
    """The attributes of a field, by its place in the body."""
    found = re.search(rf'<(?:input|select|textarea) [^>]*name="{re.escape(name)}"[^>]*>', page)[0]
    return {key: html.unescape(value) for key, value in re.findall(r'([\w-]+)="([^"]*)"', found)}


def body_of(page, name, value):
    """What a choice adds to the body."""
    tag = re.search(rf'<(?:input|option)[^>]*value="{value}"[^>]*data-body="([^"]*)"', page)
    return json.loads(html.unescape(tag[1]))


def test_every_method_is_offered_with_what_it_is_for(page):
    """A26-A33, E5: one list, k-means first and chosen."""
    names = re.findall(r'type="radio" name="method" value="([^"]+)"', page)
    assert names == [name_of(method) for method in METHODS]
    assert chosen(page, "method") == "kmeans"
    assert "for a first, coarse look" in page


def test_only_the_fields_of_the_chosen_method_count(page):
    """D31; a fieldset that is off sends nothing."""
    fieldsets = re.findall(r'<fieldset class="of-option" data-of="method:(\w+)"([^>]*)>', page)
    assert [name for name, state in fieldsets if "disabled" not in state] == ["kmeans"]
    assert all("hidden" in state for name, state in fieldsets if name != "kmeans")


def test_a_field_has_its_default_and_its_limits(page):
    """A6, A8, D43."""
    number = field(page, "config.method.kmeans.nb_clusters")
    assert (number["value"], number["min"], number["type"]) == ("10", "1", "number")
    smallest = field(page, "config.method.hdbscan.min_cluster_size")
    assert (smallest["min"], smallest["max"]) == ("2", "1000000")
    assert "config.method.hdbscan.nb_clusters" not in page


def test_a_choice_that_may_be_empty_is_empty_at_first():
    """E7; else every scope of a property would send it."""
    field = form_field("", "certainty", WithProperty.model_fields["certainty"], None)
    assert (field.kind, field.optional) == ("choice", True)
    assert [value for value, _ in field.choices] == ["", "possibly", "certainly"]


@pytest.mark.parametrize(
    ("language", "shown"),
    [("en", ["possibly", "certainly"]), ("fr", ["peut-être", "sûrement"])],
)
def test_how_sure_a_date_must_be_is_chosen_in_words_and_counts_beside_a_date_only(
    told_folder, tmp_path, language, shown
):
    """E7."""
    bench = bench_of(shutil.copytree(told_folder, tmp_path / "dated"))
    [image_id, *_] = present_files(bench.store)
    row = {"property": "made", "type": "date", "text": "vers 1850", "edtf": "1850~"}
    row |= {"image_id": image_id, "first_day": 0, "last_day": 1}
    write_properties(bench.store, pa.Table.from_pylist([row], SCHEMAS["property_values"]))
    dated = Form(bench.project.folder)
    dated.headers["Accept-Language"] = language
    page = dated.asked()
    around = re.search(
        r'<select id="config-scope-property-certainty".*?</select>', page, re.DOTALL
    )[0]
    options = re.findall(r'<option value="([^"]*)"([^>]*)>([^<]+)', around)
    assert [text for _, _, text in options] == shown
    assert [value for value, _, _ in options] == ["", "certainly"]
    assert [name for name in ("since", "until") if f"config.scope.property.{name}" in around] == [
        "since",
        "until",
    ]


@pytest.mark.parametrize(
    ("method", "is_offered"),
    [("kmeans", True), ("birch", True), ("consensus", True), ("agglomerative", False)],
)
def test_an_automatic_number_is_offered_where_the_method_has_one(page, method, is_offered):
    """A10, A11."""
    tick = f'data-automatic="config-method-{method}-nb_clusters"'
    assert (tick in page) == is_offered
    assert "differs much from one corpus to another" in page


def test_what_can_be_clustered_is_listed(told_folder, tmp_path):
    """D32, D33: vectors and projections, the project's own vectors first."""
    bench = bench_of(shutil.copytree(told_folder, tmp_path / "projected"))
    bench.make("projection", "mini/pca", method={"pca": {}})
    around = re.search(
        r'<select id="config-features".*?</select>', Form(bench.project.folder).asked(), re.DOTALL
    )[0]
    assert re.findall(r'<option value="([^"]+)"', around) == ["mini", "mini/pca"]


def test_folders_are_chosen_from_those_that_there_are(page):
    """E7."""
    around = re.search(r'data-of="scope:folder".*?</fieldset>', page, re.DOTALL)[0]
    options = re.findall(r'<option value="([^"]+)">([^<]+)</option>', around)
    assert ("animals/*", "animals (54)") in options
    assert body_of(page, "scope", "folder") == {"config": {"scope": {"files": {}}}}


def test_saved_tags_are_chosen_from_those_that_there_are(page):
    values = re.findall(r'<option value="(\{[^"]+path[^"]+\})"', page)
    paths = [json.loads(html.unescape(value)) for value in values]
    assert {"property": "Clustering", "path": "Vases grecs"} in paths


def test_the_scope_of_the_address_is_chosen(form):
    """A tray or a tag's page leads here."""
    scope = {"tag": {"property": "Clustering", "path": "Vases grecs"}}
    page = form.asked(scope=json.dumps(scope))
    assert chosen(page, "scope") == "tag"


def test_a_folder_of_the_address_is_chosen_in_the_list(form):
    page = form.asked(scope=json.dumps({"files": {"pattern": "animals/*"}}))
    assert 'value="animals/*" selected' in page


def test_a_scope_that_no_field_can_hold_is_kept_as_it_came(form):
    page = form.asked(scope=json.dumps(REGION))
    assert chosen(page, "scope") == "region"
    assert body_of(page, "scope", "region") == {"config": {"scope": REGION}}


def test_a_run_can_be_made_again_with_other_parameters(form):
    page = form.asked(run="greek")
    assert field(page, "config.method.kmeans.nb_clusters")["value"] == "6"
    assert "With the parameters of greek." in page


def test_a_cluster_is_divided_by_the_same_form_without_a_choice_of_images(form):
    page = form.asked(node="greek/1")
    given = re.search(r'data-given="([^"]+)"', page)[1]
    assert json.loads(html.unescape(given)) == {"node": "greek/1", "config": {}}
    assert 'name="scope"' not in page
    assert 'name="key"' not in page


def test_a_cluster_that_is_divided_already_begins_with_how_it_was(form):
    page = form.asked(node="greek/0")
    given = re.search(r'data-given="([^"]+)"', page)[1]
    assert json.loads(html.unescape(given))["config"] == {"replace": True}
    assert field(page, "config.method.kmeans.nb_clusters")["value"] == "2"


def test_a_consensus_begins_with_the_runs_that_were_compared(form):
    page = form.asked(runs=["greek", "greek/0"])
    assert chosen(page, "method") == "consensus"
    ticked = re.findall(r'data-kind="chosen" value="([^"]+)" checked', page)
    assert ticked == ["greek", "greek/0"]


@pytest.mark.parametrize(
    ("parameters", "status", "said"),
    [
        ({"node": "greek/99"}, 404, "no node 'greek/99'"),
        ({"run": "none"}, 404, "no clustering 'none'"),
        ({"scope": "{"}, 422, "is no JSON"),
        ({"scope": "[" * 15_000}, 422, "is no JSON"),
        ({"scope": "[1]"}, 422, "names no kind of scope"),
        ({"scope": '{"a": {}, "b": {}}'}, 422, "names no kind of scope"),
        ({"page": "1"}, 422, "cannot be used"),
    ],
)
def test_what_an_address_asks_for_and_is_not_there_is_refused(form, parameters, status, said):
    found, text = form.refused(**parameters)
    assert found == status
    assert said in text


def test_what_the_address_says_is_shown_as_it_is(form):
    page = form.asked(scope=json.dumps({"text": {"text": HOSTILE}}))
    assert "<script>alert" not in page
    assert field(page, "config.scope.text.text")["value"] == HOSTILE
