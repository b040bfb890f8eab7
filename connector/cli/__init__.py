"""The command line: one thin module per command group; `main` registers them."""
