"""The command: `python -m tools.durability`, or `make durability KILLS=200`."""

from __future__ import annotations

import secrets
from typing import Annotated, Final

import typer

from tests.servers.redis8 import server_command
from tests.servers.running import embedded_binary
from tools.durability.cases import CASES
from tools.durability.play import Tally, play

_SERVERS: Final = ("embedded", "redis8")
_HEAD: Final = (
    f"{'case':<20} {'kills':>6} {'acknowledged':>13} {'lost':>8} {'kills with a loss':>18} {'ms a write':>11}"
)

app = typer.Typer(add_completion=False)


@app.command(
    epilog=(
        "Examples: `--kills 200` for the figures of the docs; `--only none-power,disk-always-power --kills 10` compares two "
        "cases; `--list` names the cases."
    )
)
def main(
    kills: Annotated[int, typer.Option(help="How many failures of each case, each about 1 s.", min=1)] = 200,
    only: Annotated[str, typer.Option(help="Cases, separated by commas. Default: all.")] = "",
    server: Annotated[
        str, typer.Option(help=f"{' or '.join(_SERVERS)}; `make redis8` brings the latter.")
    ] = "embedded",
    seed: Annotated[
        int | None, typer.Option(help="Of the moments of the failures. Default: a new one.")
    ] = None,
    names: Annotated[bool, typer.Option("--list", help="Name the cases, and end.")] = False,
) -> None:
    """Kill servers under writers, and count the acknowledged writes that are gone.

    Every case has a level of durability and a failure: SIGKILL, a loss of power (SIGKILL, and what fsync had not brought to the
    disk is dropped), or a failover to a replica that was cut off within the last tenth of a second. Everything is on this
    machine, in a temporary folder. Exits with 1 when a store with the option `durable` lost an acknowledged write.
    """
    if names:
        for name, case in CASES.items():
            typer.echo(f"{name:<20} durable={case.durable}, appendfsync {case.fsync}, {case.failure}")
        return
    chosen = [name for name in only.split(",") if name] or list(CASES)
    unknown = [name for name in chosen if name not in CASES]
    if unknown or server not in _SERVERS:
        raise typer.BadParameter(f"must be of {', '.join(CASES if unknown else _SERVERS)}")
    first = secrets.randbelow(1 << 30) if seed is None else seed
    command = [embedded_binary()] if server == "embedded" else server_command()
    typer.echo(f"durability: {kills} kills of each case on {server}, seed {first}")
    typer.echo(_HEAD)
    broken = False
    for name in chosen:
        tally = play(CASES[name], kills, command, seed=first)
        typer.echo(_line(name, tally))
        broken = broken or bool(CASES[name].durable and tally.lost)
    raise typer.Exit(int(broken))


def _line(name: str, tally: Tally) -> str:
    return (
        f"{name:<20} {tally.kills:>6} {tally.acknowledged:>13,} {tally.lost:>8,} {tally.hit:>18} "
        f"{tally.cost * 1000:>11.2f}"
    )


if __name__ == "__main__":
    app()
