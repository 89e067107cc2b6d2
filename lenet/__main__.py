"""`python -m lenet` and `lenet`."""

from parity.command import interrupts


def main() -> None:
    """Run the command line."""
    interrupts.answer_until_installed()  # importing it takes a moment
    from lenet.commands.cli import main

    main()


if __name__ == "__main__":
    main()
