"""Which file a line of an inventory names, as museums and other programs write it."""

import pytest

from panoptic_assets.corpus.foreign_names import Corpus, ForeignNames
from panoptic_assets.corpus.inventory import Unmatched, match_images, parse_inventory
from panoptic_assets.corpus.nearest_files import NearestFiles
from tests.spreadsheets import xlsx

FILES = {
    "lamp": ["roman/Lampe.tif"],
    "vase": ["greek/Amphore été.jpg"],
    "coin": ["coins/1998.12.3.jpg"],
    "one": ["greek/IMG_0001.JPG"],
    "two": ["greek/IMG_0002.jpg", "copies/IMG_0002.png"],
    "relief": ["roman/relief.jpg"],
    "other": ["greek/relief.jpg"],
    "root": ["plan.png"],
    "bare": ["roman/IMG_0009"],
}


def found(name, folder="/srv/images"):
    """What a line names: the images, and how that differs from what stands there."""
    corpus = Corpus(FILES, folder)
    meant = corpus.find(name)
    return [corpus.images[path] for path in meant.paths], meant.how


@pytest.mark.parametrize(
    "header",
    [
        *("path", "Chemin", "CHEMIN DU FICHIER", "chemin_d_accès", "Chemin d’accès", "file"),
        *("Fichier", "filename", "File Name", "file-name", "filepath", "file_path"),
        *("Nom du fichier", "nom_de_fichier", "NOM FICHIER", "image", "Fichier image"),
        *("local_path", "global_path", "path[path]", "Nom du média", "file_url", "media_url"),
    ],
)
def test_the_column_of_files_is_called_as_museums_and_programs_call_it(header):
    read = parse_inventory(f"titre;{header}\nx;a.jpg\n".encode())
    assert (read.files, [column.property.name for column in read.columns]) == (["a.jpg"], ["titre"])


def test_of_several_columns_of_files_that_with_whole_paths_counts():
    header = "file_url;image;Nom du fichier;path;path[path]\n"
    assert parse_inventory(f"{header}u;i;n;p;/whole/p\n".encode()).files == ["/whole/p"]
    assert parse_inventory(b"file_url;image;Nom du fichier\nu;i;n\n").files == ["n"]


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("file:///mnt/Images/greek/Amphore%20%C3%A9t%C3%A9.jpg", "vase"),
        ("file://localhost/mnt/Images/roman/Lampe.tif", "lamp"),
        ("greek/Amphore%20e%CC%81te%CC%81.jpg", "vase"),  # accents apart, and encoded
        (r"D:\Fonds\greek\Amphore été.jpg", "vase"),
        ("/Volumes/Musee/roman/relief.jpg", "relief"),  # greek has one too
        ("http://musee.example/media/greek/Amphore%20%C3%A9t%C3%A9.jpg", "vase"),
        ("https://iiif.example/iiif/2/greek%2Frelief.jpg/full/!200,200/0/default.jpg", "other"),
    ],
)
def test_paths_of_other_machines_and_addresses_name_the_file_at_their_end(name, image):
    assert found(name) == ([image], "")


@pytest.mark.parametrize(
    ("name", "image", "how"),
    [
        (r"roman\lampe.TIF", "lamp", "whose name differs in letter case"),
        ("https://musee.example/x/LAMPE.TIF", "lamp", "whose name differs in letter case"),
        (r"D:\1998\Lampe.tif", "lamp", "whose folder is another"),
        (r"C:\x\plan.png", "root", "whose folder is another"),  # by its name alone
        (
            "https://musee.example/files/original/Lampe.tif?download=1#top",
            "lamp",
            "whose folder is another",
        ),
        (
            "https://iiif.example/iiif/3/Lampe.tif/pct:0,0,50,50/max/90/color.png",
            "lamp",
            "whose folder is another",
        ),
        ("https://iiif.example/iiif/3/Lampe.tif/info.json", "lamp", "whose folder is another"),
        ("1998.12.3", "coin", "which has an extension"),
        ("coins/1998.12.3", "coin", "which has an extension"),
        ("img_0001", "one", "which has an extension"),
        ("IMG_0001.tif", "one", "whose extension is another"),
        ("greek/IMG_0001.NEF", "one", "whose extension is another"),
        ("https://musee.example/o/Lampe.jpg", "lamp", "whose extension is another"),
        ("IMG_0009.tif", "bare", "whose extension is another"),
    ],
)
def test_a_file_that_is_named_otherwise_than_it_is_called_is_said(name, image, how):
    assert found(name) == ([image], how)


def test_a_path_below_the_images_folder_is_no_other_folders_file():
    """A file that was deleted, or is not copied yet, hands its values to none of its name."""
    assert found("/srv/images/Lampe.tif") == ([], "")
    assert found("file:///srv/images/greek/Lampe.tif") == ([], "")
    assert found("/srv/images/roman/LAMPE.TIF") == (["lamp"], "whose name differs in letter case")
    assert found("/srv/images/roman/Lampe.jpg") == (["lamp"], "whose extension is another")
    assert found("/srv/images/greek/Lampe.jpg") == ([], "")


