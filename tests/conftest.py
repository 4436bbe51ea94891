"""Fixtures shared by the whole suite."""

import os
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
os.environ["CHORD_MINE"] = ""
"""No methods of a user's, whatever lies in the folder; a test that is about them says so."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, in their order: they are what workers would wait for at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """A folder of public sample files that are not shipped with the project.

    Set CHORD_REFERENCE_DATA to point at it. Tests that check loaders and graders on real files use it and are
    skipped, with the reason, where it is absent.
    """
    folder = Path(os.environ.get("CHORD_REFERENCE_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder} (set CHORD_REFERENCE_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised two-layer Qwen2 of the math world, as a checkpoint folder."""
    import torch

    from pipelines.sandbox import math_world
    from pipelines.sandbox.policies import Shape
    from pipelines.sandbox.pretrain import build_model, save, train_tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = train_tokenizer(math_world, 400)
    shape = Shape(hidden_size=32, layers=2, heads=2, intermediate_size=64)
    folder = tmp_path_factory.mktemp("policy")
    save(build_model("qwen2", shape, tokenizer), tokenizer, folder)
    return folder


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The math world's data folder at the scale `smoke`; not to be written to."""
    from pipelines.sandbox import math_world
    from reference_impl.config import load_scale
    from reference_impl.files import write_jsonl

    sizes = load_scale("smoke").domains["math"]
    assert sizes.prompt_rows and sizes.expert_rows
    folder = tmp_path_factory.mktemp("data")
    write_jsonl(folder / "prompts.jsonl", math_world.rl_rows(sizes.prompt_rows, 0))
    write_jsonl(folder / "expert.jsonl", math_world.expert_rows(sizes.expert_rows, 0))
    write_jsonl(folder / "expert-aligned.jsonl", math_world.aligned_rows(sizes.prompt_rows, 0))
    write_jsonl(folder / "validation.jsonl", math_world.validation_rows(sizes.validation_rows, 0))
    return folder
