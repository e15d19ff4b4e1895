"""What the events of the tag log did, in words.

Belongs here: the messages of a history. Does not belong here: what events mean
(``spec.tag_log``), which bundles carry whole, so that it says nothing to people.
"""

from collections.abc import Sequence

from panoptic_assets.spec.amounts import images_in_words, tags_in_words
from panoptic_assets.spec.tag_log import Event
from resources.errors import Message, message

_NAMES = 6
"""Names of tags in a message, at most."""


def in_words(events: Sequence[Event], nb_images: Sequence[int] | None = None) -> list[Message]:
    """What each event did, with the names that its tags had then.

    Args:
        events: The whole log, oldest first.
        nb_images: For each event its number of images, where the events may lack them.
    """
    names: dict[str, str] = {}
    said = []
    for place, event in enumerate(events):
        nb = len(event.images) if nb_images is None else nb_images[place]
        said.append(_said(event, names, nb))
        names |= {made.tag_id: made.name for made in event.tags}
        if event.kind == "rename" and event.tag_id and event.name:
            names[event.tag_id] = event.name
    return said


def _said(event: Event, names: dict[str, str], nb_images: int) -> Message:
    made = _listed([tag.name for tag in event.tags])
    tag = names.get(event.tag_id or "", "?")
    match event.kind:
        case "save":
            nb_tags = tags_in_words(len(event.tags))
            return message(
                "run {run}: {tags}", id="event-saved-run", run=event.run_key, tags=nb_tags
            )
        case "create_property":
            return message("{name}", id="event-of-name", name=event.property)
        case "create":
            return message("{name}", id="event-of-name", name=made)
        case "delete":
            gone = _listed([names.get(tag_id, "?") for tag_id in event.tag_ids])
            return message("{name}", id="event-of-name", name=gone)
        case "rename":
            return message("{before} → {after}", id="changed-into", before=tag, after=event.name)
        case "merge":
            gone = _listed([names.get(tag_id, "?") for tag_id in event.tag_ids])
            return message("{gone} into {kept}", id="event-merged", gone=gone, kept=tag)
        case "move":
            if event.parent_id is None:
                return message("{tag} to the top", id="event-moved-to-top", tag=tag)
            above = names.get(event.parent_id, "?")
            return message("{tag} under {above}", id="event-moved", tag=tag, above=above)
        case "recolour":
            if not event.colour:
                return message("{tag}: no colour", id="event-took-colour", tag=tag)
            return message("{tag}: {colour}", id="event-coloured", tag=tag, colour=event.colour)
        case "import":
            return message(
                "{tags} made, {images}",
                id="event-imported",
                tags=tags_in_words(len(event.tags)),
                images=images_in_words(nb_images),
            )
        case "undo" | "redo" if event.tags:
            return message(
                "event {number}; renamed: {names}",
                id="event-of-event-with-names",
                number=event.event,
                names=made,
            )
        case "undo" | "redo":
            return message("event {number}", id="event-of-event", number=event.event)
        case "split" if event.tags:
            return message("{tag} into {parts}", id="event-split", tag=tag, parts=made)
    given = _listed(list(dict.fromkeys(names.get(t, made) for t, _ in event.images)))
    count = images_in_words(nb_images)
    if event.kind == "split":
        return message(
            "{before} → {after}: {images}",
            id="event-reassigned",
            before=tag,
            after=given or "?",
            images=count,
        )
    return message("{tag}: {images}", id="event-of-images", tag=given or "?", images=count)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (", …" if len(names) > _NAMES else "")
