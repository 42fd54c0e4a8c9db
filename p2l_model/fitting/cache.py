"""Keeps finished and unfinished fits on disk, so that a killed run can continue."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from p2l_model.checkpoint.heads import Heads
from p2l_model.data.files import VoteTable
from p2l_model.fitting.linear import FitOptions, FitState, HeadFit
from p2l_model.types import FloatArray


def cached_fit(
    features: FloatArray,
    votes: VoteTable,
    options: FitOptions,
    folder: Path,
    on_step: Callable[[FitState], None],
) -> Heads:
    """`fit_heads` with its state saved after every chunk of steps. Raises TrainingError."""
    fit = HeadFit(features, votes, options)
    path = folder / f"{digest(features, votes, options)}.npz"
    state = _stored_state(path) or fit.start()

    def keep(now: FitState) -> None:
        _store_state(path, now)
        on_step(now)

    fit.run(state, options.max_steps - state.step, keep)
    return fit.heads(state)


def cached_heads(path: Path, make: Callable[[], Heads]) -> Heads:
    """Makes heads once and stores them; always returns the stored ones (float32)."""
    if not path.exists():
        heads = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".partial")
        save_file(heads.tensors(), fresh)
        fresh.rename(path)
    return Heads.from_tensors(load_file(path), str(path))


def digest(features: FloatArray, votes: VoteTable, options: object) -> str:
    """A digest of everything that a fit depends on."""
    total = hashlib.sha256(repr((options, votes.models)).encode())
    arrays = (features, votes.prompt, votes.model_a, votes.model_b, votes.outcome)
    for array in (*arrays, votes.p_model_a, votes.weight):
        total.update(np.ascontiguousarray(array).tobytes())
    for array in (votes.output_tokens_a, votes.output_tokens_b, votes.score_a, votes.score_b):
        total.update(array.tobytes())
    return total.hexdigest()[:32]


def _stored_state(path: Path) -> FitState | None:
    if not path.exists():
        return None
    with np.load(path, allow_pickle=False) as stored:
        parameters = torch.from_numpy(stored["parameters"])
        step, loss = int(stored["step"]), float(stored["loss"])
        return FitState(parameters, step, loss, bool(stored["converged"]))


def _store_state(path: Path, state: FitState) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".partial")
    with fresh.open("wb") as file:
        np.savez(
            file,
            parameters=state.parameters.numpy(),
            step=state.step,
            loss=state.loss,
            converged=state.converged,
        )
    fresh.rename(path)
