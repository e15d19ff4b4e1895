"""What a reviewer does in the Dagster UI, done by a browser."""

from contextlib import suppress

from playwright.sync_api import TimeoutError

CONFIG = "ops: {clustering: {config: {method: {kmeans: {nb_clusters: 4}}}}}"


UPSTREAM = """query ($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys) { assetKey { path } isMaterializable dependencyKeys { path }
    assetMaterializations(limit: 1) { runId } } }"""
"""What Dagster's UI asks before it asks whether one is sure."""


def nodes(page, keys):
    answer = page.request.post("/graphql", data={"query": UPSTREAM, "variables": {"keys": keys}})
    return answer.json()["data"]["assetNodes"]


def doubted(page, asset):
    """The assets for which the UI asks whether one is sure to materialize another one."""
    [node] = nodes(page, [{"path": [asset]}])
    upstream = nodes(page, node["dependencyKeys"])
    return {
        found["assetKey"]["path"][0]
        for found in upstream
        if found["isMaterializable"] and not found["assetMaterializations"]
    }


def open_partition(page, asset, partition):
    page.goto(f"/assets/{asset}?view=partitions&partition={partition}")
    page.get_by_text("Latest materialization").wait_for()


def test_a_run_is_started_from_the_launchpad_and_its_materialization_is_seen(ui, page, shot):
    """Key and parameters are chosen in the UI; the daemon takes the run from the queue."""
    page.goto("/assets/clustering")
    page.get_by_role("button", name="Materialize").first.click()
    confirm = page.get_by_role("button", name="Confirm")  # that `projection` may be missing
    add = page.get_by_role("button", name="Add a partition")
    confirm.or_(add).first.wait_for()
    if confirm.is_visible():
        confirm.click()
    name = page.get_by_placeholder("name", exact=True)
    for _ in range(12):  # the dialog is drawn anew when what is upstream is known
        if name.is_visible():
            break
        with suppress(TimeoutError):
            add.click(timeout=5_000)
            name.wait_for(timeout=5_000)
    name.fill("launched")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Config", exact=True).click()
    page.get_by_role("button", name="Add config").click()
    page.locator(".CodeMirror").click()
    page.keyboard.insert_text(CONFIG)
    shot(page, "launchpad")
    page.get_by_role("button", name="Save config").click()
    page.get_by_role("button", name="Launch 1 run").click()
    page.get_by_text("Launched run").wait_for()
    page.get_by_role("link", name="View", exact=True).click()
    page.get_by_text("Success", exact=True).first.wait_for(timeout=180_000)
    shot(page, "run")

    open_partition(page, "clustering", "launched")
    page.get_by_role("cell", name="nb_clusters").wait_for()
    shot(page, "materialization")
    assert ui.command("clusters", "launched").count("launched/") == 4


def test_the_page_of_a_run_opens_from_its_materialization(ui, page, shot):
    """Its address has neither host nor project, so it holds whatever they are called."""
    open_partition(page, "clustering_report", "demo")
    shot(page, "clustering_report")
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="/panoptic/-/runs/demo").click()
    run = opened.value
    run.wait_for_url("**/panoptic/sample_project/runs/demo")
    run.get_by_role("heading", name="demo", exact=True).wait_for()


def test_the_graph_of_all_assets_is_seen(page, shot):
    groups = ",".join(
        f"global@global:{name}" for name in ("corpus", "clusterings", "review", "tags")
    )
    page.set_viewport_size({"width": 1600, "height": 1000})
    page.goto(f"/asset-groups?expanded={groups}")
    page.get_by_text("run_comparison").first.wait_for()
    page.wait_for_timeout(1500)  # the graph slides into its place
    shot(page, "graph")


def test_after_a_refresh_nobody_is_asked_whether_a_clustering_may_fail(ui, page, shot):
    """DESIGN 11: the dialog named `projection`, whichever run was to be made."""
    ui.command("refresh")
    assert doubted(page, "clustering") == set()
    assert doubted(page, "nested_clustering") == set()
    page.goto("/assets/clustering")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Add a partition").wait_for()
    shot(page, "materialize")
    assert not page.get_by_text("Are you sure?").is_visible()


def test_a_new_run_is_made_from_a_launchpad_that_opens_with_its_configuration(ui, page, shot):
    """The key and one parameter are changed; all others are there to be read."""
    page.goto("/locations/panoptic_assets.definitions/jobs/cluster_by_hdbscan")
    page.get_by_text("Launchpad", exact=True).click()
    editor = "document.querySelector('.CodeMirror')?.CodeMirror"
    page.wait_for_function(f"() => {editor}?.getValue().includes('min_cluster_size: 5')")
    shown = page.evaluate(f"{editor}.getValue()")
    assert "key: ''" in shown
    assert "cluster_selection_method: eom" in shown
    changed = shown.replace("key: ''", "key: dense").replace("_size: 5", "_size: 4")
    page.evaluate(f"text => {editor}.setValue(text)", changed)
    shot(page, "new_run")
    page.get_by_role("button", name="Launch Run").click()
    page.get_by_text("Success", exact=True).first.wait_for(timeout=180_000)
    open_partition(page, "clustering", "dense")
    page.get_by_role("cell", name="nb_clusters").wait_for()
    assert "min_cluster_size: 4" in ui.command("run-info", "dense")
