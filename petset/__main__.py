"""`python -m petset`: the same as the `petset` command."""

from petset.cluster.cli.main import main

if __name__ == "__main__":
    main()
