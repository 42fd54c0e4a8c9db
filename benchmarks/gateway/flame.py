"""A flame graph of the gateway under load, as SVG, by py-spy (pip install py-spy).

python benchmarks/gateway/flame.py OUT.svg [--which budgets] [--clients 16] [--chunks 0]

Samples are of the thread that holds the interpreter's lock: the event loop's or the one that writes
to the database, whose waiting for the disk is left out. Requests are not streamed where --chunks is
0. `--format raw` is for parts.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from servers import HERE, LOAD_CORE, SERVER_CORE, free_ports, ours, provider, running


def main() -> None:
    """Starts the gateway, records it while the load runs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("out")
    parser.add_argument("--which", default="budgets", help="fixed, budgets or bundled")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--chunks", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--format", default="flamegraph", help="of py-spy: raw, speedscope ...")
    args = parser.parse_args()
    plan: dict[str, Any] = {"clients": args.clients, "chunks": args.chunks}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        upstream, port = free_ports(2)
        subject = ours(args.which, port, upstream, folder)
        plan = subject.asked(plan)
        with (
            running(provider(upstream), LOAD_CORE, folder),
            running(subject, SERVER_CORE, folder),
        ):
            plan["seconds"] = args.seconds + 1
            load = subprocess.Popen(
                [sys.executable, str(HERE / "load.py"), subject.url, json.dumps(plan)],
                stdout=subprocess.PIPE,
                preexec_fn=lambda: os.sched_setaffinity(0, {LOAD_CORE}),
            )
            command = ["py-spy", "record", "--pid", str(subject.pid), "--output", args.out]
            command += ["--duration", str(args.seconds), "--rate", "400", "--format", args.format]
            subprocess.run([*command, "--gil"], check=True, stdout=sys.stderr)
            print(load.communicate()[0].decode())


if __name__ == "__main__":
    main()
