"""``python -m autosearch``: the command line, where its script is not on the path."""

from autosearch.cli.main import main

if __name__ == "__main__":
    main()
