"""The help of the command line: a command's summary is a sentence that fits into the list of commands."""

import click
from click.testing import CliRunner

from connector.cli.main import main
from tests.support.rows import each_row


def groups(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    context = click.Context(group)
    found = [path]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += groups(command, (*path, name))
    return found


@each_row("path", groups(main), ids=" ".join)
def test_no_summary_is_cut(path: tuple[str, ...]) -> None:
    """At 80 columns; Click ends what does not fit with dots."""
    listed = CliRunner().invoke(main, [*path, "--help"], terminal_width=80)
    assert listed.exit_code == 0
    cut = [line for line in listed.output.split("Commands:")[1].splitlines() if line.endswith("...")]
    assert cut == []
