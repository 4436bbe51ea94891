"""The models of the hub that a scale may name, and their shapes: `pipelines/config/models.yaml`."""

import json
import math
import os
import struct
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from reference_impl.config import CONFIG_DIR
from reference_impl.config.fields import Count
from reference_impl.config.model import Declared, parse, read_yaml

COMMIT_HASH = "^[0-9a-f]{40}$"
ModelName = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Model(Declared):
    """A model on the hub, with the shape of its `config.json`."""

    name: SkipJsonSchema[ModelName] = Field(exclude=True)
    """The entry's key, by which the `policies` of a scale name it."""
    repository: str | None = Field(default=None, pattern="^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")
    """On the hub. Only safetensors, configuration and tokenizer are downloaded, never code."""
    random: str | None = None
    """Instead of a repository: a sandbox policy, whose tokenizer a Qwen2 with random weights is made for here."""
    revision: str | None = Field(default=None, pattern=COMMIT_HASH)
    """Full commit hash; left out where none could be established: `--config policies='{name: HASH or FOLDER}'`."""
    parameters: Count
    """All of them, biases and norms included; tied embeddings count once. They follow from the shape."""
    active: Count | None = None
    """Parameters that a token passes through, in a mixture of experts; left out: all."""
    hidden_size: Count
    """Units of a layer."""
    intermediate_size: Count
    """Units of the gated MLP, or of one expert."""
    layers: Count
    """Transformer blocks."""
    heads: Count
    """Attention heads."""
    kv_heads: Count
    """Heads of keys and values (grouped-query attention)."""
    head_dim: Count
    """Units of one attention head."""
    experts: Count = 1
    """Experts of a layer."""
    vocabulary: Count
    """Rows of the embedding."""
    context: Count
    """Tokens of prompt and response together (`max_position_embeddings`)."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.repository is None) == (self.random is None):
            raise ValueError("give repository (a model of the hub) or random (weights that are made here), one of them")
        return self

    @property
    def active_parameters(self) -> int:
        """Parameters that a token passes through."""
        return self.active or self.parameters


@cache
def load_models(path: Path = CONFIG_DIR / "models.yaml") -> dict[str, Model]:
    """The models on the hub, by name. Raises ValueError with everything that is wrong in the file."""
    return parse(dict[ModelName, Model], _named(read_yaml(path)), os.path.relpath(path))


def read_model(name: str, folder: Path) -> Model:
    """The shape of a user's own model, from its `config.json` and the headers of its safetensors.

    Of a mixture of experts all parameters count as active: no configuration says in the same words which are. Raises
    ValueError for a configuration that does not say the shape of a decoder in the usual words.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    try:
        heads = config["num_attention_heads"]
        return Model.model_construct(
            name=name,
            parameters=sum(map(_elements, folder.glob("*.safetensors"))),
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            experts=config.get("num_local_experts") or config.get("num_experts") or 1,
            vocabulary=config["vocab_size"],
            context=config["max_position_embeddings"],
        )
    except KeyError as error:
        raise ValueError(f"{folder}/config.json: no {error}: its size cannot be estimated") from None


def _elements(file: Path) -> int:
    """Numbers in a safetensors file: its header is JSON behind its length, eight bytes."""
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        header = json.loads(content.read(length))
    return sum(math.prod(entry["shape"]) for key, entry in header.items() if key != "__metadata__")


def _named(entries: Any) -> Any:
    """The document with each entry's key as its `name`."""
    if not isinstance(entries, dict):
        return entries
    return {name: {**entry, "name": name} if isinstance(entry, dict) else entry for name, entry in entries.items()}
