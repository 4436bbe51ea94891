# The whole reproduction. Targets: all or headline (default), everything, each table, figure and page (table1, figure6,
# cases, …), each method (chord_phi, …), regrade or regrade_<method>, retrain_policies, compare, phi_board, sensitivity,
# map.
# What exists is declared in pipelines/config (docs/declarations.md lists it); how it is made, in pipelines/rules.
from snakemake.utils import min_version

min_version("9.27")


configfile: "pipelines/config/workflow.yaml"


include: "pipelines/rules/common.smk"
include: "pipelines/rules/data.smk"
include: "pipelines/rules/policy.smk"
include: "pipelines/rules/train.smk"
include: "pipelines/rules/evaluate.smk"
include: "pipelines/rules/report.smk"


rule all:
    default_target: True
    input:
        f"{ASKED}/report/index.html",
        PLAN.files.headline_pruned,


rule headline:
    input:
        rules.all.input,


for target, files in PLAN.files.targets().items():

    rule:
        name:
            target
        input:
            files,


# Ends with how many verdicts are as they were, also where none had to be given again.
for target, files in PLAN.files.regrade_targets().items():

    rule:
        name:
            target
        input:
            files,
        log:
            f"{ASKED_LOGS}/{target}.log",
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            gpu=0,
            mem_mb=500,
            runtime=30,
        shell:
            "python -m evaluation.regraded {input} 2>&1 | tee {log}"


# These end with what they have written, also where it was there.
rule compare:
    input:
        rules.comparison.output[0],
    log:
        f"{ASKED_LOGS}/report/compare-shown.log",
    conda:
        "environment.yml"
    shell:
        "tee {log} < {input}"


rule sensitivity:
    input:
        rules.sensitivity_table.output[0],
    log:
        f"{ASKED_LOGS}/report/sensitivity-shown.log",
    conda:
        "environment.yml"
    shell:
        "tee {log} < {input}"


rule map:
    input:
        rules.help_map.output[0],
    log:
        f"{ASKED_LOGS}/report/map-shown.log",
    conda:
        "environment.yml"
    shell:
        "tee {log} < {input}"


rule phi_board:
    input:
        rules.ranking.output[0],
    log:
        f"{ASKED_LOGS}/report/phi_board-shown.log",
    conda:
        "environment.yml"
    shell:
        "tee {log} < {input}"


if workflow.is_main_process:
    try:
        call.begin(
            sys.argv,
            [rule.name for rule in workflow.rules],
            PLAN.files.regrade_targets(),
            PLAN.choice.compared,
            PLAN.reading,
        )
    except ValueError as error:
        raise WorkflowError(str(error)) from None
