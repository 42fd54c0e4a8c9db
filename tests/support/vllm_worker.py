"""Runs in vLLM's own environment: scores the batches of a job with our vLLM engine.

python vllm_worker.py JOB.json OUT.npz
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from p2l_model.checkpoint.folder import load_checkpoint
from p2l_model.engine.load import load_engine
from p2l_model.engine.options import EngineOptions


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    checkpoint = load_checkpoint(Path(job["checkpoint"]))
    engine = load_engine(checkpoint, "vllm", EngineOptions(vllm_args=job["vllm_args"]))
    engine.warm_up()
    results = {str(k): engine.features(batch) for k, batch in enumerate(job["batches"])}
    np.savez(sys.argv[2], **results)
    engine.close()


if __name__ == "__main__":
    main()
