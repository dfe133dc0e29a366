"""The command line: train, read, steer, check, export, judge, runs, models, cache; no browser.

Importing this module loads neither torch nor transformers, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from readout_ui import __version__
from readout_ui.cli.directions import geometry, lens
from readout_ui.cli.draft import draft
from readout_ui.cli.evaluate import compare, evaluate, report
from readout_ui.cli.export import export, install, pack, verify
from readout_ui.cli.extract import extract
from readout_ui.cli.lists import cache, check, models, runs, serve
from readout_ui.cli.options import with_groups
from readout_ui.cli.read import read, snippets
from readout_ui.cli.steer import steer
from readout_ui.cli.train import train, train_examples, train_stories
from readout_ui.cli.train_pairs import train_pairs
from readout_ui.errors import UserError, missing_import, naming_lost_device
from readout_ui.progress import Cancelled, write_anything

app = typer.Typer(
    help="Write descriptions, fit concept directions, read them out token by token.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
COMMANDS = (
    *(train, read, check, verify, serve, export, pack, install, evaluate, report, compare, steer),
    *(geometry, lens),
    *(extract, train_stories, train_examples, train_pairs, draft, snippets, runs, models, cache),
)
"""In the order of the help text."""
for command in COMMANDS:
    app.command()(with_groups(command))
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
# typer carries its own copy of click, or uses click itself, depending on its version.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def run(
    arguments: Sequence[str] | None = None, start_app: Callable[[Sequence[str]], None] | None = None
) -> int:
    """Run one command and return its exit status; a user's mistake is one sentence on stderr.

    Args:
        arguments: those of the process by default.
        start_app: what `readout-ui app` calls with its flags, as no command imports the app.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    write_anything(exact=not {"--json", "--csv"}.isdisjoint(given))
    try:
        with naming_lost_device():
            status = app(
                given or ["--help"], prog_name="readout-ui", standalone_mode=False, obj=start_app
            )
        sys.stdout.flush()
    except (UserError, _UsageError) as error:
        return _complain(error)
    except ImportError as error:
        return _complain(missing_import(error))
    except (KeyboardInterrupt, typer.Abort, Cancelled):
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader left (`| head`); without this the interpreter complains when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if status == INTERRUPTED:  # typer may already have turned Ctrl-C into this status
        print("Stopped.", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _complain(error: Exception) -> int:
    message = getattr(error, "format_message", error.__str__)()
    print(f"Error: {' '.join(message.split())}", file=sys.stderr)
    return 2


@app.callback(invoke_without_command=True)
def _start(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


@app.command(
    "app",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def web_app(context: typer.Context) -> None:
    """Serve the web app; `readout-ui app --help` lists its flags."""
    context.obj(context.args)
