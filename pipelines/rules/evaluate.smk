# Samples of every task, stored with their verdicts; the scores read from them; the same samples graded again.
#
# The graders' code is a parameter of the scores, not of the samples: who edits a grader grades again what is stored.


rule generate:
    input:
        lambda wildcards: PLAN.files.benchmark_sources(PLAN.choice.scale.domains[wildcards.domain].tasks),
        checkpoint=lambda wildcards: PLAN.files.complete_marker(PLAN.files.checkpoint(**wildcards)),
    output:
        directory(EVALUATION),
    log:
        f"{ASKED_LOGS}/generate/{{domain}}/{{method}}/seed{{seed}}.log",
    priority: lambda wildcards: PLAN.options.priority(wildcards.domain, wildcards.method)
    conda:
        ENVIRONMENT
    threads: PLAN.options.resources("generate")["threads"]
    resources:
        gpu=PLAN.options.resources("generate")["gpu"],
        mem_mb=PLAN.options.resources("generate")["mem_mb"],
        runtime=PLAN.options.resources("generate")["runtime"],
        disk_mb=PLAN.options.resources("generate")["disk_mb"],
    params:
        start=PLAN.options.start_sampling(),
        benchmarks=PLAN.files.benchmarks,
        results=lambda wildcards: RESULTS,
        scale=PLAN.choice.scale.asked_as,
        checkpoint=lambda wildcards: PLAN.files.checkpoint(**wildcards),
        settings=lambda wildcards: PLAN.hashes.tasks(wildcards.domain, wildcards.method),
        data=lambda wildcards: PLAN.options.questions(wildcards.domain),
    message:
        "Evaluate: {wildcards.method} on {wildcards.domain}, seed {wildcards.seed}, every task"
    shell:
        "{params.start} evaluation.generate --checkpoint {params.checkpoint} --domain {wildcards.domain}"
        " --method {wildcards.method} --scale {params.scale} --seed {wildcards.seed}"
        " --benchmarks {params.benchmarks} {params.data:q} --results {params.results} --out {output} > {log} 2>&1"


rule score:
    input:
        lambda wildcards: PLAN.files.benchmark_sources(PLAN.choice.scale.domains[wildcards.domain].tasks),
        samples=EVALUATION,
    output:
        f"{ASKED}/scores/{{domain}}/{{method}}/seed{{seed}}.parquet",
    log:
        f"{ASKED_LOGS}/score/{{domain}}/{{method}}/seed{{seed}}.log",
    priority: lambda wildcards: PLAN.options.priority(wildcards.domain, wildcards.method)
    conda:
        ENVIRONMENT
    # 12,032 answers of 40,000 characters, as the longest of the paper are, took 1.1 GB.
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        benchmarks=PLAN.files.benchmarks,
        data=lambda wildcards: PLAN.options.questions(wildcards.domain),
        graders=lambda wildcards: PLAN.hashes.graders(wildcards.domain),
    message:
        "Score: {wildcards.method} on {wildcards.domain}, seed {wildcards.seed}"
    shell:
        "{params.start} evaluation.score --samples {input.samples} --scale {params.scale} --domain {wildcards.domain}"
        " --method {wildcards.method} --seed {wildcards.seed} --benchmarks {params.benchmarks} {params.data:q}"
        " --out {output} > {log} 2>&1"


# Stored samples are read as they are: whatever else has changed, grading again neither trains nor samples.
# So a call that both samples and grades again may grade the samples from before it; the next call grades the new ones.
rule grade_again:
    input:
        lambda wildcards: PLAN.files.benchmark_sources([wildcards.task]),
        samples=stored_samples,
    output:
        verdicts=f"{REGRADED}.jsonl",
        summary=f"{REGRADED}.json",
    log:
        f"{ASKED_LOGS}/regrade/{{domain}}/{{method}}/seed{{seed}}/{{task}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=240,
    params:
        start=PLAN.options.start(),
        settings=lambda wildcards: PLAN.hashes.task(wildcards.domain, wildcards.task),
        data=lambda wildcards: PLAN.files.questions(wildcards.task),
        judge=lambda wildcards: PLAN.options.judge(wildcards.domain, wildcards.task),
        own=lambda wildcards: PLAN.options.own(wildcards.task),
    message:
        "Grade again: {wildcards.method} on {wildcards.task}, seed {wildcards.seed}"
    shell:
        "{params.start} evaluation.regrade {input.samples}/{wildcards.task}.jsonl --task {wildcards.task}"
        " --data {params.data:q} {params.own} {params.judge:q} --out {output.verdicts} > {output.summary}.part 2> {log}"
        " && mv {output.summary}.part {output.summary}"


# Makes the folder of the user's own questions a results folder of its own, with the scale's runs and data.
rule own_questions:
    output:
        f"{PLAN.files.results}/own/{{asked}}/questions.json",
    log:
        f"{PLAN.files.results}/own/{{asked}}/logs/questions.log",
    wildcard_constraints:
        asked="[0-9a-f]+",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        results=lambda wildcards: RESULTS,
        own=PLAN.options.own_questions(),
        out=subpath(output[0], parent=True),
    message:
        "Data: questions of your own"
    shell:
        "python -m pipelines.data.own_questions {params.own:q} --results {params.results} --out {params.out} > {log} 2>&1"
