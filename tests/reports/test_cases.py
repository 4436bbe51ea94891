"""Case studies: markers counted by hand, untrusted answers escaped, a problem that nobody picked."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.score import score_table
from reference_impl.config import load_declarations, load_scale
from reports.cases import NAME, answer, main, method_row, render, stored_samples, studies
from reports.inputs import Results
from reports.markers import MARKERS, Markers, load_markers, visible
from tests.reports.test_site import reader_of
from tests.support.synthetic_results import write_json, write_lines

HOSTILE = "<script>alert(1)</script> </pre><img src=x onerror=alert(2)> {{ 7 * 7 }} & \u202egnp.exe \x00\x1b[2J \ud800"
EXPERT = "Okay, let me see. First, 2 + 3 = 5; wait, let me check that again."
TERSE = "2 + 3 = 5"


def sample(task: str, item: int, number: int, response: str, *, correct: bool = True) -> dict[str, object]:
    """A stored sample with what the page reads of it."""
    return {
        "task": task, "item_id": f"item-{item}", "category": None, "sample": number, "prompt": f"<b>{item}</b>?",
        "response": response, "tokens": len(response), "truncated": False, "gold": {"a": "ä"},
        "correct": correct, "reason": "correct" if correct else "bad_format", "extracted": None,
    }  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Six questions with two samples each; methods that imitate say what the expert says."""
    root, decl, scale = tmp_path_factory.mktemp("results"), load_declarations(), load_scale("mini")
    declared = decl.experiments[NAME]
    for domain in declared.domains:
        write_json(root / "data" / domain / "manifest.json", {"expert_length_mean": 60.5, "expert_rows": 2})
        write_lines(root / "data" / domain / "expert.jsonl", [{"response": EXPERT}, {"response": "okay. next. 1"}])
        task = scale.domains[domain].tasks[0]
        for method in declared.methods:
            text = {"chord_mu": EXPERT, "sft_best": HOSTILE}.get(method, TERSE)
            for seed in (0, 1):
                rows = [
                    sample(task, item, number, text, correct=(item + number) % 2 == 0)
                    for item in (4, 3, 2, 1, 0, 5)
                    for number in (0, 1)
                ]
                folder = root / "evaluations" / domain / method / f"seed{seed}"
                write_lines(folder / f"{task}.jsonl", rows)
                scores = root / "scores" / domain / method / f"seed{seed}.parquet"
                scores.parent.mkdir(parents=True, exist_ok=True)
                score_table(folder, domain, method, seed).to_parquet(scores)
    return Results(root, scale, decl, (0,))


@pytest.fixture(scope="module")
def markers() -> Markers:
    return load_markers()


@pytest.fixture(scope="module")
def page(results: Results, markers: Markers) -> str:
    return render(results, studies(results, markers), markers)


def test_markers_are_counted_by_hand(markers: Markers) -> None:
    # okay + let me see; wait + let me check; no restart; first.
    counts = {"think_aloud": 2, "self_checks": 2, "alternatives": 0, "connectives": 1}
    assert markers.count(EXPERT) == counts
    assert markers.count(EXPERT.upper().replace(" ", "\n  ")) == counts


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("let me try to solve it", {"think_aloud": 1}),  # the longest phrase that begins there, and it alone
        ("let me try that", {"alternatives": 1}),
        ("let me start over", {"alternatives": 1}),
        ("Let me double-check. Both methods confirm it.", {"self_checks": 2}),
        ("Alternatively, another way is ...", {"alternatives": 2}),
        ("then thenceforth first_name awaits firstly", {"connectives": 1}),  # whole words
        ("", {}),
    ],
)
def test_phrases(markers: Markers, text: str, found: dict[str, int]) -> None:
    assert {kind: count for kind, count in markers.count(text).items() if count} == found


def test_the_paper_s_own_examples_are_told_apart(markers: Markers) -> None:
    rl = markers.count("To determine the duration … First, let's identify … Next, we need to find …")
    sft = markers.count("Okay, let me try to solve this. Let me think. Let me check. Wait, that doesn't match.")
    phi = markers.count("First, I'll visualize … Alternatively, I can … Both methods confirm that …")
    assert (rl["connectives"], rl["self_checks"], rl["think_aloud"], rl["alternatives"]) == (2, 0, 0, 0)
    assert (sft["think_aloud"], sft["self_checks"]) == (3, 2)
    assert (phi["connectives"], phi["alternatives"], phi["self_checks"]) == (1, 1, 1)


