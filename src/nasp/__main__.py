"""``python -m nasp`` is the command ``nasp``."""

from nasp.cli import main

if __name__ == "__main__":
    main()
