"""The built-in platforms, a package each; connector/core/registry.py finds them by their place here."""
