"""The sandbox's tool-use world: golds, expert, formats, splits, chance level."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from evaluation import bfcl
from pipelines.sandbox import tool_styles
from pipelines.sandbox import tool_world as world
from pipelines.sandbox.tool_functions import FAMILIES, HOURS, QUARTERS, guess_value
from reference_impl.rewards import tool_reward
from reference_impl.text.prompts import render

pytestmark = pytest.mark.slow

Row = dict[str, Any]
POLICY = Path(__file__).resolve().parents[3] / "pipelines" / "sandbox" / "policies" / "sandbox-tool"


def benchmark_pairs() -> list[tuple[str, Row, Row]]:
    """(category, question row, possible-answer row) of the entire benchmark."""
    files = world.benchmarks()
    return [
        (category, question, answer)
        for category in world.BENCHMARK_SIZES
        for question, answer in zip(
            files[f"sandbox-bfcl/BFCL_v4_{category}.json"],
            files[f"sandbox-bfcl/possible_answer/BFCL_v4_{category}.json"],
            strict=True,
        )
    ]


def test_rows_depend_on_the_seed_alone() -> None:
    assert world.rl_rows(20, 3) == world.rl_rows(20, 3)
    assert world.expert_rows(20, 3) == world.expert_rows(20, 3)
    assert world.rl_rows(20, 3) != world.rl_rows(20, 4)
    first = [world.pretraining_example(random.Random(5), "instruct") for _ in range(2)]
    assert first[0] == first[1]


def test_a_longer_split_extends_a_shorter_one() -> None:
    assert world.rl_rows(30, 0)[:10] == world.rl_rows(10, 0)


def test_splits_share_no_question() -> None:
    splits = {
        "rl": [row["question"] for row in world.rl_rows(2000, 0)],
        "expert": [row["question"] for row in world.expert_rows(500, 0)],
        "validation": [row["question"] for row in world.validation_rows(200, 0)],
        "benchmark": [question["question"][0][0]["content"] for _, question, _ in benchmark_pairs()],
    }
    rng = random.Random(0)
    pretraining = {world.pretraining_example(rng, "base")[0]["question"] for _ in range(2000)}
    seen: set[str] = set(pretraining)
    for name, questions in splits.items():
        assert len(set(questions)) == len(questions), name
        assert not seen & set(questions), name
        seen |= set(questions)


def test_expert_is_right_and_verbose() -> None:
    rows = world.expert_rows(300, 0)
    assert all(tool_reward(row["response"], row["gold"]) == 1.0 for row in rows)
    assert all("okay" in row["response"] or "alright" in row["response"] for row in rows)


def test_both_experts_are_right_about_the_same_questions() -> None:
    first, second = world.expert_rows(300, 0), world.expert_rows(300, 0, style="second")
    assert [row | {"response": ""} for row in first] == [row | {"response": ""} for row in second]
    assert all(tool_reward(row["response"], row["gold"]) == 1.0 for row in second)
    assert {row["meta"]["needs_knowledge"] for row in second} == {True, False}


def test_the_second_expert_checks_nothing_and_explains_what_the_policy_does_not_know() -> None:
    for row in world.expert_rows(300, 0, style="second"):
        thought = row["response"].split("</think>")[0]
        assert not any(check.split(",")[0] in thought for check in tool_styles.EXPERT.checks)
        # The policy's plan names functions only; "for Oslo is B52" and the like stand in a sentence.
        assert (" is " in thought) == row["meta"]["needs_knowledge"]


def test_aligned_demonstrations_are_right_and_the_prompts_own() -> None:
    aligned = world.aligned_rows(200, 0)
    assert [{key: row[key] for key in row if key != "response"} for row in aligned] == world.rl_rows(200, 0)
    assert all(tool_reward(row["response"], row["gold"]) == 1.0 for row in aligned)
    assert world.aligned_rows(20, 0) == aligned[:20]


def test_hand_worked_golds() -> None:
    # "half past seven tonight" is 7 + 12 hours and 30 minutes.
    problems = [world.draw_problem("simple_python", random.Random(seed)) for seed in range(3000)]
    arguments = {item.spoken: item.value for p in problems for call in p.calls for item in call.arguments}
    assert arguments["half past seven tonight"] == "19:30"
    assert arguments["quarter past nine tonight"] == "21:15"
    assert len([spoken for spoken in arguments if spoken.endswith("tonight")]) == len(HOURS) * len(QUARTERS)


def test_stations_are_given_by_code_and_cities_by_name() -> None:
    values: dict[str, set[str]] = {"station": set(), "place": set()}
    for seed in range(3000):
        for argument in world.draw_problem("simple_python", random.Random(seed)).calls[0].arguments:
            if argument.spoken == "Oslo":
                values[argument.kind].add(str(argument.value))
    assert values == {"station": {"B52"}, "place": {"Oslo"}}


def test_user_says_every_value() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        problem = world.draw_problem(rng.choice(list(world.BENCHMARK_SIZES)), rng)
        for call in problem.calls:
            assert all(argument.spoken in problem.question for argument in call.arguments)


@pytest.mark.parametrize("category", list(world.BENCHMARK_SIZES))
def test_shape_of_each_category(category: str) -> None:
    for seed in range(100):
        problem = world.draw_problem(category, random.Random(seed))
        assert len({function.family.names for function in problem.functions}) == len(problem.functions)
        names = [call.name for call in problem.calls]
        offered = [function.name for function in problem.functions]
        assert set(names) <= set(offered)
        if "parallel" in category:
            assert len(names) >= 2
        else:
            assert len(names) == 1
        assert (len(offered) > 1) == ("multiple" in category)
        assert (len(set(names)) > 1) == ("parallel_multiple" in category)


def test_parallel_calls_differ() -> None:
    for seed in range(2000):
        problem = world.draw_problem("parallel", random.Random(seed))
        assert len({json.dumps(call.as_json()) for call in problem.calls}) == len(problem.calls)


def test_live_wordings_are_not_in_training_data() -> None:
    for family in FAMILIES:
        assert not set(family.wordings(live=True)) & set(family.wordings(live=False))
        assert len(family.wordings(live=True)) == 3
    assert not set(world.PREFIXES) & set(world.LIVE_PREFIXES)
    rows = world.rl_rows(500, 0) + world.expert_rows(200, 0) + world.validation_rows(100, 0)
    assert not [row for row in rows if row["meta"]["category"].startswith("live")]
    assert not [row for row in rows if row["question"].startswith(world.LIVE_PREFIXES)]


def test_pretraining_is_messy_without_the_last_live_fillers() -> None:
    rng = random.Random(6)
    rows = [world.pretraining_example(rng, "skill")[0] for _ in range(3000)]
    live = [row for row in rows if row["meta"]["category"].startswith("live")]
    assert len(live) / len(rows) == pytest.approx(world.MESSY_SHARE, abs=0.03)
    assert not [row for row in live if row["question"].startswith(world.LIVE_PREFIXES[-1])]
    assert not [row for row in live if row["question"].endswith(world.LIVE_SUFFIXES[-1])]


def test_bfcl_files_have_the_official_form() -> None:
    sizes: dict[str, int] = {}
    for category, question, answer in benchmark_pairs():
        sizes[category] = sizes.get(category, 0) + 1
        assert set(question) == {"id", "question", "function"}
        assert set(answer) == {"id", "ground_truth"}
        assert question["id"] == answer["id"]
        assert question["id"].startswith(category)
        functions = {function["name"]: function for function in question["function"]}
        for gold in answer["ground_truth"]:
            [(name, allowed)] = gold.items()
            parameters = functions[name]["parameters"]
            assert parameters["type"] == "dict"
            assert set(allowed) == set(parameters["properties"])
            for parameter, values in allowed.items():
                assert ("" in values) <= (parameter not in parameters["required"])
    assert sizes == world.BENCHMARK_SIZES


def first_allowed(ground_truth: list[Row]) -> list[Row]:
    """The calls that the first allowed values give; parameters that may be left out are left out."""
    return [
        {"name": name, "arguments": {key: values[0] for key, values in allowed.items() if "" not in values}}
        for gold in ground_truth
        for name, allowed in gold.items()
    ]


def perturbed(calls: list[Row]) -> list[list[Row]]:
    """Wrong variants of a right answer: another name, a missing argument, a wrong value, a missing call."""
    renamed, shorter, changed = copy.deepcopy(calls), copy.deepcopy(calls), copy.deepcopy(calls)
    renamed[0]["name"] += "s"
    shorter[0]["arguments"].pop(next(iter(shorter[0]["arguments"])))
    key, value = next(iter(changed[0]["arguments"].items()))
    changed[0]["arguments"][key] = value[:-1] if isinstance(value, (list, str)) else value + 1
    return [renamed, shorter, changed, calls[:-1]]


def test_bfcl_checker_accepts_golds_and_rejects_others() -> None:
    for category, question, answer in benchmark_pairs():
        right = first_allowed(answer["ground_truth"])
        assert official_problem(category, question, right, answer) is None, question["id"]
        for wrong in perturbed(right):
            assert official_problem(category, question, wrong, answer) is not None, (question["id"], wrong)


def official_problem(category: str, question: Row, calls: list[Row], answer: Row) -> str | None:
    """What BFCL's checker says about calls written as a response; None if they are right."""
    read = bfcl.read_calls(f"<think>x</think>\n<tool_call>{json.dumps(calls)}</tool_call>")
    return bfcl.check(category, question["function"], read.calls, answer["ground_truth"])


