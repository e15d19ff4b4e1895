"""What the pages of tags and of recommendations show, and which acts they offer."""

import html
import json
import re
import shutil
from urllib.parse import unquote

import pytest

from panoptic_assets.serve import proposal_page, tag_page
from panoptic_assets.spec.marks import TAG
from panoptic_assets.tags import remarking
from tests.pipeline.serve.test_run_page import Pages, forms
from tests.pipeline.upkeep.test_undoing import context_of
from tests.workbench import bench_of

HOSTILE = "<script>alert(1)</script>{{7*7}}\u202e\"'".replace(">", "»")


@pytest.fixture
def told(told_folder, tmp_path):
    """A copy of the told project, to do with as a test likes."""
    return bench_of(shutil.copytree(told_folder, tmp_path / "told"))


def edit(bench, *edits):
    bench.make("tags", edits=list(edits))


def attributes(page, name):
    """The values that an attribute has on a page, in their order."""
    return [html.unescape(value) for value in re.findall(rf'\b{name}="([^"]*)"', page)]


def tag_of(bench, path, property_name="Clustering"):
    return next(tag for tag in bench.read.tags(property_name) if tag["path"] == path)


def page_of(bench, path, query=""):
    """The page of a tag."""
    return Pages(bench.project.folder).page(f"tags/{tag_of(bench, path)['tag_id']}{query}")


def text(page):
    """What people read of a page, on one line."""
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", page).split()))


def row(page, path):
    """The line of a tag in its tree."""
    place = page.index(f'data-path="{html.escape(path)}"')
    return page[place : page.index("</div>", place)]


# The tree.


def test_the_tree_has_each_tag_of_the_property_with_its_counts_and_picture(told_folder):
    """C13: one sees the tree of a property, with what each tag holds."""
    bench = bench_of(told_folder)
    page = Pages(told_folder).page("tags")
    tags = bench.read.tags("Clustering")
    assert attributes(page, "data-path") == [tag["path"] for tag in tags]
    for tag in tags:
        assert f"{tag['nb_images']} image" in text(row(page, tag["path"]))
        assert f"thumbnails/{tag_page._pictures(bench.read, tags)[tag['tag_id']]}" in page


def test_a_tag_is_shown_by_the_medoid_of_its_cluster_as_long_as_that_carries_it(told):
    tag = tag_of(told, "1")
    rows = told.read.clusters("greek").to_pylist()
    medoid = next(row["medoid"] for row in rows if row["node"] == tag["node"])
    assert f"{medoid}.webp" in row(Pages(told.project.folder).page("tags"), "1")
    edit(told, {"unassign": {"tag": "1", "images": [medoid]}})
    left = tag_of(told, "1")["image_ids"]
    assert f"{left[0]}.webp" in row(Pages(told.project.folder).page("tags"), "1")


def test_properties_are_tabs_with_the_number_of_their_tags(told):
    edit(told, {"create": {"tag": "one > two", "property": "Éléments"}})
    page = text(Pages(told.project.folder).page("tags?property=%C3%89l%C3%A9ments"))
    nb_tags = len(told.read.tags("Clustering"))
    assert f"Clustering {nb_tags} Éléments 2" in page
    assert "2 tags" in page


def test_a_filter_shows_what_matches_with_what_is_above_it_and_says_of_how_many(told):
    edit(told, {"create": {"tag": "Vases grecs > Amphore"}})
    nb_tags = len(told.read.tags("Clustering"))
    page = Pages(told.project.folder).page("tags?filter=AMPHO")
    assert attributes(page, "data-path") == ["Vases grecs", "Vases grecs > Amphore"]
    assert f"2 of {nb_tags} tags" in text(page)
    assert "No tag has “zzz” in its name." in text(
        Pages(told.project.folder).page("tags?filter=zzz")
    )


def test_more_tags_than_a_page_holds_are_said(told_folder, monkeypatch):
    monkeypatch.setattr(tag_page, "MOST_TAGS", 3)
    page = Pages(told_folder).page("tags")
    nb_tags = len(bench_of(told_folder).read.tags("Clustering"))
    assert len(attributes(page, "data-path")) == 3
    assert f"3 of {nb_tags} tags" in text(page)


def test_the_staleness_of_a_property_and_the_run_that_it_was_saved_from_are_told(told):
    """D54: what was saved before the run was divided otherwise says so."""
    told.make("nested_clustering", "greek/1", method={"kmeans": {"nb_clusters": 2}})
    page = text(Pages(told.project.folder).page("tags"))
    assert "saved from greek" in page
    assert "not up to date 1 clustering not saved: greek/1" in page


def test_where_nothing_is_tagged_the_page_says_what_to_do(clustered_folder):
    page = text(Pages(clustered_folder).page("tags"))
    assert "There are no tags yet. Save a clustering as tags" in page


