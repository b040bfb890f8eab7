"""The built-in platforms, one package each; `connector.core.registry` discovers them in this folder."""