@pytest.mark.parametrize("name", ["f1.jpg", "1.jpg", "0012.tif", "default.jpg", "p3", "native.png"])
def test_an_address_names_no_file_by_what_a_thousand_addresses_end_with(name):
    stem = name.partition(".")[0]
    corpus = Corpus({"image": [f"{stem}.jpg"], "book": [f"book/{stem}.jpg"]}, "/srv/images")
    addresses = [f"https://library.example/{work}/{name}" for work in ("btv1b99", "btv1b1")]
    names = ForeignNames(Corpus({"image": [f"{stem}.jpg"]}, "/srv/images"), addresses)
    assert [names.find(address).paths for address in addresses] == [[], []]
    with_folder = f"https://library.example/book/{stem}.jpg"
    assert ForeignNames(corpus, [with_folder]).find(with_folder).paths == [f"book/{stem}.jpg"]


@pytest.mark.parametrize(
    "name",
    [
        "1998.12",  # .3 is no extension of images
        "Lampe.pdf",
        "coins/Lampe.jpg",  # a folder that is not that of the file
        "other/roman/Lampe.tif",
        "MG_0001",
        "https://musee.example/",
        "https://iiif.example/iiif/3/none/full/max/0/default.jpg",
        "D:\\",
        "/",
        ".jpg",
        "%00",
    ],
)
def test_what_only_resembles_a_file_names_none(name):
    assert found(name) == ([], "")


@pytest.mark.parametrize(
    "name", ["relief.jpg", "relief", "RELIEF.tif", "IMG_0002", "https://x.example/relief.jpg"]
)
def test_what_fits_several_files_names_none_of_them(name):
    assert len(found(name)[0]) == 2


FLAT = {"one": ["IMG_1.jpg"], "two": ["IMG_2.jpg"], "sub": ["a/IMG_3.jpg"]}


def together(names, files=FLAT):
    """What names of one file surely mean, or False, and what is said of them."""
    corpus = Corpus(files, "/srv/images")
    found = ForeignNames(corpus, names)
    meanings = [found.find(name) for name in names]
    sure = [
        meant.is_certain and [corpus.images[path] for path in meant.paths] for meant in meanings
    ]
    return sure, found.notes(names)


@pytest.mark.parametrize(
    "names",
    [
        [r"D:\photos\IMG_1.jpg", r"d:\Photos\IMG_2.jpg"],
        ["/nas/IMG_1.jpg", "/nas/a/IMG_3.jpg"],
        ["/nas/IMG_2.jpg", "file:///nas/a/IMG_3.jpg"],
    ],
)
def test_names_that_agree_on_one_folder_there_are_those_of_a_flat_folder_here(names):
    sure, notes = together(names)
    assert (len(sure), [len(images) for images in sure], notes) == (2, [1, 1], [])


@pytest.mark.parametrize(
    "names",
    [
        ["/other/Fonds1/IMG_1.jpg"],  # nothing says that it is not any other of that name
        ["/other/Fonds1/IMG_1.jpg", "/other/Fonds2/IMG_1.jpg"],
        ["/other/Fonds1/IMG_1.jpg", "/other/Fonds2/IMG_2.jpg"],
        ["/other/IMG_1.jpg", "/other/b/IMG_1.jpg", "/other/b/IMG_2.jpg"],
        ["https://museum.example/x/IMG_1.jpg"],
        ["https://museum.example/x/IMG_1.jpg", "https://museum.example/y/IMG_1.jpg"],
        ["/x/a/IMG_3.jpg", "/y/a/IMG_3.jpg"],
        ["/other/Fonds1/IMG_1.tif", "/other/Fonds1/IMG_2.tif"],
    ],
)
def test_a_file_of_another_folder_is_not_the_one_here_that_is_called_so(names):
    """Foreign files got each other's tags."""
    sure, notes = together(names)
    assert not any(sure)
    assert len(notes) in (1, 2)
    assert all(note.startswith("Left out, since ") for note in notes)


def test_names_alone_are_said_where_others_of_the_file_are_not_found():
    names = ["/nas/IMG_1.jpg", "/nas/IMG_2.jpg", "/nas/stranger.jpg", "/nas/b/IMG_1.jpg"]
    sure, notes = together(names)
    assert sure == [["one"], ["two"], False, False]
    assert "by the name of the file alone, all in one folder there: 2." in notes[0]


def test_addresses_that_agree_are_taken_and_said():
    names = [f"https://museum.example/m/IMG_{at}.jpg?size={at}" for at in (1, 3)]
    sure, notes = together(names)
    assert sure == [["one"], ["sub"]]
    [note] = notes
    assert note.startswith("Addresses taken for the files whose paths end so: 2.")


