"""`connector snippet`: prints the code for a shop's pages."""

import sys

import click

from connector.cli.context import configuration, fail, platform_of, store_named


@click.command()
@click.argument("store")
@click.option(
    "--plain", is_flag=True, help="For a shop that runs its own pixel: only gives its events the server's event_ids."
)
@click.option(
    "--with-official-plugin", is_flag=True,
    help="WooCommerce: keep TikTok's own plugin, without its Purchase and InitiateCheckout.",
)  # fmt: skip
@click.option(
    "--without-pixel", is_flag=True, help="WooCommerce: only send signals to the server; no pixel in the browser."
)
@click.option("--base-url", help="This server's address. Default: PUBLIC_URL")
def snippet(store: str, plain: bool, with_official_plugin: bool, without_pixel: bool, base_url: str | None) -> None:
    """Print the code that sends the same events from browsers.

    The code goes to standard output, ready for a file; instructions and warnings go to standard error.
    """
    from connector.core.registry import BrokenPlatform, part
    from connector.core.snippet import NoSnippet
    from connector.pixel import plain as plain_snippet
    from connector.pixel.version import printed, version

    config = configuration()
    chosen = store_named(config, store)
    platform = platform_of(chosen)
    try:
        module = plain_snippet if plain else part(platform, lambda one: one.snippet)
    except BrokenPlatform as error:
        fail(str(error))
    if module is None:
        fail(f"there is no snippet for {platform.title}; --plain prints the one for your own pixel")
    given = {"with_official_plugin": with_official_plugin, "without_pixel": without_pixel}
    options = {name for name, is_set in given.items() if is_set}
    if wrong := sorted(options - module.OPTIONS):
        kind = "plain" if plain else platform.title
        raise click.UsageError(f"the {kind} snippet has no option --{wrong[0].replace('_', '-')}")
    try:
        code = printed(module, chosen, config.public_url if base_url is None else base_url, options)
    except NoSnippet as fault:
        for reason in fault.reasons[:-1]:
            click.echo(f"connector: {reason}", err=True)
        fail(fault.reasons[-1])
    click.echo(f"# version {version(module, chosen, options)}", err=True)
    for line in module.where_to_paste(chosen):
        click.echo(f"# {line}", err=True)
    for warning in module.snippet_warnings(chosen, options):
        click.echo(f"! {warning}", err=True)
    sys.stdout.write(code)
