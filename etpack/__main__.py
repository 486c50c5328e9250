"""`python -m etpack`."""

from etpack.cli import main

if __name__ == "__main__":
    main()