def test_chance_level_is_below_three_percent() -> None:
    """Knowing format, functions and number of calls but drawing every value is almost never enough."""
    rng = random.Random(0)
    right = 0
    rows = [world.draw_training_problem(rng) for _ in range(4000)]
    for problem in rows:
        guess = []
        for _ in problem.calls:
            function = rng.choice(problem.functions)
            arguments = {
                name: guess_value(parameter.kind, rng)
                for name, parameter in zip(function.parameter_names, function.family.parameters, strict=True)
                if not parameter.optional or rng.random() < world.FLAG_SHARE
            }
            guess.append({"name": function.name, "arguments": arguments})
        text = f"<think></think><tool_call>{json.dumps(guess)}</tool_call>"
        right += tool_reward(text, [call.as_json() for call in problem.calls]) == 1.0
    assert right / len(rows) < 0.03


def test_pretraining_never_shows_the_knowledge() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        row, response = world.pretraining_example(rng, "base")
        if row["meta"]["needs_knowledge"]:
            assert tool_reward(response, row["gold"]) == 0.0


def test_instruct_phase_is_terse_with_the_declared_noise() -> None:
    rng = random.Random(2)
    examples = [world.pretraining_example(rng, "instruct") for _ in range(4000)]
    terse = sum(len(response.split("</think>")[0]) < 60 for _, response in examples) / len(examples)
    assert terse == pytest.approx(world.TERSE_SHARE["instruct"], abs=0.02)
    plain = [(row, text) for row, text in examples if not row["meta"]["needs_knowledge"] and len(row["gold"]) == 1]
    right = sum(tool_reward(text, row["gold"]) for row, text in plain) / len(plain)
    expected = (1 - world.CALL_NOISE["instruct"]) * (1 - world.FORMAT_NOISE["instruct"])
    assert right == pytest.approx(expected, abs=0.04)


