"""What an administrator's command holds while it works on the rows of a whole namespace: no repartition begins meanwhile.

A hold is a field in the registry of the first partition of each group: the server's time at which it ends, and what holds it. Both
sides write before they read, so one of them sees the other:

- The command sets its hold, and reads then whether partitions are being doubled. It does both again every few seconds, so it also
  ends when its hold has lapsed, because the process stood still, and a repartition has begun.
- A repartition refuses to begin while there is a hold. Once it is announced, it moves nothing before the last hold is gone.

The hold of a process that was killed ends by itself.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

from keyweave.effects import Flow, Send
from keyweave.errors import ConfigurationError, KeyweaveError, StoreUnavailableError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import micros_of, server_time, time_commands
from keyweave.keyspace.keys import Partition
from keyweave.store.context import Context
from keyweave.store.registry import DOUBLING, HELD

T = TypeVar("T")

LIFE: Final = 120.0
"""Seconds for which a hold lasts after it was renewed last."""

_FULL: Final = frozenset({"OOM"})
"""A full server takes no hold, and no copies of a repartition. What removes keys may go on there."""

_RENEWAL: Final = 10.0
"""Seconds after which a hold is renewed."""


class Held(NamedTuple):
    """A hold that has not ended.

    Attributes:
        what: the command that has it.
        seconds: after which it ends if the command does not renew it.
    """

    what: str
    seconds: int


class Hold:
    """The hold of one command.

    Args:
        context: of the namespace.
        what: the command, for the error of a repartition.
    """

    def __init__(self, context: Context, what: str) -> None:
        self._context: Final = context
        self._what: Final = what
        self._field: Final = HELD + context.state.ledger.new_op()
        self._renewed = (0.0, 0.0)
        self._tried = 0.0

    def around(self, flow: Flow[T]) -> Flow[T]:
        """Run a flow with the hold.

        Raises:
            ConfigurationError: partitions are being doubled, before the flow begins or while it runs.
        """
        yield from self.take()
        try:
            result = yield from self.keep(flow)
        except GeneratorExit:
            raise  # nothing can be sent any more
        except BaseException:
            yield from self.release()
            raise
        yield from self.release()
        return result

    def take(self) -> Flow[None]:
        """Take the hold.

        Raises:
            ConfigurationError: partitions are being doubled.
        """
        try:
            yield from self._renew()
        except ConfigurationError:
            yield from self.release()
            raise

    def keep(self, flow: Flow[T]) -> Flow[T]:
        """Run a flow, and renew the hold before what it sends.

        Raises:
            ConfigurationError: partitions are being doubled meanwhile. Nothing more was sent.
        """
        answer: object = None
        failure: Exception | None = None
        try:
            while True:
                try:
                    effect = flow.send(answer) if failure is None else flow.throw(failure)
                except StopIteration as stop:
                    return stop.value  # type: ignore[no-any-return]
                answer = failure = None
                if type(effect) is Send:
                    yield from self._renew_in_time()
                try:
                    answer = yield effect
                except Exception as error:  # noqa: BLE001 - the flow decides what to do about it
                    failure = error
        finally:
            failure = None
            flow.close()

    def release(self) -> Flow[None]:
        """Give the hold back. If the server cannot be used, it ends by itself."""
        try:
            yield from ask(
                self._context,
                tuple(("HDEL", partition.schema, self._field) for partition in _first(self._context)),
            )
        except KeyweaveError:
            return

    def _renew_in_time(self) -> Flow[None]:
        context = self._context
        steady, wall = context.monotonic(), context.wall()
        # The monotonic clock stands still while the machine sleeps.
        age = max(steady - self._renewed[0], wall - self._renewed[1])
        if age < _RENEWAL or (age < LIFE / 2 and steady - self._tried < _RENEWAL):
            return
        try:
            yield from self._renew()
        except StoreUnavailableError:
            self._tried = context.monotonic()
            if age >= LIFE / 2:
                raise

    def _renew(self) -> Flow[None]:
        context, first = self._context, _first(self._context)
        began = context.monotonic(), context.wall()
        times = yield from ask(
            context, tuple(command for each in first for command in time_commands(context, each))
        )
        clocks = times[len(times) // len(first) - 1 :: len(times) // len(first)]
        until = [micros_of(time) + int(LIFE * 1e6) for time in clocks]
        commands = [
            command
            for partition, end in zip(first, until, strict=True)
            for command in (
                ("HSET", partition.schema, self._field, f"{end} {self._what}"),
                ("HGET", partition.schema, DOUBLING),
            )
        ]
        replies = yield from ask(context, tuple(commands), tolerated=_FULL)
        for partition, doubling in zip(first, replies[1::2], strict=True):
            if doubling is not None:
                raise _moving(self._what, partition.group, int(doubling))
        self._renewed = began


def read_holds(context: Context, first: Partition) -> Flow[list[Held]]:
    """Return the holds on a group that have not ended, and remove those that have.

    Args:
        first: the first partition of the group.
    """
    (flat,) = yield from ask(context, (("HGETALL", first.schema),))
    prefix = HELD.encode()
    fields = {
        name: value for name, value in zip(flat[0::2], flat[1::2], strict=True) if name.startswith(prefix)
    }
    if not fields:
        return []
    now = yield from server_time(context, first)
    found: list[Held] = []
    ended: list[bytes] = []
    for name, value in fields.items():
        until, _, what = value.decode(errors="replace").partition(" ")
        left = int(until) - now if until.isdigit() else 0
        if left > 0:
            found.append(Held(what, -(-left // 1_000_000)))
        else:
            ended.append(name)
    if ended:
        yield from ask(context, (("HDEL", first.schema, *ended),))
    return found


def refuse_while_held(context: Context, first: Partition) -> Flow[None]:
    """Refuse to begin a repartition while a command holds the group.

    Raises:
        ConfigurationError: one does; the message names it.
    """
    for held in (yield from read_holds(context, first)):
        raise ConfigurationError(
            f"the repartition of the group {first.group} has to wait: keyweave {held.what} works on this namespace. If that "
            f"process was killed, this ends in {held.seconds} s"
        )


def _first(context: Context) -> list[Partition]:
    return [context.keyspace.at(group, 0) for group in context.keyspace.numbers]


def _moving(what: str, group: str, target: int) -> ConfigurationError:
    return ConfigurationError(
        f"{what} has to wait: the repartition of the group {group} from {target // 2} to {target} is unfinished; "
        f"run: keyweave repartition --group {group} --to {target}"
    )
