# Training, validation and benchmark data. Every file has a job of its own, so that another set of demonstrations makes
# no run of the other sets again. The manifest is written last, once it is sure that no question is in two splits.
# Which module writes a domain's data is the scale's `data`; stages of real data first read their sources (candidates).


rule candidates:
    input:
        lambda wildcards: PLAN.files.compared_with(wildcards.domain),
        policy=lambda wildcards: PLAN.files.complete_marker(PLAN.files.policy(wildcards.domain, "main")),
    output:
        f"{RESULTS}/data/{{domain}}/candidates.jsonl",
        f"{RESULTS}/data/{{domain}}/quarantine.jsonl",
        f"{RESULTS}/data/{{domain}}/sources.json",
    log:
        f"{LOGS}/data/{{domain}}/candidates.log",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=480,
    params:
        module=lambda wildcards: PLAN.choice.scale.domains[wildcards.domain].data,
        scale=PLAN.choice.scale.asked_as,
        settings=lambda wildcards: PLAN.hashes.candidates(wildcards.domain),
        options=lambda wildcards, input: PLAN.options.data(wildcards.domain),
        out=subpath(output[0], parent=True),
    message:
        "Data: rows of {params.module} that no filter leaves out"
    shell:
        "python -m pipelines.data.{params.module} --domain {wildcards.domain} --scale {params.scale}"
        " --file candidates.jsonl --out {params.out} {params.options:q} > {log} 2>&1"


rule data:
    input:
        lambda wildcards: PLAN.files.data_sources(wildcards.domain),
    output:
        f"{RESULTS}/data/{{domain}}/{{split}}.jsonl",
    log:
        f"{LOGS}/data/{{domain}}/{{split}}.log",
    wildcard_constraints:
        split="prompts|validation|expert(-[a-z0-9_]+)?",
    # Seconds each in the sandbox, and all else waits for them.
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=480,
    params:
        module=lambda wildcards: PLAN.choice.scale.domains[wildcards.domain].data,
        scale=PLAN.choice.scale.asked_as,
        settings=lambda wildcards: PLAN.hashes.split(wildcards.domain, f"{wildcards.split}.jsonl"),
        options=lambda wildcards, input: PLAN.options.data(wildcards.domain),
        out=subpath(output[0], parent=True),
    message:
        "Data: {wildcards.split} of the {wildcards.domain} domain"
    shell:
        "python -m pipelines.data.{params.module} --domain {wildcards.domain} --scale {params.scale}"
        " --file {wildcards.split}.jsonl --out {params.out} {params.options:q} > {log} 2>&1"


rule manifest:
    input:
        lambda wildcards: PLAN.files.data_sources(wildcards.domain),
        lambda wildcards: PLAN.files.data(wildcards.domain),
    output:
        f"{RESULTS}/data/{{domain}}/manifest.json",
    log:
        f"{LOGS}/data/{{domain}}/manifest.log",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=60,
    params:
        module=lambda wildcards: PLAN.choice.scale.domains[wildcards.domain].data,
        scale=PLAN.choice.scale.asked_as,
        options=lambda wildcards, input: PLAN.options.data(wildcards.domain),
        out=subpath(output[0], parent=True),
    message:
        "Data: check and describe the {wildcards.domain} domain"
    shell:
        "python -m pipelines.data.{params.module} --domain {wildcards.domain} --scale {params.scale}"
        " --file manifest.json --out {params.out} {params.options:q} > {log} 2>&1"


rule check_rows:
    input:
        lambda wildcards: PLAN.files.compared_with(wildcards.domain),
        data=lambda wildcards: PLAN.files.data_of(wildcards.domain, wildcards.expert),
    output:
        f"{RESULTS}/data/{{domain}}/checked-{{expert}}.json",
    log:
        f"{LOGS}/data/{{domain}}/checked-{{expert}}.log",
    wildcard_constraints:
        expert="[a-z0-9_]+",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=8000,
        runtime=60,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        benchmarks=PLAN.files.benchmarks,
        data=subpath(output[0], parent=True),
    message:
        "Data: check the rows of {wildcards.domain} that runs with the {wildcards.expert} expert read"
    shell:
        "{params.start} pipelines.data.check --domain {wildcards.domain} --scale {params.scale} --expert {wildcards.expert}"
        " --data {params.data} --benchmarks {params.benchmarks} --out {output} > {log} 2>&1"


rule benchmarks:
    output:
        directory(PLAN.files.benchmarks),
    log:
        f"{LOGS}/data/benchmarks.log",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        settings=PLAN.hashes.worlds(),
    message:
        "Data: evaluation sets, each from its own seed and disjoint from the training data"
    shell:
        "python -m pipelines.data.sandbox --benchmarks --out {output} > {log} 2>&1"


# Of the sandbox's questions alone: real data do not say what their expert knows beyond the policy.
rule novelty:
    input:
        lambda wildcards: PLAN.files.benchmark_sources(PLAN.choice.scale.domains[wildcards.domain].tasks),
    output:
        f"{RESULTS}/novelty/{{domain}}.json",
    log:
        f"{LOGS}/data/{{domain}}/novelty.log",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        scale=PLAN.choice.scale.asked_as,
        settings=lambda wildcards: PLAN.hashes.novelty(wildcards.domain),
        benchmarks=PLAN.files.benchmarks,
    message:
        "Data: how new questions of the {wildcards.domain} domain are to the policy"
    shell:
        "python -m pipelines.sandbox.novelty --domain {wildcards.domain} --scale {params.scale}"
        " --benchmarks {params.benchmarks} --out {output} > {log} 2>&1"


# The paper's own benchmarks, one at a time: from the hub at the task's pinned revision, or the user's file.
rule fetch:
    output:
        f"{PLAN.files.benchmarks}/{{task}}.jsonl",
    log:
        f"{LOGS}/data/{{task}}.log",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=60,
    params:
        settings=lambda wildcards: PLAN.hashes.benchmark(wildcards.task),
        data=lambda wildcards: PLAN.options.fetch(wildcards.task),
        out=subpath(output[0], parent=True),
    message:
        "Data: the questions of {wildcards.task}"
    shell:
        "python -m evaluation.fetch --task {wildcards.task} {params.data:q} --out {params.out} > {log} 2>&1"


use rule fetch as fetch_folder with:
    output:
        directory(f"{PLAN.files.benchmarks}/{{task}}"),
