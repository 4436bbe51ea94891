"""Rows changed by hand are found before anything trains."""

from pathlib import Path

import pytest

from pipelines.data import check, sandbox
from reference_impl.files import read_jsonl, write_jsonl


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and benchmarks as the sandbox writes them; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    for domain in ("math", "tool"):
        sandbox.write_domain(domain, "smoke", folder / domain)
    sandbox.write_benchmarks(folder / "benchmarks")
    return folder


def run(folder: Path, domain: str, expert: str = "main") -> dict[str, object]:
    return check.check(domain, "smoke", expert, folder / domain, folder / "benchmarks")


@pytest.mark.parametrize("domain", ["math", "tool"])
def test_what_the_sandbox_writes_passes(made: Path, domain: str) -> None:
    assert set(run(made, domain)) == {"prompts.jsonl", "validation.jsonl", "expert.jsonl"}
    assert "expert-aligned.jsonl" in run(made, domain, "aligned")


def copied(made: Path, folder: Path) -> Path:
    for path in made.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(made)).write_bytes(path.read_bytes())
    return folder


def test_a_benchmark_s_question_and_a_bad_row_are_one_report_each(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(made, tmp_path)
    prompts, question = folder / "math" / "prompts.jsonl", read_jsonl(folder / "benchmarks" / "sandbox-amc.jsonl")[3]
    rows = read_jsonl(prompts)
    rows[1]["question"] = question["problem"]
    write_jsonl(prompts, rows)
    arguments = ["--domain", "math", "--scale", "smoke", "--expert", "main", "--data", str(folder / "math")]
    arguments += ["--benchmarks", str(folder / "benchmarks"), "--out", str(tmp_path / "out.json")]
    with pytest.raises(SystemExit, match=r"error: .*prompts\.jsonl, row 2: its question is one of sandbox-amc$"):
        check.main(arguments)
    rows[2]["gold"] = "1/2"
    write_jsonl(prompts, rows)
    with pytest.raises(SystemExit, match=r"error: .*prompts\.jsonl, row 3: gold '1/2' is no integer"):
        check.main(arguments)
    assert not (tmp_path / "out.json").exists()
    write_jsonl(prompts, read_jsonl(made / "math" / "prompts.jsonl"))
    check.main(arguments)
    assert (tmp_path / "out.json").is_file()


def test_functions_are_part_of_a_tool_question(made: Path, tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    prompts = folder / "tool" / "prompts.jsonl"
    asked = read_jsonl(folder / "benchmarks" / "sandbox-bfcl" / "BFCL_v4_simple_python.json")[0]
    rows = read_jsonl(prompts)
    rows[0] |= {"question": asked["question"][0][0]["content"]}
    write_jsonl(prompts, rows)
    run(folder, "tool")
    rows[0] |= {"functions": asked["function"]}
    write_jsonl(prompts, rows)
    with pytest.raises(ValueError, match=r"row 1: its question is one of sandbox-bfcl"):
        run(folder, "tool")