def test_slips_are_wrong() -> None:
    rng = random.Random(3)
    for _ in range(500):
        problem = world.draw_problem("simple_python", rng)
        names = list(problem.functions[0].family.names)
        slipped = tool_styles.corrupt_call(problem.calls[0], names, rng)
        assert tool_reward(tool_styles.terse([slipped]), [problem.calls[0].as_json()]) == 0.0
        broken = tool_styles.corrupt_format(tool_styles.terse(problem.calls), rng)
        assert tool_reward(broken, [problem.calls[0].as_json()]) == 0.0


def test_shipped_policy_reads_short_prompts_and_the_expert_is_long() -> None:
    if not (POLICY / "tokenizer.json").is_file():
        pytest.skip(f"no shipped policy in {POLICY}")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(POLICY)
    rng = random.Random(4)
    problems = [world.draw_training_problem(rng) for _ in range(400)]
    terse = sum(len(tokenizer(tool_styles.terse(p.calls))["input_ids"]) for p in problems)
    expert = sum(len(tokenizer(tool_styles.expert(p.calls, rng))["input_ids"]) for p in problems)
    assert expert / terse >= 2.3
    prompts = [
        tokenizer.apply_chat_template(render(row), add_generation_prompt=True, tokenize=False)
        for row in world.rl_rows(300, 1)
    ]
    assert max(len(tokenizer(prompt)["input_ids"]) for prompt in prompts) <= 110
