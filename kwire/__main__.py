"""`python -m kwire` is the same as `kwire`."""

from kwire.cli.main import main

if __name__ == "__main__":
    main()
