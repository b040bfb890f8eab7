"""How long data is kept, and what a person or a shop may ask about it: erasure, export, data-subject requests."""
