"""`connector snippet`: the code for a shop's pages."""

import sys

import click

from connector.cli.context import configuration, fail, store_named


@click.command()
@click.argument("store")
@click.option("--plain", is_flag=True, help="For a shop that runs its own pixel: only what makes its event_ids ours.")
@click.option(
    "--with-official-plugin", is_flag=True,
    help="WooCommerce: TikTok's own plugin stays, without its Purchase and InitiateCheckout.",
)  # fmt: skip
@click.option("--without-pixel", is_flag=True, help="WooCommerce: only what the server needs; no pixel in the browser.")
@click.option("--base-url", help="Where this server is. Default: PUBLIC_URL")
def snippet(store: str, plain: bool, with_official_plugin: bool, without_pixel: bool, base_url: str | None) -> None:
    """Print the code that makes STORE's browsers say what this server says.

    The code goes to the standard output, ready for a file; where to paste it, and what to mind, to the error output.
    """
    from connector.pixel.snippet import Kind, NoSnippet, snippet_warnings, where_to_paste
    from connector.pixel.snippet import snippet as build

    config = configuration()
    chosen = store_named(config, store)
    if (with_official_plugin or without_pixel) and (plain or chosen.platform != "woocommerce"):
        raise click.UsageError("--with-official-plugin and --without-pixel are for the plugin of a WooCommerce store")
    kind: Kind = "plain" if plain else "shopify" if chosen.platform == "shopify" else "woocommerce"
    try:
        base = config.public_url if base_url is None else base_url
        code = build(chosen, kind, base, with_official_plugin, not without_pixel)
    except NoSnippet as fault:
        for reason in fault.reasons[:-1]:
            click.echo(f"connector: {reason}", err=True)
        fail(fault.reasons[-1])
    for line in where_to_paste(chosen, kind):
        click.echo(f"# {line}", err=True)
    for doubt in snippet_warnings(chosen, kind, not without_pixel):
        click.echo(f"! {doubt}", err=True)
    sys.stdout.write(code)
