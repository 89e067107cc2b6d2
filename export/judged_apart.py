"""Judges an ONNX file of unknown origin in a separate process, within limits of time and memory.

A small file can ask for a loop of 2⁶² rounds or for an array of 16 GB, and no runtime refuses it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lenet.ports.memory import limit_memory
from lenet.ports.workers import Worker

if TYPE_CHECKING:
    from rich.console import RenderableType

MEMORY = 4 << 30  # bytes of addresses; judging this network takes a tenth of it


class Here:
    """The judge in the separate process.

    Args:
        file: the ONNX file.
        weights_file: the weights that it should hold.
        digits: the number of test digits to judge by.
    """

    def __init__(self, file: Path, weights_file: Path, digits: int) -> None:
        limit_memory(MEMORY)
        self.file, self.weights_file, self.digits = file, weights_file, digits

    def judge(self) -> "tuple[RenderableType, bool]":
        """The verdict as a table to print, and whether the file differs.

        Raises:
            UserError: the file cannot be read, or needs more memory than it may take.
        """
        from export import check, export_tables
        from lenet.network import weights
        from lenet.network.digits import test_set
        from parity.errors import UserError

        images = test_set()[: self.digits].images
        try:
            found = check.check_file(self.file, weights.read(self.weights_file), images)
        except MemoryError as error:
            raise UserError(f"{self.file}: needs more than {MEMORY >> 30} GiB of memory") from error
        return export_tables.verdict(found), found.different


class Away(Worker):
    """The judge's process, as the main process uses it."""

    advice = "the file asks for something that the runtimes cannot do"

    def __init__(self, file: Path, weights_file: Path, digits: int) -> None:
        super().__init__(f"judging {file}", Here, file, weights_file, digits)

    def judge(self, seconds: float) -> "tuple[RenderableType, bool]":
        """`Here.judge`.

        Raises:
            UserError: the file cannot be read, or the time or the memory does not suffice.
        """
        return self.call("judge", seconds=seconds)
