"""Which tests run in one process (pytest -n): those of a file, or of files with the same costly thing."""

from functools import cached_property

from xdist.scheduler import LoadFileScheduling

COMPILED = "tf:xla"  # a mode; a file with a test of it tests every port
PORTS = ("tests/lenet/compare/", "tests/lenet/ports/", "tests/lenet/reference/")
REPORT = "tests/lenet/show/test_report_"  # how the files begin that open the report page in a browser


class Scheduling(LoadFileScheduling):
    """By file. The files of PORTS that test every port are one unit: each process would compile every port
    anew. So are those that open the report page, which each process would write and open anew.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        if file in self._of_every_port:
            return "every port"
        return "report page" if file.startswith(REPORT) else file

    @cached_property
    def _of_every_port(self) -> set[str]:
        collected = next(iter(self.registered_collections.values()))
        files = {super(Scheduling, self)._split_scope(nodeid) for nodeid in collected if COMPILED in nodeid}
        return {file for file in files if file.startswith(PORTS)}
