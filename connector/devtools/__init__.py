"""Tools for setting a connector up and trying it: check, preview, simulate, the sandbox Events API, the demo."""
