"""A method that is evaluated with another prompt than its tasks have (A.3)."""

from pathlib import Path

from evaluation.generate import plan_tasks
from reference_impl.text.prompts import render
from tests.evaluation.test_generate import write_benchmarks
from tests.support.plans import configuration


def test_a_method_may_have_a_prompt_of_its_own(tmp_path: Path) -> None:
    write_benchmarks(tmp_path)
    old = "prompts: {math: math-qwen}"
    root = configuration(tmp_path, "methods.yaml", old, old.replace("math:", "sandbox-math:"))

    def prompts(method: str) -> dict[str, set[str]]:
        plans = plan_tasks("smoke", "math", tmp_path, {}, {}, root, method)
        return {plan.task.name: {item.row["prompt"] for item in plan.items} for plan in plans}

    usual = prompts("original")
    assert prompts("somebody's checkpoint") == usual == prompts("")
    other = prompts("original_qwen")
    assert {task for task in usual if usual[task] != other[task]} == {
        "sandbox-amc",
        "sandbox-aime24",
        "sandbox-aime25",
    }
    assert other["sandbox-amc"] == {"math-qwen"}
    system, user = render({"prompt": "math-qwen", "question": "6 x 7?"})
    assert system["content"] == r"Please reason step by step, and put your final answer within \boxed{ }"
    assert user["content"] == "6 x 7?"
