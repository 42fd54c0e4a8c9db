"""A tiny random checkpoint in the reference's layout, and its forward pass once more.

transformers is imported where it is used: it takes seconds, and every process of the tests imports
this module.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

MODELS = ["alpha", "beta", "gamma", "delta"]
WIDTH, MAX_LENGTH = 32, 64
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|cls|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] | trim) + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def write_reference(
    path: Path,
    backbone: str,
    loss_type: str,
    *,
    dtype: torch.dtype = torch.float32,
    width: int = WIDTH,
) -> Path:
    """backbone: qwen2 or llama; four heads. Weights are random, under a fixed seed."""
    from transformers import AutoModel, LlamaConfig, Qwen2Config

    path.mkdir(parents=True)
    write_tokenizer(path)
    vocabulary = 256 + len(SPECIAL)
    made = {"qwen2": Qwen2Config, "llama": LlamaConfig}[backbone](
        vocab_size=vocabulary, **(SIZES | {"hidden_size": width})
    )
    torch.manual_seed(3)
    model = AutoModel.from_config(made)
    tensors = {f"model.{name}": w.to(dtype).contiguous() for name, w in model.state_dict().items()}
    tensors["head.head.weight"] = torch.randn(len(MODELS), width).to(dtype)
    tensors["head.head.bias"] = torch.randn(len(MODELS)).to(dtype)
    if loss_type not in ("bt", "bt_tie"):
        tensors["head.eta_head.weight"] = torch.randn(1, width).to(dtype)
        tensors["head.eta_head.bias"] = torch.randn(1).to(dtype)
    if loss_type == "ba":
        tensors["head.gamma_head.weight"] = torch.randn(1, width).to(dtype)
        tensors["head.gamma_head.bias"] = torch.randn(1).to(dtype)
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    config = made.to_dict() | {"architectures": ["P2LModel"]}
    (path / "config.json").write_text(json.dumps(config, default=str))
    (path / "model_list.json").write_text(json.dumps(MODELS))
    training = {"loss_type": loss_type, "head_type": "rk", "max_length": MAX_LENGTH, "seed": 1}
    (path / "training_config.json").write_text(json.dumps(training))
    return path


@torch.no_grad()
def reference_forward(path: Path, turns: list[str]) -> tuple[list[float], float | None]:
    """What the reference computes, from its own files: tokenised as one string, the hidden state
    at the CLS id."""
    from transformers import AutoModel, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

    tokenizer = PreTrainedTokenizerFast.from_pretrained(path)
    messages = [{"role": "user", "content": turn} for turn in turns]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    ids = tokenizer(text + tokenizer.cls_token, add_special_tokens=False)["input_ids"]
    ids = ids[-MAX_LENGTH:]
    config = json.loads((path / "config.json").read_text())
    kind = {"qwen2": Qwen2Config, "llama": LlamaConfig}[config.pop("model_type")]
    model = AutoModel.from_config(kind(**config)).float().eval()
    tensors = {name: w.float() for name, w in load_file(path / "model.safetensors").items()}
    model.load_state_dict({n[6:]: w for n, w in tensors.items() if n.startswith("model.")})
    states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
    hidden = states[ids.index(tokenizer.cls_token_id)]
    coefficients = tensors["head.head.weight"] @ hidden + tensors["head.head.bias"]
    if "head.eta_head.weight" not in tensors:
        return coefficients.tolist(), None
    eta = tensors["head.eta_head.weight"] @ hidden + tensors["head.eta_head.bias"]
    return coefficients.tolist(), float(eta[0])


def write_tokenizer(path: Path) -> None:
    """Bytes as tokens, with a chat template."""
    from transformers import PreTrainedTokenizerFast

    letters = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({c: i for i, c in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        cls_token="<|cls|>",
        additional_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(path)
