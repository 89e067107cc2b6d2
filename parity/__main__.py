"""`python -m parity` and `parity`."""

from parity.command import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.answer_until_installed()  # importing it takes a moment
    from parity.command.main import main

    main()


if __name__ == "__main__":
    main()