def test_a_property_whose_tags_were_deleted_leads_to_its_history(told):
    roots = [tag for tag in told.read.tags("Clustering") if tag["parent_id"] is None]
    edit(told, *({"delete": {"tag": tag["tag_id"]}} for tag in roots))
    edit(told, {"create": {"tag": "x", "property": "Other"}})
    page = Pages(told.project.folder).page("tags?property=Clustering")
    assert "What was deleted can be brought back." in text(page)
    assert "history?key=Clustering" in page


def test_a_colour_and_a_remark_are_shown(told):
    tag_id = tag_of(told, "1")["tag_id"]
    edit(told, {"recolour": {"tag": "1", "colour": "#3c8d40"}})
    given = {"subject": f"{TAG}{tag_id}", "text": "Look again"}
    remarking.store(remarking.prepare(context_of(told).now(), "", given))
    line = row(Pages(told.project.folder).page("tags"), "1")
    assert "--tag: #3c8d40" in line
    assert "Look again" in line
    assert "Look again" in page_of(told, "1")


def test_hostile_names_are_only_text(told):
    edit(
        told,
        {"create": {"tag": HOSTILE, "property": HOSTILE}},
        {"rename": {"tag": "1", "to": HOSTILE}},
    )
    pages = Pages(told.project.folder)
    for path in ("tags", "history", f"tags/{tag_of(told, HOSTILE)['tag_id']}"):
        page = pages.page(path)
        assert "<script>alert" not in page
        assert "49" not in text(page).split()
        assert html.escape(HOSTILE) in page.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def test_the_tree_and_the_page_of_a_tag_go_back_with_what_they_rest_on(told_folder):
    bench = bench_of(told_folder)
    number = str(len(bench.read.tag_log()))
    for page in (Pages(told_folder).page("tags"), page_of(bench, "1")):
        [seen] = attributes(page, "data-seen")
        assert json.loads(seen)["property:Clustering"] == number


def test_who_may_only_read_is_offered_nothing_else(told_folder):
    bench = bench_of(told_folder)
    pages = Pages(told_folder, read_only=True)
    tag_id = tag_of(bench, "1")["tag_id"]
    for path in ("tags", f"tags/{tag_id}", "recommendations"):
        page = pages.page(path)
        assert "data-judge" not in page
        assert "tag-menu" not in page
        assert "data-act=" not in page


# One tag.


def test_the_page_of_a_tag_has_its_images_in_parts(told_folder, monkeypatch):
    monkeypatch.setattr(tag_page, "IMAGES_ON_A_PAGE", 5)
    bench = bench_of(told_folder)
    images = tag_of(bench, "1")["image_ids"]
    page = page_of(bench, "1", "?page=2")
    shown = re.findall(r'<figure class="tile" data-key="[^"]*" data-id="([^"]*)"', page)
    assert shown == images[5:10]
    assert f"Images 6–10 of {len(images)}" in text(page)
    assert attributes(page, "data-total") == [str(len(images))]


def test_what_is_chosen_of_a_tag_is_a_scope_with_the_tags_below_it(told_folder):
    """A24: the images of a tag can be clustered again."""
    bench = bench_of(told_folder)
    tag = tag_of(bench, "Vases grecs")
    page = page_of(bench, "Vases grecs")
    [scope] = attributes(page, "data-scope")
    assert json.loads(scope) == {"tag": {"property": "Clustering", "path": "Vases grecs"}}
    assert len(bench.read.images_in(json.loads(scope))) == tag["nb_images"]
    [link] = re.findall(r'href="[^"]*/new\?scope=([^"]*)"', page)
    assert json.loads(unquote(link)) == json.loads(scope)


def test_only_the_own_images_of_a_tag_are_no_scope(told_folder):
    bench = bench_of(told_folder)
    page = page_of(bench, "Vases grecs", "?below=false")
    assert attributes(page, "data-total") == [str(len(tag_of(bench, "Vases grecs")["image_ids"]))]
    assert attributes(page, "data-scope") == []


def test_a_tag_that_is_gone_is_refused_in_one_line(told_folder):
    answer = Pages(told_folder).get(f"{Pages(told_folder).at}/tags/nobody")
    assert answer.status_code == 404
    assert "There is no tag of the id" in text(answer.text)


def test_the_log_of_a_tag_has_only_what_was_done_to_it(told):
    edit(told, {"rename": {"tag": "1", "to": "Uno"}})
    edit(told, {"rename": {"tag": "2", "to": "Due"}})
    page = text(page_of(told, "Uno"))
    assert "1 → Uno" in page
    assert "2 → Due" not in page


# Recommendations.


