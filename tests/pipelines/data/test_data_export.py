"""Data in the ecosystem's formats: the columns that TRL documents, with the text that training sees."""

import json
from pathlib import Path
from typing import Any

import pyarrow.json  # type: ignore[import-untyped]
import pytest
from transformers import AutoTokenizer

from pipelines.data import export
from pipelines.data.export import FORMATS, export_row
from pipelines.data.sandbox import write_domain
from pipelines.data.stage import Limits
from pipelines.data.toolace import candidate
from pipelines.sandbox.policies import SHIPPED, WORLDS
from reference_impl.files import read_jsonl, write_jsonl
from reference_impl.step.batching import expert_sequence
from reference_impl.text.prompts import render
from tests.support.real_data import toolace_row

pytestmark = pytest.mark.slow

CONVERSATION = pyarrow.list_(pyarrow.struct({"role": pyarrow.string(), "content": pyarrow.string()}))
COLUMNS = {"messages": ["messages"], "prompt_completion": ["prompt", "completion"]}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sandbox's data of every domain, a folder each."""
    folder = tmp_path_factory.mktemp("data")
    for domain in WORLDS:
        write_domain(domain, "smoke", folder / domain)
    return folder


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("domain", WORLDS)
def test_every_file_has_the_documented_columns(written: Path, tmp_path: Path, domain: str, form: str) -> None:
    export.main(["--data", str(written / domain), "--format", form, "--out", str(tmp_path)])
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == sorted(path.name for path in (written / domain).glob("*.jsonl"))
    for name in files:
        rows = read_jsonl(written / domain / name)
        table = pyarrow.json.read_json(tmp_path / name)  # what `datasets` reads JSON lines with
        chat = COLUMNS[form] if name.startswith("expert") else ["prompt"]
        gold = ["gold"] if "gold" in rows[0] else []
        assert table.column_names == ["id", *chat, *gold] and table.num_rows == len(rows)
        for column in chat:
            assert table.schema.field(column).type == CONVERSATION, table.schema
        for column in ("id", *gold):
            assert table.schema.field(column).type == pyarrow.string()
        for row, found in zip(rows, table.to_pylist(), strict=True):
            assert found["id"] == row["id"]
            assert [turn for column in chat for turn in found[column]] == [
                *render(row),
                *([{"role": "assistant", "content": row["response"]}] if "response" in row else []),
            ]
            if gold:
                assert (found["gold"] if domain == "math" else json.loads(found["gold"])) == row["gold"]


@pytest.mark.parametrize("domain", WORLDS)
def test_the_exported_conversation_has_the_tokens_of_training(written: Path, domain: str) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(SHIPPED / f"sandbox-{domain}")
    for row in read_jsonl(written / domain / "expert.jsonl"):
        found = export_row(row, "prompt_completion")
        sequence = expert_sequence(tokenizer, row, 10_000)
        prompt = tokenizer.apply_chat_template(found["prompt"], add_generation_prompt=True, return_dict=False)
        whole = tokenizer.apply_chat_template([*found["prompt"], *found["completion"]], return_dict=False)
        assert tuple(prompt) == sequence.prompt_ids
        # ChatML ends a turn by a line, which is part of the whole but not of what is generated.
        assert tuple(whole[: sequence.tokens]) == sequence.prompt_ids + sequence.response_ids
        assert tokenizer.decode(whole[sequence.tokens :]).strip() == ""


def test_rows_of_real_data(tmp_path: Path) -> None:
    """Calls of different arguments are text, so that no table fills one row with the keys of another."""
    answers = ["[User Feed()]", '[Market Trends API(trend_type="GAINERS", limit=3)]']
    rows = [{"id": str(n), **candidate(toolace_row(n, answer), Limits(100))} for n, answer in enumerate(answers)]
    write_jsonl(tmp_path / "tool" / "prompts.jsonl", rows)
    assert export.export(tmp_path / "tool", "messages", tmp_path / "out") == {"prompts.jsonl": 2}
    first, second = pyarrow.json.read_json(tmp_path / "out" / "prompts.jsonl").to_pylist()
    assert json.loads(first["gold"]) == [{"name": "User Feed", "arguments": {}}]
    assert json.loads(second["gold"])[0]["arguments"] == {"trend_type": "GAINERS", "limit": 3}
    assert [turn["role"] for turn in first["prompt"]] == ["system", "user"]


@pytest.mark.parametrize("form", FORMATS)
def test_datasets_reads_it(written: Path, tmp_path: Path, form: str) -> None:
    datasets: Any = pytest.importorskip("datasets", reason="the Hugging Face `datasets` package is not installed")
    export.main(["--data", str(written / "tool"), "--format", form, "--out", str(tmp_path)])
    found = datasets.load_dataset(
        "json", data_files=str(tmp_path / "expert.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = read_jsonl(tmp_path / "expert.jsonl")
    assert found.column_names == ["id", *COLUMNS[form], "gold"] and found.to_list() == rows


def test_mistakes_are_named(tmp_path: Path) -> None:
    row = {"id": "a", "prompt": "math", "question": "?"}
    with pytest.raises(SystemExit, match=r"has no prompts\.jsonl"):
        export.main(["--data", str(tmp_path), "--format", "messages", "--out", str(tmp_path / "out")])
    write_jsonl(tmp_path / "prompts.jsonl", [row, {"id": "b"}])
    with pytest.raises(SystemExit, match=r"prompts\.jsonl, line 2: expected id, prompt and question, got id"):
        export.main(["--data", str(tmp_path), "--format", "messages", "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out" / "prompts.jsonl").exists()
    write_jsonl(tmp_path / "prompts.jsonl", [row | {"prompt": "maths"}])
    with pytest.raises(SystemExit, match=r"line 1: unknown prompt 'maths' in row 'a'"):
        export.main(["--data", str(tmp_path), "--format", "messages", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="unknown format 'chat'"):
        export.main(["--data", str(tmp_path), "--format", "chat", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="is the data folder itself"):
        export.main(["--data", str(tmp_path), "--format", "messages", "--out", str(tmp_path)])
