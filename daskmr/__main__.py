"""``python -m daskmr``."""

from daskmr.cli import main

if __name__ == "__main__":
    main()
