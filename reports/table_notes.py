"""What has to be said under a table: how sure its numbers are, what was trained how, what the paper prints.

Everything is read from the declarations and the samples, so that a new method brings its own notes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reference_impl.config import Expert, domain_size, expert_rows, group_size, resolve_run
from reference_impl.config.experiments import Column
from reports.inputs import Results, published_table
from reports.scores import SAMPLE, SCORE, column_name, samples_of, second_prompt
from reports.table_model import Cell, Table

UNREADABLE_NOTE = 0.05
"""Shares of unreadable answers above this are named under the table: the score then measures format as well."""
NAMED = 4
JUDGE_SETTINGS = ("kind", "model", "noise")
"""Settings of a judge that decide its scores; the others say how it is reached."""
SHORTER = 0.9
"""Runs below this share of the domain's RL budget are named; rounding to whole steps stays above it."""


def row_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Labels of a table's rows: a qualifier that all of them share is the table's own, and is left out.

    ``GRPO (Pure RL, MoE)`` beside ``CHORD-φ (MoE)`` is ``GRPO (Pure RL)`` beside ``CHORD-φ``. The paper's printed
    labels would not do: they name its models ("Qwen2.5-7B-Instruct", "CHORD-μ (Qwen2.5-72B)").
    """
    endings = {_qualifier(text) for text in labels}
    if len(labels) < 2 or len(endings) != 1 or not (shared := endings.pop()):
        return tuple(labels)
    cuts = ((f" ({shared})", ""), (f", {shared})", ")"), (f", {shared}", ""))
    return tuple(next(text.removesuffix(cut) + rest for cut, rest in cuts if text.endswith(cut)) for text in labels)


def _qualifier(text: str) -> str:
    """What stands last in a label, in parentheses or behind a comma; empty without."""
    body, closing = (text[:-1], "(") if text.endswith(")") else (text, ", ")
    start = max(body.rfind(", "), body.rfind(closing))
    return body[start:].lstrip("(, ") if start >= 0 else ""


@dataclass(frozen=True)
class Rows:
    """A table's rows, and the results that they are made of."""

    results: Results
    table: Table

    @cached_property
    def labels(self) -> dict[str, str]:
        """Method → its label in the table, in the order of the rows."""
        return dict(zip(self.table.methods, self.table.labels, strict=True))

    @property
    def cells(self) -> list[tuple[str, Column, Cell]]:
        """Every cell with its row's label and its column."""
        rows = zip(self.table.labels, self.table.cells, strict=True)
        return [(name, *place) for name, row in rows for place in zip(self.table.columns, row, strict=True)]

    def of(self, domain: str) -> list[str]:
        """The methods that are trained in a domain."""
        return [method for method in self.labels if domain in self.results.decl.method_domains(method)]

    def names(self, methods: Iterable[str]) -> str:
        """Several methods in words."""
        labels = [self.labels[method] for method in methods]
        return ("; " if any("," in text for text in labels) else ", ").join(labels)

    def runs(self, domain: str, methods: Sequence[str]) -> str:
        """Several methods in words, or that they are all of the table's methods that do RL in a domain."""
        return "all RL runs" if set(methods) == set(self.budgets(domain)) else self.names(methods)

    def budgets(self, domain: str) -> dict[str, int]:
        """Method → its RL steps as the paper counts, for the methods with such a budget."""
        decl, found = self.results.decl, {}
        for method in self.of(domain):
            if decl.method(method).trains and (budget := decl.method(method).budget) and budget.epochs is None:
                config = resolve_run(decl, self.results.scale, method, domain, 0)
                found[method] = round(config.steps * config.steps_divisor)
        return found


def notes(results: Results, table: Table) -> tuple[str, ...]:
    """Every note of a table, the most general first."""
    rows = Rows(results, table)
    domains = list(dict.fromkeys(column.domain for column in table.columns))
    said = (
        *_own_notes(rows),
        *_second_prompt_notes(rows),
        *_interval_notes(rows),
        *_unreadable_notes(rows),
        *_unscored_notes(rows),
        *(note for make in OF_A_DOMAIN for domain in domains for note in make(rows, domain)),
        *_confidence_notes(rows, domains),
        *_judge_notes(rows),
        *_printed_notes(rows),
    )
    return tuple(dict.fromkeys(said))


