"""`connector snippet`: the code for a shop's pages."""

import sys

import click

from connector.commands.ground import configuration, fail, store_named


@click.command()
@click.argument("store")
@click.option("--plain", is_flag=True, help="For a shop that runs its own pixel: only what makes its event_ids ours.")
@click.option(
    "--with-official-plugin", is_flag=True,
    help="WooCommerce: TikTok's own plugin stays, without its Purchase and InitiateCheckout.",
)  # fmt: skip
@click.option("--base-url", help="Where this server is. Default: PUBLIC_URL")
def snippet(store: str, plain: bool, with_official_plugin: bool, base_url: str | None) -> None:
    """Print the code that makes STORE's browsers say what this server says.

    The code goes to the standard output, ready for a file; where to paste it, and what to mind, to the error output.
    """
    from connector.snippets import CannotPrint, Kind, doubts, where_to_paste
    from connector.snippets import snippet as build

    config = configuration()
    chosen = store_named(config, store)
    if with_official_plugin and (plain or chosen.platform != "woocommerce"):
        raise click.UsageError("--with-official-plugin is for the plugin of a WooCommerce store")
    kind: Kind = "plain" if plain else "shopify" if chosen.platform == "shopify" else "woocommerce"
    try:
        code = build(chosen, kind, config.public_url if base_url is None else base_url, with_official_plugin)
    except CannotPrint as fault:
        for reason in fault.reasons[:-1]:
            click.echo(f"connector: {reason}", err=True)
        fail(fault.reasons[-1])
    for line in where_to_paste(chosen, kind):
        click.echo(f"# {line}", err=True)
    for doubt in doubts(chosen, kind):
        click.echo(f"! {doubt}", err=True)
    sys.stdout.write(code)
