"""`python -m edge_kit`: the command line without its script."""

from edge_kit.cli.main import main

if __name__ == "__main__":
    main()