def test_of_two_whole_paths_for_one_file_neither_line_of_a_table_counts():
    text = "path;t\n/x/Fonds1/IMG_1.jpg;of 1\n/x/Fonds2/IMG_1.jpg;of 2\n/x/z/IMG_2.tif;so\n"
    result = match_images(parse_inventory(text.encode()), FLAT)
    assert list(result.values.values()) == [{"two": "so"}]
    first, second, third = result.findings.first
    assert (first.line, second.line, third.line) == (2, 3, 4)
    assert "it could be IMG_1.jpg, as could /x/Fonds2/IMG_1.jpg" in first.cause
    assert [line.nearest for line in result.unmatched] == ["", ""]


def test_a_flat_folder_of_another_machine_gives_a_table_no_findings():
    text = "path;t\nD:\\photos\\IMG_1.jpg;x\nD:\\photos\\IMG_2.jpg;y\n"
    result = match_images(parse_inventory(text.encode()), FLAT)
    assert (result.nb_unmatched, result.findings.total) == (0, 0)


def test_the_very_name_comes_before_a_name_without_its_extension():
    corpus = Corpus({"a": ["x/scan"], "b": ["y/scan.jpg"]}, "")
    assert corpus.find("scan").paths == ["x/scan"]


def test_a_line_that_names_none_is_told_with_the_nearest_file():
    text = "path;t\nroman/Lamppe.tif;x\ngreek/Amphore ete.jpeg;x\nnothing like it;x\nrelief.jpg;x\n"
    result = match_images(parse_inventory(text.encode()), FILES)
    assert result.unmatched == (
        Unmatched(2, "roman/Lamppe.tif", "roman/Lampe.tif"),
        Unmatched(3, "greek/Amphore ete.jpeg", "greek/Amphore été.jpg"),
        Unmatched(4, "nothing like it", ""),
        Unmatched(5, "relief.jpg", ""),  # several, which a finding names
    )


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("inconnu_0.jpg", "energy/wind/wind_10.jpg"),
        ("egypt/nowhere.jpg", "egypt/egypt_01.jpg"),
        ("1887_0012.jpg", "1887_0013.jpg"),
        ("vase.tif", "lamp.tif"),
    ],
)
def test_a_file_that_only_shares_a_folder_a_number_or_an_extension_is_not_the_nearest(name, file):
    assert NearestFiles([file]).nearest(name) == ""


def test_of_files_of_one_name_the_nearest_is_that_in_the_folder_most_like_it():
    files = NearestFiles(["roman/lamp_1.jpg", "greek/lamp_1.jpg"])
    assert files.nearest("Grek/lampe_1.tif") == "greek/lamp_1.jpg"


def test_the_nearest_of_many_files_is_found():
    files = NearestFiles(f"fonds{i % 40}/IMG_{i:05d}.jpg" for i in range(20_000))
    assert files.nearest("fonds7/IMG_1004Z.jpg") == "fonds7/IMG_10047.jpg"
    assert files.nearest("IMG-00047.jpg").endswith("/IMG_00047.jpg")
    assert files.nearest("x" * 100_000) == ""


def test_lines_of_a_spreadsheet_are_the_properties_of_its_files():
    rows = [
        ["Inventaire 2024"],
        ["Nom du fichier", "Année", "motif[tag]"],
        ["IMG_0001", 1850.0, "vase > frise"],
        ["Lampe.tif", 12.5, None],
    ]
    result = match_images(parse_inventory(xlsx(("Objets", rows))), FILES)
    assert {key.name: value for key, value in result.values.items()} == {
        "Année": {"one": 1850.0, "lamp": 12.5},
        "motif": {"one": ("vase > frise",)},
    }
    assert [(finding.line, finding.cause) for finding in result.findings.first] == [
        (1, "lines above the header, which are no part of the table: 1"),
        (3, "taken for greek/IMG_0001.JPG, which has an extension"),
    ]


def test_several_lines_for_one_image_are_told_how_all_of_them_count():
    text = "Nom du fichier;motif\nplan.png;plan\nplan.png;coupe\n"
    result = match_images(parse_inventory(text.encode()), FILES)
    [finding] = result.findings.first
    assert (finding.line, finding.value) == (3, "coupe")
    assert "from line 2" in finding.cause
    assert "a column motif[multi_tags] takes what each of them says" in finding.cause
    result = match_images(parse_inventory(text.replace("motif", "m[multi_tags]").encode()), FILES)
    assert list(result.values.values()) == [{"root": ("coupe", "plan")}]


def test_a_file_of_windows_1252_is_read_with_a_finding():
    """It stopped the refresh before."""
    read = parse_inventory("path;titre\na.jpg;Étrurie\n".encode("cp1252"))
    assert read.columns[0].values == ["Étrurie"]
    [finding] = read.findings.first
    assert (finding.line, finding.value) == (2, "Étrurie")
    assert "read as Windows-1252" in finding.cause
