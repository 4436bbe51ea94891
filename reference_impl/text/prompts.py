"""Chat messages of every prompt the project uses: pure functions from a data row to messages.

A row names its prompt (`row["prompt"]`), so data files, trainer and evaluation render the same text from the
same place. Functions read `question` (text; for tool use also a list of messages) and, where the prompt needs
them, `options` (strings) or `functions` (BFCL JSON).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = dict[str, str]
Row = Mapping[str, Any]

# Appendix A.3, "Example: Prompt for Math Problems". The two backslash-n are printed as characters, and the
# box is printed with a space inside for math and without one for MMLU-Pro: both are kept as printed.
_MATH_SYSTEM = (
    "You are a helpful assistant that solves MATH problems. You should first think about the reasoning "
    "process in mind and then provide the user with the answer. You should present your reasoning process "
    "using the format: <think>\\n...your reasoning process here... </think>\\n first. You should always "
    "include your final answer in \\boxed{BOX} as closed-form results."
)
# A.3: "the default prompt provided by Qwen (Yang et al., 2024b)", as printed there.
_QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{ }"
# Appendix A.3, "Example: Prompt for MMLU-Pro Question".
_MMLU_PRO_INSTRUCTION = (
    "Below are multiple choice options. You should answer your choice by selecting the index of the option as a number:"
)
# The paper takes the prompt of Figure 8 of Zhang et al. 2025a (Tool-N1). Text as published in NVlabs/Tool-N1
# (Apache-2.0), verl/examples/data_preprocess/verl_toolcall_preprocess.py, trailing spaces included.
_TOOL_N1_SYSTEM = """# Tool

Here is a list of functions in JSON format that you can invoke:

<tools>
{tools}
</tools>

In each action step, you MUST:\x20
1. Think about the reasoning process in the mind and enclosed your reasoning within <think> </think> XML tags.
2. Then, provide a json object with function names and arguments within <tool_call></tool_call> XML tags. \
i.e., <tool_call>[{"name": <function-name>, "arguments": <args-json-object>}, {"name": <function-name2>, \
"arguments": <args-json-object2>}, ...]</tool_call>
3. Make sure both the reasoning and the tool call steps are included together in one single reply.
A complete reply example is: <think>To address the query, I need to send the email to Bob and then buy the \
banana through walmart. </think> <tool_call> [{"name": "email", "arguments": {"receiver": "Bob", "content": \
"I will bug banana through walmart"}}, {"name": "walmart", "arguments": {"input": "banana"}}]</tool_call>. \
Please make sure the type of the arguments is correct.\x20
"""
# B.4 prints no prompt. The expert demonstrations there are a train of thought and an answer, which this asks for.
_MEDICINE_SYSTEM = (
    "You are a helpful assistant that answers medical questions. First think about the reasoning process, using the "
    "format <think> ...your reasoning process here... </think>, and then give the user your answer."
)
# The sandbox shortens the system sentence: its policies read a few hundred tokens at most.
_SANDBOX_MATH_SYSTEM = "Think, then put the answer in \\boxed{}."
_SANDBOX_TOOL_SYSTEM = "Think, then call."
_SANDBOX_MEDICINE_SYSTEM = "Think, then advise."


def _messages(system: str, user: str) -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": user}]


def _conversation(system: str, question: str | Sequence[Message]) -> list[Message]:
    """A question, maybe a conversation of its own (BFCL), whose system message follows ours, as in BFCL."""
    if isinstance(question, str):
        return _messages(system, question)
    turns = [dict(message) for message in question]
    if turns[0]["role"] == "system":
        system = f"{system}\n\n{turns.pop(0)['content']}"
    return [{"role": "system", "content": system}, *turns]


def _numbered(options: Sequence[str]) -> str:
    return "\n".join(f"{index}. {option}" for index, option in enumerate(options))


def signature(function: Mapping[str, Any]) -> str:
    """One function of BFCL's JSON as `name(param: type, optional?: type)`, parameters in the file's order."""
    parameters = function["parameters"]
    required = set(parameters.get("required") or ())
    fields = (
        f"{name}{'' if name in required else '?'}: {detail['type']}"
        for name, detail in parameters["properties"].items()
    )
    return f"{function['name']}({', '.join(fields)})"


def _math(row: Row) -> list[Message]:
    return _messages(_MATH_SYSTEM.replace("BOX", " "), row["question"])


def _math_qwen(row: Row) -> list[Message]:
    return _messages(_QWEN_SYSTEM, row["question"])


def _mmlu_pro(row: Row) -> list[Message]:
    user = f"{row['question']} {_MMLU_PRO_INSTRUCTION}\n{_numbered(row['options'])}"
    return _messages(_MATH_SYSTEM.replace("BOX", ""), user)


def _tool_n1(row: Row) -> list[Message]:
    tools = json.dumps(list(row["functions"]), ensure_ascii=False)
    return _conversation(_TOOL_N1_SYSTEM.replace("{tools}", tools), row["question"])


def _medicine(row: Row) -> list[Message]:
    return _messages(_MEDICINE_SYSTEM, row["question"])


def _sandbox_math(row: Row) -> list[Message]:
    return _messages(_SANDBOX_MATH_SYSTEM, row["question"])


def _sandbox_mmlu_pro(row: Row) -> list[Message]:
    return _messages(_SANDBOX_MATH_SYSTEM, f"{row['question']}\n{_numbered(row['options'])}")


def _sandbox_tool(row: Row) -> list[Message]:
    signatures = "\n".join(signature(function) for function in row["functions"])
    return _messages(_SANDBOX_TOOL_SYSTEM, f"{signatures}\n\n{row['question']}")


def _sandbox_medicine(row: Row) -> list[Message]:
    return _messages(_SANDBOX_MEDICINE_SYSTEM, row["question"])


PROMPTS: dict[str, Callable[[Row], list[Message]]] = {
    "math": _math,
    "math-qwen": _math_qwen,
    "mmlu-pro": _mmlu_pro,
    "tool-n1": _tool_n1,
    "medicine": _medicine,
    "sandbox-math": _sandbox_math,
    "sandbox-mmlu-pro": _sandbox_mmlu_pro,
    "sandbox-tool": _sandbox_tool,
    "sandbox-medicine": _sandbox_medicine,
}


def render(row: Row) -> list[Message]:
    """Chat messages of one data row. Raises ValueError for a prompt name that PROMPTS lacks."""
    name = row["prompt"]
    if name not in PROMPTS:
        raise ValueError(f"unknown prompt {name!r} in row {row.get('id')!r}; known: {', '.join(PROMPTS)}")
    return PROMPTS[name](row)