def proposed(page):
    """Tag and image of each proposal."""
    ids = re.findall(r'class="tile proposal"[^>]*data-id="([^"]*)" data-proposed="([^"]*)"', page)
    return [(tag_id, image_id) for image_id, tag_id in ids]


def test_the_page_of_a_tag_has_what_is_proposed_for_it_the_best_first(told_folder):
    """C14: images are recommended for a tag."""
    bench = bench_of(told_folder)
    rows = bench.read.recommendations("Clustering", "1").to_pylist()
    page = page_of(bench, "1")
    assert rows
    assert proposed(page) == [(row["tag_id"], row["image_id"]) for row in rows]
    assert f"similarity {rows[0]['score']:.2f}" in text(page)


def test_all_tags_with_proposals_are_together_on_one_page(told_folder, monkeypatch):
    monkeypatch.setattr(proposal_page, "MOST_OF_A_GROUP", 2)
    monkeypatch.setattr(proposal_page, "GROUPS_ON_A_PAGE", 3)
    bench = bench_of(told_folder)
    rows = bench.read.recommendations("Clustering").to_pylist()
    tags = list(dict.fromkeys(row["tag_id"] for row in rows))
    page = Pages(told_folder).page("recommendations?page=2")
    assert list(dict.fromkeys(tag_id for tag_id, _ in proposed(page))) == tags[3:6]
    nb_of_tag = [sum(row["tag_id"] == tag for row in rows) for tag in tags[3:6]]
    assert len(proposed(page)) == sum(min(2, number) for number in nb_of_tag)
    assert f"Images that fit: {len(rows)}, for {len(tags)} tags" in text(page)
    assert f"2 of {max(nb_of_tag)} images, the best first" in text(page)


def test_what_was_accepted_and_refused_is_gone_and_counts_for_the_precision(told):
    """C15: the precision so far is told."""
    rows = told.read.recommendations("Clustering", "1").to_pylist()
    ids = [row["image_id"] for row in rows]
    edit(told, {"accept": {"tag": "1", "images": ids[:3]}})
    edit(told, {"refuse": {"tag": "1", "images": ids[3:4]}})
    page = page_of(told, "1")
    assert [image_id for _, image_id in proposed(page)] == ids[4:]
    assert "So far 3 accepted, 1 refused: precision 75%" in text(page)


def test_a_refusal_can_be_looked_at_and_taken_back(told):
    ids = told.read.recommendations("Clustering", "1")["image_id"].to_pylist()
    edit(told, {"refuse": {"tag": "1", "images": ids[:2]}})
    page = page_of(told, "1")
    act = f"tag-{len(told.read.tag_log())}"
    refused = page[page.index('id="refused"') : page.index('id="log"')]
    assert forms(refused, "undo") == [{"act": act}]
    assert all(f"thumbnails/{image_id}.webp" in refused for image_id in ids[:2])
    edit(told, {"undo": {}})
    assert 'id="refused"' not in page_of(told, "1")


def test_an_image_that_was_taken_away_can_be_given_back(told):
    image = tag_of(told, "1")["image_ids"][0]
    edit(told, {"unassign": {"tag": "1", "images": [image]}})
    page = page_of(told, "1")
    refused = page[page.index('id="refused"') : page.index('id="log"')]
    assert "taken away" in text(refused)
    assert f"thumbnails/{image}.webp" in refused


def test_that_all_proposals_are_judged_is_the_reason_when_there_are_none(told):
    ids = told.read.recommendations("Clustering", "1")["image_id"].to_pylist()
    edit(told, {"refuse": {"tag": "1", "images": ids}})
    page = page_of(told, "1")
    assert f"Each of the {len(ids)} images that were found is accepted or refused" in text(page)
    assert forms(page, "recommend") == [{"config": {"property": "Clustering"}}]


def test_why_nothing_is_proposed_for_a_tag_is_said(told):
    edit(told, {"create": {"tag": "Empty"}})
    assert "No image carries this tag, so there is nothing" in text(page_of(told, "Empty"))


def test_before_anybody_looked_the_reason_is_what_stands_in_the_way(clustered_folder, tmp_path):
    bench = bench_of(shutil.copytree(clustered_folder, tmp_path / "unlooked"))
    bench.make("saved_clustering", "greek")
    bench.make("tags")
    page = text(Pages(bench.project.folder).page("recommendations"))
    assert "Every image carries a tag of 'Clustering', so none is left to propose" in page
    images = tag_of(bench, "1")["image_ids"][:1]
    edit(bench, {"unassign": {"tag": "1", "images": images}})
    page = text(Pages(bench.project.folder).page("recommendations"))
    assert "Nobody has looked yet for images that fit the tags of 'Clustering'" in page


def test_without_tags_the_recommendations_lead_to_them(clustered_folder):
    page = text(Pages(clustered_folder).page("recommendations"))
    assert "There are no tags that images could be recommended for" in page