def _own_notes(rows: Rows) -> list[str]:
    """Columns whose questions are the user's own."""
    said = []
    for column in rows.table.columns:
        for task, own in rows.results.own_questions.items():
            if task in {rows.results.task(column.domain, benchmark) for benchmark in column.benchmarks}:
                said.append(
                    f"{column_name(rows.results, column)}: {own.questions} questions of your own ({own.file}) in the "
                    f"place of {task}; the paper's values are of its own questions."
                )
    return said


def _second_prompt_notes(rows: Rows) -> list[str]:
    """Rows of a policy that was asked with two prompts, of which each column has the one that scored higher."""
    said = []
    for method, name in rows.labels.items():
        shown: dict[str, list[str]] = {}
        for column in rows.table.columns:
            if second := second_prompt(rows.results, method, column):
                chosen = set(samples_of(rows.results, method, column)["method"]) == {second}
                asked = rows.results.decl.method(second).label if chosen else "as every other row"
                shown.setdefault(asked, []).append(column.header)
        if shown:
            which = "; ".join(f"{asked} on {', '.join(headers)}" for asked, headers in shown.items())
            said.append(f"{name}: asked with two prompts, of which each column has the higher score (A.3): {which}.")
    return said


def _interval_notes(rows: Rows) -> list[str]:
    seeds = max((cell.ours.seeds for _, _, cell in rows.cells if cell.ours), default=1)
    return [f"Intervals: 95 %, over {'questions' if seeds == 1 else f'questions and {seeds} seeds'}."]


def _unreadable_notes(rows: Rows) -> list[str]:
    hard = sorted(
        (
            (cell.unreadable, f"{name} on {column_name(rows.results, column)} {cell.unreadable:.0%}")
            for name, column, cell in rows.cells
            if cell.unreadable and cell.unreadable > UNREADABLE_NOTE and len(column.categories) != 1
        ),
        reverse=True,
    )
    if not hard:
        return []
    more = f" (and {len(hard) - NAMED} more above {UNREADABLE_NOTE:.0%})" if len(hard) > NAMED else ""
    named = "; ".join(text for _, text in hard[:NAMED])
    return [f"Most answers that the grader could not read, for their format or length: {named}{more}."]


def _unscored_notes(rows: Rows) -> list[str]:
    table = rows.table
    counts = {name: max(cell.unscored for cell in row) for name, row in zip(table.labels, table.cells, strict=True)}
    named = [f"{name} {count}" for name, count in counts.items() if count]
    return [f"Questions left out because the judge failed: {', '.join(named)}."] if named else []


def _identical_notes(rows: Rows, domain: str) -> list[str]:
    """Groups of methods whose every stored answer has the same verdict and length, as ``A = B``."""
    groups = _grouped(rows.of(domain), lambda name: rows.results.scores(domain, name)[SAMPLE].to_csv(index=False))
    same = [" = ".join(rows.labels[name] for name in group) for group in groups.values() if len(group) > 1]
    if not same:
        return []
    return [
        f"Answer for answer the same in the {domain} domain: {'; '.join(same)}. They are one checkpoint, or "
        "runs from one checkpoint: validation chose the same for both."
    ]


def _grouped(methods: Iterable[str], key: Callable[[str], Any]) -> dict[Any, list[str]]:
    groups: dict[Any, list[str]] = {}
    for method in methods:
        groups.setdefault(key(method), []).append(method)
    return groups


def _policy_notes(rows: Rows, domain: str) -> list[str]:
    """Policies other than the domain's main one."""
    decl = rows.results.decl
    papers, ours = decl.domains[domain].policies, rows.results.scale.domains[domain].policies
    roles = _grouped(rows.of(domain), lambda name: decl.method(name).policy)
    return [f"Policy: {ours[role]}; the paper's is {papers[role]}." for role in roles if role != "main"]


def _expert_notes(rows: Rows, domain: str) -> list[str]:
    """Demonstrations other than the domain's main set, and how many of them a group holds."""
    decl, scale, said = rows.results.decl, rows.results.scale, []
    sets = decl.domains[domain].experts
    for role, using in _grouped(rows.of(domain), lambda name: decl.method(name).expert).items():
        if role != "main":
            own, main = expert_rows(decl, scale, domain, role), expert_rows(decl, scale, domain, "main")
            said.append(
                f"Demonstrations of {rows.names(using)}: {own:,} in the {domain} domain, {_amount(sets[role])}; "
                f"the main set has {main:,}, {_amount(sets['main'])}."
            )
        mixed = _grouped((name for name in using if decl.method(name).mixed), lambda name: _group(rows, name, domain))
        said += [f"{rows.names(names)}: {text}." for text, names in mixed.items()]
    return said


