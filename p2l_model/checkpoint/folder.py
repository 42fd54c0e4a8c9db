"""A checkpoint's folder: Hugging Face layout plus a manifest, and a check that both agree."""

from __future__ import annotations

import json
import mmap
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from p2l_model.checkpoint.bundled_names import BUNDLED, BUNDLED_HIGH
from p2l_model.checkpoint.heads import ETA_FAMILIES, Heads
from p2l_model.checkpoint.manifest import STATIC, Manifest, feature_width, parse_manifest
from p2l_model.checkpoint.served import ServedHeads
from p2l_model.checkpoint.static_table import static_complaints
from p2l_model.checkpoint.tokens import PromptEncoder, PromptFormat
from p2l_model.errors import CheckpointError
from p2l_model.types import FloatArray, PreferenceFamily, PromptLeaderboard

MANIFEST: Final = "p2l.json"
WEIGHTS: Final = "model.safetensors"
GRAPH: Final = "onnx/model.onnx"
_TOKENIZER: Final = "tokenizer.json"
_TOKENIZER_FILES: Final = (
    _TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)

# A lower limit would leave no room for text beside the special tokens.
_MIN_TOKENS: Final = 8

# The types of a checkpoint's tensors, by safetensors' names, in numpy's little-endian form.
_TYPES: Final = {"F32": "<f4", "F16": "<f2", "I8": "|i1"}

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that is ready to serve.

    tensors: all weights by name, int8 ones with their `_scale`; only the heads where the backbone
    is not quantised, because its engine then reads the file itself. file: the memory map that the
    tensors are views of. served: the heads in the form that the request path computes with.
    """

    path: Path
    manifest: Manifest
    config: Mapping[str, Any]
    heads: Heads
    prompt: PromptEncoder
    tensors: Tensors
    file: mmap.mmap | None = None
    served: ServedHeads = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "served", ServedHeads.of(self.heads, self.manifest))

    def forget_pages(self) -> None:
        """Lets the operating system drop the cached pages of the weights; they are read again on
        demand."""
        if self.file is not None and hasattr(mmap, "MADV_DONTNEED"):
            self.file.madvise(mmap.MADV_DONTNEED)

    def leaderboard(self, features: NDArray[np.float32]) -> PromptLeaderboard:
        """The leaderboard of a prompt from its pooled features (F,). Raises ScoringError."""
        return self.served.leaderboard(features)

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt are read: the manifest's limit, or a lower one that was
        set."""
        return self.prompt.format.max_tokens

    def limited(self, max_tokens: int | None) -> Checkpoint:
        """The same checkpoint, reading at most the last max_tokens tokens of a prompt. Raises
        CheckpointError."""
        if max_tokens is None:
            return self
        if max_tokens < _MIN_TOKENS:
            raise CheckpointError(f"max_tokens must be at least {_MIN_TOKENS}, not {max_tokens}")
        return replace(self, prompt=self.prompt.limited(max_tokens))

    @property
    def marginal(self) -> PromptLeaderboard:
        """The marginal leaderboard, which is the fallback when scoring fails. Its expected scores
        are those at a hidden vector of zero."""
        marginal = self.manifest.marginal
        tokens = marginal.mean_output_tokens
        return PromptLeaderboard(
            family=self.manifest.family,
            models=tuple(self.manifest.models),
            coefficients=np.array(marginal.coefficients, dtype=np.float64),
            eta=marginal.eta,
            gamma=marginal.gamma,
            expected_output_tokens=None if tokens is None else np.array(tokens, dtype=np.float64),
            expected_scores=self._usual_scores,
        )

    @property
    def _usual_scores(self) -> FloatArray | None:
        bias, scored = self.heads.score_bias, self.manifest.scored_models
        if bias is None or not scored:
            return None
        known = [name in scored for name in self.manifest.models]
        return np.where(known, 1.0 / (1.0 + np.exp(-bias.astype(np.float64))), np.nan)


