"""Tools for setting a connector up and trying it: check, preview, catalogue, simulate, sandboxes, demo."""
