"""Every part of the benchmarks runs, each way of it does the work, and the page has its lines."""

import shutil

import pytest
import torch

from evaluation import benchmark
from pipelines.ops.bench import page, prepare, versions
from pipelines.policy.shipped import install
from pipelines.sandbox.policies import SHIPPED
from reference_impl.benchmarks import rollouts, updates
from reference_impl.benchmarks.pairs import keep
from reference_impl.benchmarks.setting import Setting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """The shipped policy in the place of the trained one, which would take a minute."""
    torch.set_num_threads(1)
    found = Setting(tmp_path_factory.mktemp("benchmarks"))
    install(SHIPPED / "sandbox-math", found.start)
    shutil.copytree(found.start, found.trained)
    return prepare(found.folder)


def test_rollouts_updates_and_evaluations(setting: Setting) -> None:
    lines = [*rollouts.lines(setting, 1), *updates.lines(setting, 1), *benchmark.lines(setting, 1)]
    assert all(value > 0 for line in lines for value in line.values)
    keep(setting.folder, "rollouts", lines, versions())
    text = page(setting.folder)
    assert all(line.name in text for line in lines) and f"torch {torch.__version__}" in text


def test_generate_continues_the_prompts(setting: Setting) -> None:
    """The way that ours is held against samples what ours samples: responses of about the same length."""
    from reference_impl.rollout import load_engine
    from reference_impl.strategy.models import load_model

    engine, tokenizer = load_engine("transformers", setting.start, 64, torch.float32)
    requests = rollouts.requests_of(setting)
    found = rollouts.generate(load_model(setting.start, "float32"), tokenizer, [r.prompt_ids for r in requests])
    width = max(len(request.prompt_ids) for request in requests)
    theirs = float((found[:, width:] != tokenizer.pad_token_id).float().sum(1).mean())
    ours = sum(len(c.token_ids) for c in engine.generate(requests, max_tokens=192)) / len(requests)
    assert found[0, :width].tolist()[-len(requests[0].prompt_ids) :] == list(requests[0].prompt_ids)
    assert 0.7 < theirs / ours < 1.4
