"""Work through a shop's API: registers and repairs its webhooks, and imports orders whose webhooks did not arrive."""
