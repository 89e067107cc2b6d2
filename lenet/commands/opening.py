"""Opens the ports that the user named, or all that are installed."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeVar

import click
from rich.progress import Progress

from lenet import ports
from lenet.ports import Port
from lenet.ports.registry import Broken
from parity.command.copies import busy
from parity.command.terminal import shown
from parity.errors import MissingFramework, UserError

Opened = TypeVar("Opened")


def open_ports(
    names: Sequence[str],
    dtype: str,
    progress: Progress,
    otherwise: Sequence[str] = (),
    without: Mapping[str, str] = MappingProxyType({}),
) -> tuple[list[Port], dict[str, str]]:
    """Open the named ports. Without names, open all that can be opened, and return why the others cannot.

    One framework of several that fails when it is imported is returned as well, even if it was named.

    Args:
        otherwise: the ports to open without names; the default is `written_ports`.
        without: {port that cannot be opened: why}.

    Raises:
        UserError: no port remains, or a named one cannot be opened.
    """
    return opened_by(ports.open_port, names, dtype, progress, otherwise, without)


def opened_by(
    opening: Callable[[str, str], Opened],
    names: Sequence[str],
    dtype: str,
    progress: Progress,
    otherwise: Sequence[str],
    without: Mapping[str, str],
) -> tuple[list[Opened], dict[str, str]]:
    """As `open_ports`, with a function that opens a port in a dtype and raises what `open_port` raises."""
    require_named(names)
    opened, missing = [], dict(without)
    wanted = [name for name in wanted_ports(names, otherwise) if name not in without]
    if not wanted:
        raise UserError("; ".join(without.values()))
    task = progress.add_task(f"importing {wanted[0]}", total=len(wanted))
    for name in wanted:
        progress.update(task, description=f"importing {name}")
        try:
            busy(name)
            opened.append(opening(name, dtype))
        except (MissingFramework, ports.Unsupported, Broken) as error:
            if len(wanted) == 1 or (names and not isinstance(error, Broken)):
                raise
            missing[name] = str(error)
        finally:
            busy("")
        progress.advance(task)
    progress.remove_task(task)
    return opened, missing


def left_out(missing: Mapping[str, str], named: Sequence[str]) -> bool:
    """Say on standard error which ports have no part in a result, and why.

    Returns:
        Whether the user named any port, so that the result is less than what was asked for.
    """
    for name, reason in missing.items():
        click.echo(f"left out: {shown(name)}: {shown(reason)}", err=True)
    return bool(named and missing)


def require_named(names: Sequence[str]) -> None:
    """Refuse a port that the user named but that is not installed, before any work is done."""
    if names:
        for name in wanted_ports(names):
            ports.require(name)


def wanted_ports(names: Sequence[str], otherwise: Sequence[str] = ()) -> list[str]:
    """The ports that the names stand for, without repeats; without names `otherwise` or `written_ports`."""
    named = dict.fromkeys(mode for name in names for mode in ports.modes(name))
    return list(named or otherwise or written_ports())


def by_framework(names: Sequence[str]) -> list[list[str]]:
    """The same ports, grouped by framework."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(ports.framework(name).package, []).append(name)
    return list(groups.values())


def written_ports() -> list[str]:
    """All ports and modes written in a framework. Exported files only run if named."""
    return [name for name in ports.names(forward_only=True) if not ports.framework(name).exported]


def raced_ports() -> list[str]:
    """`written_ports`, and a fast runtime for the ONNX file."""
    return [*written_ports(), "onnx:numpy/onnxruntime"]


def eager_ports() -> list[str]:
    """All installed ports, each in its first mode."""
    return [name for name in ports.names() if ":" not in name and ports.installed(name)]
