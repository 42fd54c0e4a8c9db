"""Imports checkpoints of the paper's reference code (lmarena/p2l).

In its checkpoints `model.*` is the backbone, `head.*` are the heads, and `model_list.json` gives
the models' order. The heads read the hidden state of the CLS token that ends the prompt, taken by
position.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from p2l_model.checkpoint.folder import load_checkpoint, write_checkpoint
from p2l_model.checkpoint.heads import ETA_FAMILIES
from p2l_model.checkpoint.manifest import Manifest, Marginal
from p2l_model.checkpoint.tokens import CHAT_CLS, PromptEncoder, PromptFormat
from p2l_model.engine.torch_engine import TorchEngine
from p2l_model.errors import CheckpointError
from p2l_model.types import Conversation, PreferenceFamily

_TRAINING: Final = "training_config.json"
_INDEX: Final = "model.safetensors.index.json"
# The reference's names for families that have another name here.
_ALIASES: Final = {"bag": PreferenceFamily.GRK}
# The fallback when scoring fails is the mean leaderboard of these prompts, as the reference stores
# none.
_PLAIN_PROMPTS: Final = (
    "Hello! What can you help me with?",
    "Write a Python function that reverses a linked list.",
    "Explain why the sky is blue.",
    "Prove that the square root of 2 is irrational.",
    "Write a short poem about the sea.",
    "Translate 'good morning' into French, German and Japanese.",
    "What are the pros and cons of remote work?",
    "Summarise the causes of the First World War.",
)


class Reporter(Protocol):
    """Receives the progress."""

    def __call__(self, stage: str, done: float, total: float, note: str = "") -> None:
        """Reports done of total of a stage, and a note."""


class _Training(BaseModel):
    """The fields of the reference's training_config.json that are used."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    loss_type: str | None = None
    head_type: str | None = None
    max_length: int | None = Field(default=None, ge=8)


def import_reference(
    source: Path,
    out: Path,
    report: Reporter,
    *,
    family: str | None = None,
    max_tokens: int | None = None,
) -> Manifest:
    """Writes the converted checkpoint to out and returns its manifest. Never reads a pickle.

    family, max_tokens: override training_config.json, and are required where it lacks them, since
    the weights of rk and grk look alike. Raises CheckpointError that names the file and what is
    missing.
    """
    training = _training(source / _TRAINING)
    chosen = _family(family, training, source)
    limit = max_tokens or training.max_length
    if limit is None:
        raise CheckpointError(f"{source / _TRAINING}: no max_length: give --max-tokens")
    tensors = _without_unused(_tensors(source, report), chosen)
    prompt = PromptEncoder(source / "tokenizer.json", PromptFormat(CHAT_CLS, limit))
    models = _models(source / "model_list.json")
    grounded, with_gamma = chosen in ETA_FAMILIES, chosen is PreferenceFamily.BA
    draft = Manifest(
        family=chosen,
        backbone=source.resolve().name,
        pooling="last",
        max_tokens=limit,
        prompt_format=CHAT_CLS,
        prompt_format_hash=prompt.hash,
        models=models,
        quantization="none",
        marginal=Marginal(
            coefficients=[0.0] * len(models),
            eta=0.0 if grounded else None,
            gamma=0.0 if with_gamma else None,
        ),
        training_data={"imported_from": "a reference checkpoint (lmarena/p2l)"},
    )
    draft_path = out.with_name(f".{out.name}.draft")
    _write(draft_path, source, draft, tensors)
    manifest = draft.model_copy(update={"marginal": _mean_leaderboard(draft_path, report)})
    _write(out, source, manifest, tensors)
    _remove(draft_path)
    return manifest


def _training(path: Path) -> _Training:
    if not path.exists():
        return _Training()
    try:
        return _Training.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{path}: {field}: {first['msg']}") from error


def _family(given: str | None, training: _Training, source: Path) -> PreferenceFamily:
    """The loss identifies the family better than the head: rk's head also serves other families."""
    name = given or training.loss_type or training.head_type
    if name is None:
        raise CheckpointError(
            f"{source / _TRAINING}: no loss_type: give --family (rk and grk weights look alike)"
        )
    spelt = name.lower().replace("_", "-")
    try:
        return _ALIASES.get(spelt) or PreferenceFamily(spelt)
    except ValueError as error:
        known = ", ".join([*PreferenceFamily, *_ALIASES])
        raise CheckpointError(f"{source}: family {name!r} is not one of {known}") from error


def _models(path: Path) -> list[str]:
    try:
        models = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a list of model names") from error
    if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
        raise CheckpointError(f"{path} must be a list of model names")
    return models


def _tensors(source: Path, report: Reporter) -> dict[str, Tensor]:
    """The tensors of one file or of all shards, in their own types."""
    tensors: dict[str, Tensor] = {}
    shards = _shards(source)
    for done, name in enumerate(shards, 1):
        try:
            tensors |= load_file(source / name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{source / name} cannot be read: {error}") from error
        report("reading weights", done, len(shards))
    return tensors


def _shards(source: Path) -> list[str]:
    index = source / _INDEX
    if not index.exists():
        if any(source.glob("pytorch_model*.bin")) and not any(source.glob("*.safetensors")):
            raise CheckpointError(f"{source} has pickled weights only, which are never read: "
                                  "convert them to safetensors")  # fmt: skip
        return ["model.safetensors"]
    try:
        names: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted({Path(str(name)).name for name in names.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read as an index of shards") from error


def _without_unused(tensors: dict[str, Tensor], family: PreferenceFamily) -> dict[str, Tensor]:
    """The backbone unchanged and the heads in float32. The heads of eta and gamma are kept only
    where the family uses them; a language model head is dropped."""
    unused = set() if family in ETA_FAMILIES else {"head.eta_head"}
    unused |= set() if family is PreferenceFamily.BA else {"head.gamma_head"}
    kept = {}
    for name, tensor in tensors.items():
        if name.startswith("head.") and name.rsplit(".", 1)[0] not in unused:
            kept[name] = tensor.float().contiguous()
        elif name.startswith("model."):
            kept[name] = tensor.contiguous()
    if not any(name.startswith("model.") for name in kept):
        raise CheckpointError("the weights hold no backbone (model.*)")
    return kept


def _write(out: Path, source: Path, manifest: Manifest, tensors: dict[str, Tensor]) -> None:
    write_checkpoint(out, source, manifest, lambda path: save_file(tensors, path), None)


def _mean_leaderboard(path: Path, report: Reporter) -> Marginal:
    """The mean leaderboard of the plain prompts; computing it also checks that the weights fit the
    backbone."""
    checkpoint = load_checkpoint(path)
    engine = TorchEngine(checkpoint)
    features = []
    for done, prompt in enumerate(_PLAIN_PROMPTS, 1):
        features.append(engine.features([checkpoint.prompt.encode(Conversation((prompt,)))])[0])
        report("a leaderboard for all prompts", done, len(_PLAIN_PROMPTS))
    outputs = checkpoint.heads.outputs(np.stack(features).astype(np.float64), 1.0)
    heads = checkpoint.heads
    return Marginal(
        coefficients=_finite(outputs.coefficients.mean(axis=0).tolist(), path),
        eta=None if heads.eta_weight is None else float(outputs.eta.mean()),
        gamma=None if heads.gamma_weight is None else float(outputs.gamma.mean()),
    )


def _finite(values: Sequence[float], path: Path) -> list[float]:
    if not np.all(np.isfinite(values)):
        raise CheckpointError(f"{path}: the model gives coefficients that are not finite")
    return list(values)


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
