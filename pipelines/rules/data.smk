# Training, validation and benchmark data. A retrained policy's manifest stands for a new version of its world.


rule data:
    input:
        lambda wildcards: PLAN.shipped(wildcards.domain),
    output:
        prompts=f"{RESULTS}/data/{{domain}}/prompts.jsonl",
        expert=f"{RESULTS}/data/{{domain}}/expert.jsonl",
        validation=f"{RESULTS}/data/{{domain}}/validation.jsonl",
        manifest=f"{RESULTS}/data/{{domain}}/manifest.json",
    log:
        f"{LOGS}/data/{{domain}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        settings=lambda wildcards: PLAN.data_hash(wildcards.domain),
        out=subpath(output.manifest, parent=True),
    message:
        "Data: prompts, expert demonstrations and validation set of the {wildcards.domain} domain"
    shell:
        "python -m pipelines.data.sandbox --domain {wildcards.domain} --scale {params.scale} --out {params.out}"
        " > {log} 2>&1"


rule benchmarks:
    input:
        PLAN.shipped(*PLAN.scale.domains),
    output:
        directory(f"{RESULTS}/benchmarks"),
    log:
        f"{LOGS}/data/benchmarks.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    message:
        "Data: evaluation sets, each from its own seed and disjoint from the training data"
    shell:
        "python -m pipelines.data.sandbox --benchmarks --out {output} > {log} 2>&1"
