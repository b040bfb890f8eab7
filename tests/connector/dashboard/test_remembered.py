"""The page of an order says which of its keys was remembered."""

from connector.storage.tables import events


def test_the_page_of_an_event_says_from_when_a_key_is(inside, site):
    """In words, beside the event that has it, and nowhere else."""
    (first, *_) = [row for row in site.past().rows["events"] if row["event"] == "Purchase"]
    page = f"/story?store={first['store']}&key={first['object_key']}"
    assert "remembered" not in inside.get(page).text
    with site.engine.begin() as connection:
        connection.execute(events.update().where(events.c.id == first["id"]).values(ttclid_from=1_780_000_000.0))
    text = inside.get(page).text
    assert text.count("remembered from an earlier visit (remember_clicks): ttclid, given 2026-05-28 20:26 UTC.") == 1
