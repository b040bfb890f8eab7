"""The command `schema`."""

import click


@click.command()
@click.option("--markdown", is_flag=True, help="The reference tables of docs/configuration.md instead.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of the stores file.

    With it, editors complete and check stores.toml.
    """
    import json

    from connector.config import reference
    from connector.config.schema import stores_file_schema

    click.echo(reference.markdown() if markdown else json.dumps(stores_file_schema(), indent=2, ensure_ascii=False))
