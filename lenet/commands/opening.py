"""Opens the ports that the user named, or all that are installed."""

from collections.abc import Sequence

from rich.progress import Progress

from lenet import ports
from lenet.ports import Port
from parity.errors import MissingFramework


def open_ports(
    names: Sequence[str], dtype: str, progress: Progress, otherwise: Sequence[str] = ()
) -> tuple[list[Port], dict[str, str]]:
    """Open the named ports; without names, open all that can be opened and say why the others cannot.

    Args:
        otherwise: what "all" means; without it `written_ports`.
    """
    require_named(names)
    opened, missing = [], {}
    wanted = wanted_ports(names, otherwise)
    task = progress.add_task(f"importing {wanted[0]}", total=len(wanted))
    for name in wanted:
        progress.update(task, description=f"importing {name}")
        try:
            opened.append(ports.open_port(name, dtype))
        except (MissingFramework, ports.Unsupported) as error:
            if names:
                raise
            missing[name] = str(error)
        progress.advance(task)
    progress.remove_task(task)
    return opened, missing


def require_named(names: Sequence[str]) -> None:
    """Refuse, before any work is done, a port that the user named and that is not installed."""
    if names:
        for name in wanted_ports(names):
            ports.require(name)


def wanted_ports(names: Sequence[str], otherwise: Sequence[str] = ()) -> list[str]:
    """The ports that a user's names stand for, each once; without names `otherwise`, or `written_ports`."""
    named = dict.fromkeys(mode for name in names for mode in ports.modes(name))
    return list(named or otherwise or written_ports())


def by_framework(names: Sequence[str]) -> list[list[str]]:
    """The same ports, those that share a framework together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(ports.framework(name).package, []).append(name)
    return list(groups.values())


def written_ports() -> list[str]:
    """Every port and mode written in a framework; what its exporters make is asked for by name."""
    return [name for name in ports.names(forward_only=True) if name.partition(":")[0] != "onnx"]


def raced_ports() -> list[str]:
    """`written_ports`, and the runtime that runs what they export for speed."""
    return [*written_ports(), "onnx:numpy/onnxruntime"]


def eager_ports() -> list[str]:
    """The ports that are installed, each in its first mode."""
    return [name for name in ports.names() if ":" not in name and ports.installed(name)]
