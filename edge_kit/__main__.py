"""The way in: `edge-kit`, and `python -m edge_kit` without its script."""

import signal


def main() -> None:
    """Run the command line."""
    # The rest takes a moment to import; an interrupt meanwhile ends the process without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from edge_kit.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