def _amount(expert: Expert) -> str:
    if expert.rows == "rl":
        return "one to every RL prompt"
    return f"in the paper {expert.rows:,} of {expert.source}"


def _group(rows: Rows, name: str, domain: str) -> str:
    method = rows.results.decl.method(name)
    size = group_size(rows.results.decl, rows.results.scale, domain, method)
    given = method.mixed.demonstrations if method.mixed else 0
    return f"every group of {size} holds {given} of the demonstrations and {size - given} own rollouts"


def _protocol_notes(rows: Rows, domain: str) -> list[str]:
    """Runs that are not strictly on-policy, with the size of their groups (B.2)."""
    decl, scale = rows.results.decl, rows.results.scale
    usual = domain_size(decl, scale, domain, "group_size")
    relaxed = [name for name in rows.of(domain) if decl.method(name).sync_every > 1]
    settings = _grouped(
        relaxed, lambda name: (decl.method(name).sync_every, group_size(decl, scale, domain, decl.method(name)))
    )
    return [
        f"Relaxed protocol (B.2) for {rows.runs(domain, names)}: the sampler gets the new weights every {every} "
        f"updates, not after each, and makes {size} rollouts per prompt, not {usual}."
        for (every, size), names in settings.items()
    ]


def _length_notes(rows: Rows, domain: str) -> list[str]:
    """RL runs shorter than the domain's, whether the declaration or the scale makes them so."""
    budgets, usual = rows.budgets(domain), rows.results.decl.domains[domain].rl_steps
    shorter = _grouped((name for name in budgets if budgets[name] < SHORTER * usual), lambda name: budgets[name])
    return [
        f"Length of {rows.runs(domain, names)}: {steps:,} of the paper's steps; "
        f"in the {domain} domain, RL usually has {usual:,}."
        for steps, names in shorter.items()
    ]


OF_A_DOMAIN = (_identical_notes, _policy_notes, _expert_notes, _protocol_notes, _length_notes)
"""Notes on one domain: the first follows from its answers, the others from its declarations."""


def _confidence_notes(rows: Rows, domains: Sequence[str]) -> list[str]:
    """Methods of which nobody has published code: what is this project's choice in them."""
    said = []
    for method, name in rows.labels.items():
        mu = rows.results.decl.method(method).mu
        if mu is not None and mu.schedule == "gradient_norm":
            warmup = mu.warmup_steps if isinstance(mu.warmup_steps, dict) else dict.fromkeys(domains, mu.warmup_steps)
            steps = " and ".join(f"{warmup[domain]} steps of the paper ({domain})" for domain in domains)
            said.append(
                f"{name}: low confidence, for no code of it is public. γ = {mu.gamma:g} and a warm-up of one SFT "
                f"epoch, {steps}, are this project's choices."
            )
    return said


def _judge_notes(rows: Rows) -> list[str]:
    judged = dict.fromkeys(column.domain for column in rows.table.columns if column.value == SCORE)
    return [
        f"Judge of the {domain} domain: {', '.join(f'{key} {given[key]}' for key in JUDGE_SETTINGS if key in given)}."
        for domain in judged
        if (judge := rows.results.scale.domains[domain].judge) and (given := judge.given())
    ]


def _printed_notes(rows: Rows) -> list[str]:
    printed = {row["method"] for row in published_table(rows.table.name)}
    if not printed:
        return ["The paper has no such table."]
    said = []
    if any(cell.implied for _, _, cell in rows.cells):
        said.append("†: printed so, but the paper's own averages imply the value in parentheses.")
    place = rows.results.decl.experiments[rows.table.name].paper
    if not place.startswith("Table"):
        said.append(f"The paper has no such table: its numbers are read from the text of {place}.")
    if unprinted := [method for method in rows.labels if method not in printed]:
        said.append(f"Rows that the paper does not print: {rows.names(unprinted)}.")
    return said
