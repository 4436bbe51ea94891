"""Rows in the schemas of the public data sets, and folders of evaluation sets, for the tests of the data stages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reference_impl.config import load_scale
from reference_impl.files import write_jsonl

Row = dict[str, Any]


def openr1_row(n: int, **changes: Any) -> Row:
    """A problem of OpenR1-Math-220k with two generations, of which the second is right: the answer is n + 1."""
    right = f"<think>\nAdd one to {n}.\n</think>\n\nThe sum of {n} and one is \\boxed{{{n + 1}}}."
    return {
        "problem": f"What is ${n} + 1$, if every number has its usual meaning?",
        "solution": "…",
        "answer": str(n + 1),
        "problem_type": "Algebra",
        "question_type": "math-word-problem",
        "source": "olympiads",
        "uuid": f"uuid-{n}",
        "is_reasoning_complete": [True, True],
        "generations": ["<think>\nA guess.\n</think>\n\n\\boxed{0}", right],
        "correctness_math_verify": [False, True],
        "correctness_llama": None,
        "finish_reasons": ["stop", "stop"],
        "correctness_count": 1,
        "messages": [],
    } | changes


FUNCTIONS: list[Row] = [
    {
        "name": "Market Trends API",
        "description": "Get the latest market trends.",
        "parameters": {
            "type": "dict",
            "properties": {
                "trend_type": {"description": "Trend type.", "type": "string"},
                "from": {"description": "First day.", "type": "string"},
                "limit": {"description": "How many.", "type": "int"},
            },
            "required": ["trend_type"],
        },
        "required": None,
    },
    {"name": "User Feed", "description": "A feed.", "parameters": {"type": "dict", "properties": {}}},
]


def toolace_system(functions: Sequence[Row] = FUNCTIONS) -> str:
    """The system prompt of a ToolACE row."""
    return (
        "You are an expert in composing functions. You are given a question and a set of possible functions. \n"
        "Here is a list of functions in JSON format that you can invoke:\n"
        f"{json.dumps(list(functions))}. \nShould you decide to return the function call(s). \n"
        "Put it in the format of [func1(params_name=params_value, params_name2=params_value2...), func2(params)]\n\n"
        "NO other text MUST be included."
    )


def toolace_row(n: int, answer: str | None = None) -> Row:
    """A ToolACE conversation that continues after its first call."""
    call = f'[Market Trends API(trend_type="GAINERS", limit={n})]' if answer is None else answer
    return {
        "system": toolace_system(),
        "conversations": [
            {"from": "user", "value": f"Show me the top {n} gainers, please."},
            {"from": "assistant", "value": call},
            {"from": "tool", "value": "[]"},
            {"from": "assistant", "value": "There are none."},
        ],
    }


def trinity_rl_row(n: int, **changes: Any) -> Row:
    """A row as the authors' preparation of ToolACE writes it."""
    call = {"name": "Market Trends API", "arguments": {"trend_type": "GAINERS", "limit": n}}
    return {
        "tools": json.dumps(FUNCTIONS),
        "conversations": [{"from": "user", "value": f"Show me the top {n} gainers, please."}],
        "answer": json.dumps([call]),
        "raw_system": "You are an expert in composing functions.\n",
    } | changes


def trinity_sft_row(n: int, response: str | None = None) -> Row:
    """A chat as their workflow renders the prompt, a line a function, with the expert's response."""
    tools = "\n".join(json.dumps({"type": "function", "function": function}) for function in FUNCTIONS)
    call = json.dumps([{"name": "Market Trends API", "arguments": {"trend_type": "LOSERS", "limit": n}}])
    told = f"<think>The user wants losers.</think> <tool_call>{call}</tool_call>" if response is None else response
    return {
        "messages": [
            {"role": "system", "content": f"You are an expert.\n# Tool\n\n<tools>\n{tools}\n</tools>\n\nYou MUST: …"},
            {"role": "user", "content": f"Show me the top {n} losers, please."},
            {"role": "assistant", "content": told},
        ]
    }


def rar_row(n: int, split: str = "train") -> Row:
    """A row of RaR-Medicine."""
    return {
        "question": f"Which scan shows stone number {n} of the {split} split best?",
        "reference_answer": "Computed tomography.",
        "question_source": "somewhere",
        "rubric": [
            {"description": "Essential Criteria: Names CT.", "title": "Names CT", "weight": 5},
            {"description": "Pitfall Criteria: Recommends an X-ray.", "title": "X-ray", "weight": -1},
        ],
        "rubric_list": ["Essential Criteria: Names CT.", "Pitfall Criteria: Recommends an X-ray."],
        "rubric_count": 2,
    }


def medical_o1_row(n: int) -> Row:
    """A row of medical-o1-reasoning-SFT."""
    return {
        "Question": f"What is the dose for case {n}?",
        "Complex_CoT": f"Let me think about case {n}.",
        "Response": f"The dose is {n} mg.",
    }


def benchmarks_folder(folder: Path, domain: str, questions: Sequence[str], scale: str = "smoke") -> Path:
    """Evaluation sets of a domain's tasks, all with the same questions."""
    for task in load_scale(scale).domains[domain].tasks:
        if "bfcl" in task:
            rows = [{"id": str(i), "question": [[{"role": "user", "content": q}]]} for i, q in enumerate(questions)]
            write_jsonl(folder / task / "BFCL_v4_simple_python.json", rows)
        else:
            write_jsonl(folder / f"{task}.jsonl", [{"problem": question, "answer": "1"} for question in questions])
    return folder


def described(folder: Path) -> Row:
    """A domain's manifest."""
    loaded: Row = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return loaded