def resolve_checkpoint(name: str) -> Path:
    """The folder of a checkpoint by its name. Two ship with the package: `bundled`, of static
    features, and `bundled-high`, whose encoder reads the prompt."""
    if name in (BUNDLED, BUNDLED_HIGH):
        return Path(__file__).parents[1] / name.replace("-", "_")
    return Path(name)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads and checks a folder. Needs no torch and never reads a pickle.

    Raises CheckpointError that names the part that is missing or does not fit.
    """
    manifest = parse_manifest(_read_text(path / MANIFEST), str(path / MANIFEST))
    config = _read_config(path / "config.json")
    tensors, file = _read_tensors(path / WEIGHTS, _prefixes(manifest))
    heads = Heads.from_tensors(tensors, str(path / WEIGHTS))
    prompt = PromptEncoder(
        path / _TOKENIZER, PromptFormat(manifest.prompt_format, manifest.max_tokens)
    )
    _check_fit(path, manifest, config, heads, prompt)
    if manifest.kind == STATIC:
        _refuse(path, static_complaints(manifest, config, tensors))
    return Checkpoint(path, manifest, config, heads, prompt, tensors, file)


def save_checkpoint(
    out: Path, *, base: Path, manifest: Manifest, tensors: Tensors, graph: bytes | None
) -> None:
    """Writes a folder; an existing one is replaced only when all files are written.

    base: the folder from which config.json and the tokenizer's files are copied. graph: None where
    the backbone has no CPU graph. Raises CheckpointError where the result would not load.
    """
    write_checkpoint(out, base, manifest, lambda path: save_file(dict(tensors), path), graph)


def write_checkpoint(
    out: Path,
    base: Path,
    manifest: Manifest,
    write_weights: Callable[[Path], None],
    graph: bytes | None,
) -> None:
    """`save_checkpoint` for weights whose type numpy lacks. Raises CheckpointError."""
    fresh = out.with_name(out.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name in _TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, fresh / name)
    _write_json(fresh / "config.json", _read_json(base / "config.json"))
    _write_json(fresh / "model_list.json", manifest.models)
    _write_json(fresh / MANIFEST, manifest.model_dump(mode="json"))
    write_weights(fresh / WEIGHTS)
    (fresh / WEIGHTS).chmod(0o644)  # another user may serve it
    if graph is not None:
        (fresh / GRAPH).parent.mkdir()
        (fresh / GRAPH).write_bytes(graph)
    load_checkpoint(fresh)
    _replace(out, fresh)


def _replace(out: Path, fresh: Path) -> None:
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    fresh.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _check_fit(
    path: Path, manifest: Manifest, config: Mapping[str, Any], heads: Heads, prompt: PromptEncoder
) -> None:
    listed = _read_json(path / "model_list.json")
    width = feature_width(config["hidden_size"], manifest.feature_layers, manifest.pooling)
    positions = config.get("max_position_embeddings", manifest.max_tokens)
    n_layers = config["num_hidden_layers"]
    n_models = len(manifest.models)
    needs_eta = manifest.family in ETA_FAMILIES
    is_static = config.get("model_type") == STATIC
    complaints = {
        f"kind {manifest.kind} and config.json's model_type do not fit": (
            is_static != (manifest.kind == STATIC)
        ),
        "model_list.json and the manifest name different models": listed != manifest.models,
        f"the head has {heads.n_models} rows for {n_models} models": heads.n_models != n_models,
        f"the heads take {heads.width} features, the backbone gives {width}": (
            heads.widths != {width}
        ),
        f"feature_layers {manifest.feature_layers} are not all among {n_layers} layers": any(
            not -n_layers <= layer + 1 <= n_layers + 1 for layer in manifest.feature_layers
        ),
        f"max_tokens {manifest.max_tokens} is over the backbone's {positions} positions": (
            manifest.max_tokens > positions
        ),
        f"family {manifest.family} and the eta head do not fit": needs_eta != heads.has_eta,
        f"family {manifest.family} and the gamma head do not fit": (
            (manifest.family is PreferenceFamily.BA) != (heads.gamma_weight is not None)
        ),
        "length_sigma and the length head do not fit": (
            (manifest.length_sigma is not None) != (heads.length_weight is not None)
        ),
        "scored and the score head do not fit": (
            (manifest.scored is not None) != (heads.score_weight is not None)
        ),
        "the prompt format or the tokenizer is not the one it was trained with": (
            prompt.hash != manifest.prompt_format_hash
        ),
    }
    _refuse(path, complaints)


def _refuse(path: Path, complaints: Mapping[str, bool]) -> None:
    """Raises CheckpointError with the first complaint that holds."""
    for complaint, holds in complaints.items():
        if holds:
            raise CheckpointError(f"{path}: {complaint}")


def _read_config(path: Path) -> Mapping[str, Any]:
    config = _read_json(path)
    sizes = ("hidden_size", "num_hidden_layers")
    if not isinstance(config, dict) or any(not isinstance(config.get(s), int) for s in sizes):
        raise CheckpointError(f"{path} must be an object with whole numbers for {sizes}")
    return config


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be read; is this a checkpoint folder (see p2l-router train)?"
        ) from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not JSON") from error


def _prefixes(manifest: Manifest) -> tuple[str, ...]:
    return ("head.", "onboarded.") if manifest.quantization == "none" else ("",)


def _read_tensors(
    path: Path, prefixes: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], mmap.mmap]:
    try:
        with safe_open(path, framework="np") as file:
            wanted = [name for name in file.keys() if name.startswith(prefixes)]  # noqa: SIM118
        mapped = _map(path)
        tensors = _views(mapped, wanted)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.all(np.isfinite(tensor)):
            raise CheckpointError(f"{path}: {name} has values that are not finite")
    return tensors, mapped


def _map(path: Path) -> mmap.mmap:
    # Copy on write, since torch only accepts writable arrays.
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _views(whole: mmap.mmap, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """Views of a safetensors file's tensors; the caller has had its header checked.

    A row of the word table is only read when a prompt contains the word. Raises SafetensorError for
    a type that numpy does not have.
    """
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    views = {}
    for name in names:
        stored = header[name]
        if stored["dtype"] not in _TYPES:
            raise SafetensorError(f"{name} has the type {stored['dtype']}")
        kind = np.dtype(_TYPES[stored["dtype"]])
        begin, end = stored["data_offsets"]
        flat = np.frombuffer(whole, kind, (end - begin) // kind.itemsize, start + begin)
        views[name] = flat.reshape(stored["shape"])
    return views


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
