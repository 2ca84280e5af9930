"""What a worker runs: it measures what it is sent, one work at a time, and ends with its sender.

The main thread reads, a second one measures. When the sender is gone, however that came, the
connection ends; then everything that was started is killed. Should this process be killed itself,
its fork servers see their connections end, and do the same.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from agent.executors import messages
from agent.executors.local import Local
from trainer.data.prepare import hold
from trainer.measure import MACHINE
from trainer.sandbox.wire import Channel, WireError
from trainer.training.machine import Share


class _Server:
    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._cancel = threading.Event()
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def serve(self) -> None:
        """Read until the sender hangs up."""
        try:
            while True:
                message = self._channel.receive()
                if "work" in message:
                    self._cancel = threading.Event()
                    arguments = (message, self._cancel)
                    threading.Thread(target=self._work, args=arguments, daemon=True).start()
                elif "answer" in message:
                    self._answers.put(message["answer"])
                else:
                    self._cancel.set()
        except WireError:
            return

    def _work(self, message: Mapping[str, Any], cancel: threading.Event) -> None:
        send = self._channel.send
        try:
            work = messages.to_work(message["work"])
            for text in message["held"]:
                hold(text)
            found = Local().run(
                work,
                on_event=lambda event: send({"event": event}),
                cancel=cancel,
                watch=self._ask if message["watched"] else None,
            )
            for one in messages.of_result(work.call, found):
                send({"one": one})
            send({"done": True})
        except WireError:
            return  # nobody is there any more
        except Exception as error:  # noqa: BLE001  the sender raises it
            send({"error": messages.of_error(error)})

    def _ask(
        self, number: int, own: Sequence[float | None], champion: Sequence[float | None]
    ) -> str | None:
        """A watch that asks the sender's."""
        self._channel.send({"ask": [number, own, champion]})
        return self._answers.get()


def main() -> None:
    """Serve over the inherited socket that the argument names, within the share that it states."""
    told = json.loads(sys.argv[1])
    if told["processors"]:
        os.sched_setaffinity(0, told["processors"])
    MACHINE.share = Share(told["threads"], told["memory_mb"])
    _Server(Channel.from_fd(told["fd"])).serve()
    MACHINE.close()
    os._exit(0)  # whatever the measuring thread does


if __name__ == "__main__":
    main()
