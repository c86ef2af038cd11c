"""One of the processes that train a network together: `python -m edge_kit.pipeline.rank JOB EVENTS`, two files.

`paddle.distributed.launch` starts it; its standard input is that of the stage's process.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
from dataclasses import replace
from pathlib import Path

from edge_kit.core.progress import silent
from edge_kit.pipeline.job import Context, Job
from edge_kit.pipeline.worker import Events, end, exit_with_parent, reported


def _train(context: Context) -> None:
    from edge_kit.pipeline.training import train_on
    from edge_kit.train.peers import Peers

    peers = Peers.join()
    train_on(context if peers.writes else replace(context, progress=silent), peers)
    peers.leave()


def main() -> int:
    """Train; the exit code tells `paddle.distributed.launch` whether the others are to stop."""
    faulthandler.enable()
    threading.Thread(target=exit_with_parent, daemon=True).start()
    job = Job.from_line(Path(sys.argv[1]).read_bytes())
    with Path(sys.argv[2]).open("a", encoding="utf-8") as file:
        return reported(Events(file), job, _train)


if __name__ == "__main__":
    end(main())
