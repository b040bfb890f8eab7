"""The command `platforms`."""

import sys

import click


@click.command()
def platforms() -> None:
    """List the installed platforms (shop systems).

    With the package of each, and what each can do.
    Exits with code 1 if one of them cannot be loaded.
    """
    from connector.core.registry import installed_platforms
    from connector.devtools.platform_list import summaries

    broken = False
    for one in summaries(installed_platforms()):
        click.secho(f'platform = "{one.name}"', bold=True, nl=False)
        click.echo(f"  {one.title} ({one.package})" if one.package else "")
        for text in one.can:
            click.echo(f"  {text}")
        for fault in one.faults:
            broken = True
            click.secho(f"  ✗ {fault}", fg="red")
    sys.exit(1 if broken else 0)
