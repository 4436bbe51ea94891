"""What the user says on the command line, and how light a plan is."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.stages import STAGES, load_stage
from pipelines.plan import load_plan
from tests.support.checkout import REPO

COMMIT = "0123456789abcdef" * 2 + "01234567"
HEAVY = ("torch", "transformers", "pandas")
"""What a plan never loads: a call of the workflow starts at once, and on machines without them."""


def loaded(code: str) -> set[str]:
    """The modules that a new interpreter has loaded after some code."""
    script = f"{code}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPO, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_plan_is_made_without_torch() -> None:
    imported = loaded("import pipelines.plan")
    assert "pipelines.plan" in imported and not imported & {*HEAVY, "pyarrow", "tokenizers"}
    made = loaded("from pipelines.plan import load_plan; load_plan({'scale': 'paper'})")
    assert {f"pipelines.data.{name}" for name in ("openr1_math", "toolace", "rar_medicine")} < made and not made & set(
        HEAVY
    )


def test_every_stage_has_its_name_and_a_domain() -> None:
    assert {name: load_stage(name).domains for name in STAGES} == {
        "openr1_math": ("math",),
        "toolace": ("tool",),
        "trinity_toolace": ("tool",),
        "rar_medicine": ("medicine",),
        "jsonl": ("math", "medicine"),
    }
    with pytest.raises(ValueError, match="unknown data 'tool_ace'; did you mean 'toolace'"):
        load_stage("tool_ace")


def test_seeds_of_the_command_line_replace_those_of_the_scale() -> None:
    # Snakemake parses --config seeds='[0,2]' to a list of texts.
    assert load_plan({"scale": "mini", "seeds": ["0", "2"]}).choice.seeds == (0, 2)
    assert load_plan({"scale": "mini"}).choice.seeds == load_plan({"scale": "mini"}).choice.scale.seeds


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"seeds": ["one"]}, r"seeds\.0: .*integer, found 'one'"),
        ({"seeds": ["-1"]}, r"seeds\.0: .*integer, found '-1'"),
        ({"seeds": [-1]}, r"seeds\.0: .*greater than or equal to 0, found -1"),
        ({"seeds": []}, r"seeds: at least one must be given"),
        ({"seeds": ["0", 0]}, r"seeds: 0 stands twice"),
        ({"data": "my.jsonl"}, r"data: expected keys with values, found 'my\.jsonl'"),
        ({"data": {"aime24": ""}}, r"data\.aime24: .*at least 1 character, found ''"),
        ({"dat": {"aime24": "my.jsonl"}}, "dat: unknown key; did you mean 'data'"),
        (
            {"data_options": {"math": {"url": True}}},
            r"data_options\.math\.url: allowed are text, numbers, .*found True",
        ),
        ({"data_options": {"math": {"--url": "x"}}}, r"data_options\.math\.--url.*pattern"),
    ],
)
def test_the_command_lines_mistakes_are_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^workflow\.yaml or --config: {message}"):
        load_plan({"scale": "paper", **config})


def test_all_mistakes_of_the_command_line_are_in_one_report() -> None:
    with pytest.raises(ValueError, match="unknown key") as refusal:
        load_plan({"scal": "mini", "seeds": [-1], "data": {"aime24": 1}})
    lines = str(refusal.value).splitlines()
    assert len(lines) == 4 and all(line.startswith("workflow.yaml or --config: ") for line in lines)
    assert {line.split(": ")[1] for line in lines} == {"scal", "scale", "seeds.0", "data.aime24"}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"policies": {"Qwen2.5-7B": "nowhere"}}, "'nowhere' is neither a commit hash of 40 hex digits nor a folder"),
        ({"policies": {"Qwen2.5-7b": COMMIT}}, "unknown policy 'Qwen2.5-7b'; did you mean 'Qwen2.5-7B'"),
        ({"policies": {"sandbox-math": COMMIT}}, "unknown policy 'sandbox-math'"),
        ({"data_options": {"maths": {}}}, "unknown domain 'maths'; did you mean 'math'"),
    ],
)
def test_what_a_user_brings_is_checked(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": "paper", **config})


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ("sandbox-amcs", "present", r"unknown task 'sandbox-amcs'; did you mean 'sandbox-amc'\?"),
        ("aime24", "present", r"^data\.aime24: scale mini does not evaluate it; it evaluates sandbox-amc, "),
        ("sandbox-amc", "absent", r"^data\.sandbox-amc: no such file: .*absent$"),
        ("sandbox-amc", ".", r"^data\.sandbox-amc: no such file: "),
        ("sandbox-amc", "present", r"^data\.sandbox-amc: .*present, row 0: no 'answer'; it has question$"),
        ("sandbox-bfcl", "present", r"^data\.sandbox-bfcl: no such folder: .*present \(BFCL's layout is a folder\)$"),
    ],
)
def test_a_local_file_that_cannot_serve_is_refused(tmp_path: Path, task: str, path: str, message: str) -> None:
    (tmp_path / "present").write_text('{"question": "1 + 1"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_plan({"scale": "mini", "data": {task: str(tmp_path / path)}})
