"""The page of `parity judge --html`: the graph with each node's verdict, in one file without a network."""

from parity.command.page.document import page

__all__ = ["page"]
