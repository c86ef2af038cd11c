"""The `edge-kit` command. Nothing heavy is imported here: `--help` must answer at once."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from edge_kit import __version__
from edge_kit.cli.bench import bench
from edge_kit.cli.compress import compress
from edge_kit.cli.demo import demo
from edge_kit.cli.doctor import doctor
from edge_kit.cli.eval import evaluate
from edge_kit.cli.explain import explain
from edge_kit.cli.matrix import matrix
from edge_kit.cli.options import INTERRUPTED
from edge_kit.cli.report import report
from edge_kit.cli.reproduce import reproduce
from edge_kit.cli.sensitivity import sensitivity
from edge_kit.cli.train import train
from edge_kit.cli.verify import verify
from edge_kit.cli.zoo import zoo
from edge_kit.core.errors import EdgeKitError
from edge_kit.core.interrupts import raise_on_interrupt, was_interrupted

app = typer.Typer(
    help="From a full-precision Paddle model to a proved INT8 bundle.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # importing what draws boxes around help takes a tenth of a second
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """From a full-precision Paddle model to a proved INT8 bundle."""
    if version:
        typer.echo(f"edge-kit {__version__}")
        raise typer.Exit


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """One place turns an error into one line on stderr and an exit code."""

    @functools.wraps(command)
    def run(*args: object, **kwargs: object) -> None:
        try:
            command(*args, **kwargs)
        except EdgeKitError as error:
            _stop(str(error), error.exit_code)
        except (KeyboardInterrupt, ImportError):
            # An engine that is interrupted while it is imported says ImportError.
            if not was_interrupted():
                raise
            _stop("interrupted; finished stages are kept, the same command goes on from there", INTERRUPTED)

    return run


def _stop(text: str, code: int) -> None:
    sys.stderr.write(f"edge-kit: {text}\n")
    raise typer.Exit(code)


for _command in (compress, sensitivity, train, bench, explain, verify, report, reproduce, zoo, demo, doctor):
    app.command(_command.__name__)(_guarded(_command))
app.command("eval")(_guarded(evaluate))  # whose own name is Python's
app.command("matrix")(_guarded(matrix))


def main() -> None:
    """Entry point."""
    raise_on_interrupt()
    # Paddle warns about compilers it does not need; nothing it says at import is for our users.
    warnings.filterwarnings("ignore", module=r"paddle\..*")
    try:
        app()
    except KeyboardInterrupt:  # before a command began, or behind its end
        sys.stderr.write("edge-kit: interrupted\n")
        sys.exit(INTERRUPTED)
