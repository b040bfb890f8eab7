"""Numbers in sentences."""


def how_many(number: int, one: str, more: str = "") -> str:
    """So many of something: "1 event", "2 events"; `more` where its plural is made by something else than an s."""
    return f"{number} {one if number == 1 else more or one + 's'}"
