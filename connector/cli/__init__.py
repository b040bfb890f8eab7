"""The command line: one module a command group, each thin; `main` puts them together."""