def test_marks_enclose_phrases_and_everything_else_is_escaped(markers: Markers) -> None:
    shown = markers.shown("<b>Wait</b>, first & last")
    assert shown == (
        '&lt;b&gt;<mark class="self_checks">Wait</mark>&lt;/b&gt;, <mark class="connectives">first</mark> &amp; last'
    )


def test_nothing_hides_in_a_text() -> None:
    assert visible("a\tb\n\x00\x1b[2J\u202e\ud800") == "a\tb\n\u2400\u241b[2J\\u202e\\ud800"


@pytest.mark.parametrize(
    ("phrases", "message"),
    [
        ("{a: {label: A, paper: x, phrases: [wait]}, b: {label: B, paper: x, phrases: [wait]}}", "in a and in b"),
        ("{a: {label: A, paper: x, phrases: [Wait]}}", "lower-case"),
        ("{a: {label: A, paper: x, phrases: ['']}}", "lower-case"),
    ],
)
def test_phrases_that_cannot_be_counted_are_errors(tmp_path: Path, phrases: str, message: str) -> None:
    (tmp_path / "markers.yaml").write_text(phrases, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_markers(tmp_path / "markers.yaml")


def test_every_kind_has_a_colour_and_the_paper_s_words(markers: Markers) -> None:
    style = (MARKERS.parent / "templates" / "style.css").read_text(encoding="utf-8")
    for kind in markers.kinds:
        assert f"mark.{kind.name} " in style
        assert len(kind.paper) > 40 and kind.phrases


def test_averages_by_hand(results: Results, markers: Markers) -> None:
    task = results.scale.domains["math"].tasks[0]
    row = method_row(results, "chord_mu", stored_samples(results, "math", "chord_mu", task), markers)
    accuracy, length, *counts = row.estimates
    assert accuracy is not None and length is not None
    assert (row.seeds, row.questions, row.samples) == (1, 6, 12)
    assert accuracy.mean == pytest.approx(50.0)  # of the two samples of a question, one is right
    assert length.mean == pytest.approx(len(EXPERT))
    assert [part.mean for part in counts if part] == [2.0, 2.0, 0.0, 1.0]


def test_intervals_are_clustered_by_question_and_never_below_zero(results: Results, markers: Markers) -> None:
    texts = [EXPERT if item == 0 else TERSE for item in range(6)]
    rows = [{**sample("t", item, number, text), "seed": 0} for item, text in enumerate(texts) for number in range(4)]
    thinking = method_row(results, "grpo", rows, markers).estimates[2]
    assert thinking is not None
    # Question means 2, 0, 0, 0, 0, 0: mean 1/3, sd 0.8165, se 0.8165 / sqrt(6) = 1/3 from 6 questions, not from 24.
    assert [thinking.mean, thinking.se] == pytest.approx([1 / 3, 1 / 3]) and thinking.questions == 6
    assert thinking.low == 0.0 < thinking.high


def test_where_a_judge_grades_its_score_counts_and_unscored_questions_do_not(
    results: Results, markers: Markers
) -> None:
    scores = [0.5, 1.0, 0.75, None]
    rows = [{**sample("t", item, 0, TERSE), "seed": 0, "score": score} for item, score in enumerate(scores)]
    row = method_row(results, "grpo", rows, markers)
    assert row.estimates[0] is not None and row.estimates[0].mean == pytest.approx(75.0)  # (0.5 + 1 + 0.75) / 3
    assert (row.estimates[0].questions, row.questions) == (3, 4)
    assert answer(results, "grpo", rows, "item-0").verdict == "score 50 %"


def test_two_seeds_are_both_counted_and_the_first_is_shown(results: Results, markers: Markers) -> None:
    both = replace(results, seeds=(1, 0))
    case = studies(both, markers)[0]
    assert case.seed == 1
    assert {(row.seeds, row.samples) for row in case.rows[1:]} == {(2, 24)}


def test_the_problem_is_the_first_of_the_file(results: Results, markers: Markers) -> None:
    case = studies(results, markers)[0]
    assert (case.task, case.item_id) == ("sandbox-amc", "item-4")
    assert [found.label for found in case.answers] == [
        results.decl.methods[method].label for method in results.decl.experiments[NAME].methods
    ]
    assert case.answers[0].verdict == "correct"
    rows = stored_samples(results, "math", "grpo", case.task)
    with pytest.raises(ValueError, match="grpo has no sample 0 of question 'item-9'"):
        answer(results, "grpo", rows, "item-9")


def test_the_page_says_how_the_problem_was_chosen_and_what_the_paper_says(results: Results, page: str) -> None:
    text = " ".join(" ".join(reader_of(page).text).split())
    assert "Nothing here is picked by hand" in text
    assert "Appendix E" in text and "hybrid reasoning style" in text
    assert "low confidence" in text and "no code of it is public" in text
    assert "664 answers" not in text and "12 answers a method to 6 questions, 1 seed" in text


def test_answers_are_never_markup(results: Results, page: str) -> None:
    reader = reader_of(page)
    assert "<script" not in page and "<img" not in page and "onerror=alert(2)&gt;" in page
    assert "{{ 7 * 7 }}" in page and "\x00" not in page and "\u202e" not in page
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert "&lt;b&gt;4&lt;/b&gt;?" in page, "the prompt"
    assert page.encode("utf-8")


def test_command_writes_page_and_table(results: Results, page: str, tmp_path: Path) -> None:
    out = tmp_path / "cases.html"
    main(["--scale", "mini", "--results", str(results.root), "--seeds", "0", "--out", str(out)])
    assert out.read_text(encoding="utf-8") == page
    with (tmp_path / "cases.csv").open(encoding="utf-8", newline="") as lines:
        table = list(csv.DictReader(lines))
    methods = ["expert", *results.decl.experiments[NAME].methods]
    assert [row["method"] for row in table] == 2 * methods
    expert, chord_mu = table[0], next(row for row in table if row["method"] == "chord_mu")
    # Two demonstrations: 2 and 1 thoughts aloud, 2 and 0 checks, 1 and 1 connectives; their length is the manifest's.
    assert [expert[key] for key in ("think_aloud", "self_checks", "connectives", "tokens", "score")] == [
        "1.5000", "1.0000", "1.0000", "60.5000", "",
    ]  # fmt: skip
    assert expert["think_aloud low"] == expert["think_aloud high"] == "1.5000"
    assert (chord_mu["self_checks"], chord_mu["score"]) == ("2.0000", "50.0000")


def test_what_is_not_at_the_scale_is_named(results: Results, markers: Markers) -> None:
    domains = {name: part for name, part in results.scale.domains.items() if name != "tool"}
    small = replace(results, scale=results.scale.model_copy(update={"domains": domains}))
    found = studies(small, markers)
    assert [case.domain for case in found] == ["math"]
    assert "Tool use: not here, because this scale lacks the domain." in render(small, found, markers)


def test_a_method_that_is_not_declared_for_a_domain_is_skipped_with_a_word(results: Results, markers: Markers) -> None:
    fewer = {"methods": ("grpo", "srft"), "domains": ("math",)}
    entry = results.decl.experiments[NAME].model_copy(update=fewer)
    decl = replace(results.decl, experiments={**results.decl.experiments, NAME: entry})
    changed = replace(results, decl=decl)
    found = studies(changed, markers)
    assert [row.method for row in found[0].rows] == ["expert", "grpo"]
    assert "Not declared for this domain: SRFT." in render(changed, found, markers)


def test_missing_samples_name_the_file_and_the_target(results: Results, tmp_path: Path, markers: Markers) -> None:
    with pytest.raises(ValueError, match=r"evaluations/math/original/seed0 is missing; make it with: snakemake"):
        studies(replace(results, root=tmp_path), markers)


def test_gold_of_any_shape_is_shown(page: str) -> None:
    assert json.dumps({"a": "ä"}, ensure_ascii=False).replace('"', "&#34;") in page
