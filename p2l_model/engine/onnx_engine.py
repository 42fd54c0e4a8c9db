"""The default engine: onnxruntime on a CPU, one prompt per run, without torch.

Each prompt is computed by one thread, and several prompts run at a time. Threads that share a
prompt spin while they wait for each other, which doubles the CPU time and is no faster for short
prompts.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from p2l_model.checkpoint.folder import GRAPH, Checkpoint
from p2l_model.checkpoint.int8 import dequantize_rows
from p2l_model.engine.base import EngineLimits
from p2l_model.engine.cores import usable_cores
from p2l_model.engine.graph import initializers, layers_used, word_table
from p2l_model.engine.graph_writer import AS_STORED, INPUT
from p2l_model.errors import CheckpointError, ScoringError


class OnnxEngine:
    """Runs the checkpoint's graph with the checkpoint's own weights."""

    def __init__(self, checkpoint: Checkpoint, *, n_threads: int = 0) -> None:
        """n_threads: the threads per prompt, with one prompt at a time; 0: one thread per prompt,
        and one concurrent call per core, less one core for the event loop.

        Raises CheckpointError.
        """
        graph = checkpoint.path / GRAPH
        if not graph.exists():
            raise CheckpointError(
                f"{graph} is missing: this checkpoint has no CPU graph; use --engine torch"
            )
        manifest = checkpoint.manifest
        n_layers = layers_used(manifest.feature_layers, checkpoint.config["num_hidden_layers"])
        precision = manifest.engine_precision
        weights = initializers(
            checkpoint.tensors,
            precision,
            n_layers,
            checkpoint.config,
            manifest.max_tokens,
            turned=AS_STORED.encode() not in graph.read_bytes(),
        )
        table = word_table(checkpoint.config)
        self._words: NDArray[np.int8] = checkpoint.tensors[table]
        self._scales: NDArray[np.float32] = checkpoint.tensors[f"{table}_scale"]
        # onnxruntime reads these buffers as long as the session lives.
        self._weights = [onnxruntime.OrtValue.ortvalue_from_numpy(w) for w in weights.values()]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = max(1, n_threads)
        options.log_severity_level = 3
        # A memory plan for the last prompt's shape would keep the memory of the longest one.
        options.enable_mem_pattern = False
        options.add_external_initializers(list(weights), self._weights)
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's errors have no common base
            raise CheckpointError(f"{graph}: does not fit the weights: {error}") from error
        self._n_cores = usable_cores() if n_threads == 0 else 1
        self._side_by_side = ThreadPoolExecutor(self._n_cores, thread_name_prefix="p2l-onnx")
        checkpoint.forget_pages()
        _return_memory()

    @property
    def limits(self) -> EngineLimits:
        """One prompt per call: on a CPU a batch of two takes twice as long as one."""
        parallel = max(1, self._n_cores - 1)
        return EngineLimits(1, 1, parallel=parallel, side_by_side=self._n_cores > 1)

    def features(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Features (B, F) of B prompts, one run each, side by side: padding would only cost
        time."""
        if len(batch) == 1 or self._n_cores == 1:
            return np.stack([self._one(ids) for ids in batch])
        return np.stack(list(self._side_by_side.map(self._one, batch)))

    def _one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        rows = np.asarray(ids, dtype=np.int64)
        try:
            words = dequantize_rows(self._words[rows], self._scales[rows])  # (S, H)
            features: NDArray[np.float32] = self._session.run(None, {INPUT: words})[0]
        except Exception as error:  # onnxruntime's errors have no common base
            raise ScoringError("onnxruntime failed on a prompt") from error
        return features

    def warm_up(self) -> None:
        """Runs once, since the first run of a length allocates memory."""
        self.features([[0] * 8])

    def close(self) -> None:
        """Ends the threads that compute the prompts of a batch."""
        self._side_by_side.shutdown()


def _return_memory() -> None:
    """Returns the tens of megabytes that loading used temporarily to the system (glibc only)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
