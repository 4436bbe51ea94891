"""The shipped sandbox policy in a shape that vLLM's CPU kernels know.

Its attention heads have 24 dimensions; the kernels know 32, 64 and more. A wider copy, whose added dimensions are zero,
is the same function of its tokens, and stays so under training: the gradients of the added weights are zero.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

HEAD = 32


def widen_policy(policy: Path, folder: Path) -> Path:
    """Write a float32 copy of a Qwen2 ``policy`` with heads of 32 dimensions to ``folder``, and return that.

    The wider model has hidden size 32 H where the policy has d H (H heads of d dimensions):

    - RMSNorm divides by sqrt(mean + eps), and the mean over 32 H of which 32 H - d H are zero is d/32 of the old: the
      norm's weights are multiplied by sqrt(d/32) and eps by d/32;
    - attention divides q k by sqrt(32) in the place of sqrt(d): q is multiplied by sqrt(32/d);
    - rotation turns pair i of a head (dimensions i and i + d/2) by theta^(-2i/d): the pair moves to dimensions i and
      i + 16, and theta becomes theta^(32/d), so that its angle stays.
    """
    config = json.loads((policy / "config.json").read_text(encoding="utf-8"))
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head, wide = hidden // heads, HEAD * heads
    pairs = torch.arange(head // 2)
    inside = torch.cat([pairs, pairs + HEAD // 2])
    rows = torch.cat([number * HEAD + inside for number in range(heads)])
    state = {}
    for name, narrow in load_file(policy / "model.safetensors").items():
        tensor = narrow.float()
        if "q_proj" in name:
            tensor = tensor * (HEAD / head) ** 0.5
        if "norm" in name:
            tensor = tensor * (head / HEAD) ** 0.5
        if any(part in name for part in ("q_proj", "k_proj", "v_proj")):
            tensor = _scatter(tensor, 0, rows, wide)
        elif "norm" in name or "o_proj" in name or "down_proj" in name:
            tensor = _scatter(tensor, 0, torch.arange(hidden), wide)
        if "o_proj" in name:
            tensor = _scatter(tensor, 1, rows, wide)
        elif tensor.ndim == 2 and tensor.shape[1] == hidden:
            tensor = _scatter(tensor, 1, torch.arange(hidden), wide)
        state[name] = tensor.contiguous()
    shutil.copytree(policy, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config |= {"hidden_size": wide, "rms_norm_eps": config["rms_norm_eps"] * head / HEAD, "dtype": "float32"}
    rope = config["rope_parameters"]
    config["rope_parameters"] = rope | {"rope_theta": rope["rope_theta"] ** (HEAD / head)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _scatter(tensor: Tensor, dim: int, places: Tensor, size: int) -> Tensor:
    """``tensor`` with its entries along ``dim`` at ``places`` of ``size``, and zeros elsewhere."""
    shape = [*tensor.shape]
    shape[dim] = size
    return torch.zeros(shape).index_copy(dim, places, tensor)
