"""The data stage and the shipped policies: what is written, what is checked, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from pipelines.data import sandbox
from pipelines.data.sandbox import (
    check_disjoint,
    check_splits,
    question_key,
    write_benchmarks,
    write_domain,
    write_file,
)
from pipelines.data.splits import split_rows
from pipelines.policy import shipped
from pipelines.sandbox import math_world
from pipelines.sandbox.policies import SHIPPED, WORLDS, config_hash, load_policies, load_policy, load_world
from pipelines.sandbox.pretrain import train_tokenizer
from reference_impl.config import load_declarations, load_scale
from reference_impl.files import read_jsonl, write_jsonl

pytestmark = pytest.mark.slow

Row = dict[str, Any]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of every domain at the default scale, a folder each; not to be changed."""
    folder = tmp_path_factory.mktemp("data")
    for domain in WORLDS:
        write_domain(domain, "mini", folder / domain)
    return folder


@pytest.mark.parametrize("domain", WORLDS)
def test_domain_is_written_with_its_manifest(written: Path, tmp_path: Path, domain: str) -> None:
    manifest = json.loads((written / domain / "manifest.json").read_text())
    sizes = split_rows(load_declarations(), load_scale("mini"), domain)
    assert {path.name for path in (written / domain).iterdir()} == {*sizes, "manifest.json"}
    for name, rows in sizes.items():
        key = name.removesuffix(".jsonl").replace("-", "_")
        assert len(read_jsonl(written / domain / name)) == manifest[f"{key}_rows"] == rows
        assert (f"{key}_length_mean" in manifest) == name.startswith("expert")
    # One file by itself is what it is among the others.
    for name in (*sizes, "manifest.json"):
        write_file(domain, "mini", tmp_path, name)
        assert (tmp_path / name).read_bytes() == (written / domain / name).read_bytes()


def test_sets_of_demonstrations_are_of_the_questions_that_methods_need(written: Path) -> None:
    def rows(domain: str, name: str) -> list[Row]:
        return read_jsonl(written / domain / f"{name}.jsonl")

    main, large = rows("math", "expert"), rows("math", "expert-large")
    assert large[: len(main)] == main and len(large) == 4 * len(main)
    few = rows("math", "expert-few")
    assert main[: len(few)] == few and len(main) == 4 * len(few)

    first, second = rows("tool", "expert"), rows("tool", "expert-second")
    assert list(map(question_key, first)) == list(map(question_key, second))
    assert all(one["response"] != other["response"] for one, other in zip(first, second, strict=True))

    for domain in ("math", "tool"):
        prompts, aligned = rows(domain, "prompts"), rows(domain, "expert-aligned")
        assert [{key: row[key] for key in row if key != "response"} for row in aligned] == prompts
        questions = {*map(question_key, rows(domain, "expert")), *map(question_key, rows(domain, "validation"))}
        assert not questions & set(map(question_key, aligned))


def test_the_second_expert_is_nearer_to_the_policy(written: Path) -> None:
    """Mean tokens on these 40 questions: 45 in the policy's style, 65 the second expert's, 127 the first's."""
    manifest = json.loads((written / "tool" / "manifest.json").read_text())
    assert 45 < manifest["expert_second_length_mean"] < 0.6 * manifest["expert_length_mean"]


