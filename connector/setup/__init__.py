"""Setting up a store: its checklist, what the checklist's buttons do, and a stores file made from a form."""