def test_a_manifest_refuses_files_that_do_not_fit(written: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(written / "math", tmp_path / "math"))

    def refused(name: str, rows: list[Row], message: str) -> None:
        good = (folder / name).read_bytes()
        write_jsonl(folder / name, rows)
        with pytest.raises(ValueError, match=message):
            write_file("math", "mini", folder, "manifest.json")
        (folder / name).write_bytes(good)

    prompts, expert = read_jsonl(folder / "prompts.jsonl"), read_jsonl(folder / "expert.jsonl")
    aligned = read_jsonl(folder / "expert-aligned.jsonl")
    refused("expert.jsonl", expert[1:], r"expert\.jsonl: 1023 rows, but this scale expects 1024")
    stolen = prompts[0] | {"response": expert[0]["response"]}
    refused("expert.jsonl", [stolen, *expert[1:]], r"split 'expert\.jsonl' is in 'prompts\.jsonl' too")
    refused("expert-aligned.jsonl", aligned[1:] + aligned[:1], r"row 1 of expert-aligned.jsonl is 'math-rl-000001', of")
    write_file("math", "mini", folder, "manifest.json")
    with pytest.raises(ValueError, match=r"unknown file 'expert-larg\.jsonl'; did you mean 'expert-large\.jsonl'"):
        write_file("math", "mini", folder, "expert-larg.jsonl")


def test_every_declared_set_of_the_sandbox_can_be_drawn() -> None:
    decl, scale = load_declarations(), load_scale("mini")
    declared = {name for domain in scale.domains for name in split_rows(decl, scale, domain)}
    assert declared == set(sandbox.SPLITS)


def test_training_data_in_a_benchmark_of_any_format_is_refused() -> None:
    prompt = {"id": "a", "question": "q", "gold": "1"}
    for name, row, key in (
        ("math", {"problem": "q"}, {}),
        ("judge", {"question": "q", "rubric": []}, {}),
        ("bfcl", {"question": [[{"role": "user", "content": "q"}]], "function": [1]}, {"functions": [1]}),
    ):
        questions = list(sandbox.benchmark_questions({name: [row]}))
        with pytest.raises(ValueError, match=r"'expert\.jsonl' is in 'benchmarks' too"):
            check_splits({"prompts.jsonl": [], "validation.jsonl": [], "expert.jsonl": [prompt | key]}, questions)


def test_benchmarks_are_written(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["sandbox-amc.jsonl"]["rows"] == 560 and manifest["sandbox-mmlu-pro.jsonl"]["rows"] == 14 * 10
    assert sum(name.startswith("sandbox-bfcl/BFCL_v4_") for name in manifest) == 8


def test_overlap_is_refused() -> None:
    rows = [{"question": "Start with 3."}]
    with pytest.raises(ValueError, match=r"split 'b' is in 'a' too: .*Start with 3"):
        check_disjoint({"a": rows, "b": [{"question": "other"}, *rows]})
    check_disjoint({"a": [{"question": "q", "functions": [1]}], "b": [{"question": "q", "functions": [2]}]})


def test_tokenizer_round_trips_any_text_and_splits_digits() -> None:
    tokenizer = train_tokenizer(math_world, 400)
    text = "Start with 37.\n1: +4, naïve ☃ <think>\\boxed{123}</think>\x00\u202e"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert {tokenizer.decode([i]) for i in tokenizer("123")["input_ids"]} == {"1", "2", "3"}
    assert len(tokenizer("<think>")["input_ids"]) == 1


@pytest.mark.parametrize("policy", load_policies())
def test_shipped_policy_is_the_one_the_code_describes(policy: str) -> None:
    """A change of the world, the model or the phases must come with retrained weights."""
    shipped.check_policy(policy, SHIPPED / policy)
    world = load_world(load_policy(policy).world)
    kept = AutoTokenizer.from_pretrained(SHIPPED / policy)
    assert kept.get_vocab() == train_tokenizer(world, load_policy(policy).vocab_size).get_vocab()


def test_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*.safetensors")) < 4_000_000


def test_damaged_or_outdated_policies_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "sandbox-math"
    shutil.copytree(SHIPPED / "sandbox-math", folder)
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="has SHA-256"):
        shipped.check_policy("sandbox-math", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"config_hash": "0" * 64}))
    with pytest.raises(ValueError, match=f"now give {config_hash('sandbox-math')[:12]}: retrain"):
        shipped.check_policy("sandbox-math", folder)
    with pytest.raises(ValueError, match="unknown policy 'sandbox-maths'"):
        load_policy("sandbox-maths")
