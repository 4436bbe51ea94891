# Training, validation and benchmark data. Every file has a job of its own, so that another set of demonstrations makes
# no run of the other sets again. The manifest is written last, once it is sure that no question is in two splits.


rule data:
    output:
        f"{RESULTS}/data/{{domain}}/{{split}}.jsonl",
    log:
        f"{LOGS}/data/{{domain}}/{{split}}.log",
    wildcard_constraints:
        split="[a-z-]+",
    # Seconds each, and all else waits for them.
    priority: 30
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        settings=lambda wildcards: PLAN.split_hash(wildcards.domain, f"{wildcards.split}.jsonl"),
        out=subpath(output[0], parent=True),
    message:
        "Data: {wildcards.split} of the {wildcards.domain} domain"
    shell:
        "python -m pipelines.data.sandbox --domain {wildcards.domain} --scale {params.scale}"
        " --file {wildcards.split}.jsonl --out {params.out} > {log} 2>&1"


rule manifest:
    input:
        lambda wildcards: PLAN.data_files(wildcards.domain),
    output:
        f"{RESULTS}/data/{{domain}}/manifest.json",
    log:
        f"{LOGS}/data/{{domain}}/manifest.log",
    priority: 30
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        out=subpath(output[0], parent=True),
    message:
        "Data: check and describe the {wildcards.domain} domain"
    shell:
        "python -m pipelines.data.sandbox --domain {wildcards.domain} --scale {params.scale}"
        " --file manifest.json --out {params.out} > {log} 2>&1"


rule benchmarks:
    output:
        directory(f"{RESULTS}/benchmarks"),
    log:
        f"{LOGS}/data/benchmarks.log",
    priority: 30
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        settings=PLAN.worlds_hash(),
    message:
        "Data: evaluation sets, each from its own seed and disjoint from the training data"
    shell:
        "python -m pipelines.data.sandbox --benchmarks --out {output} > {log} 2>&1"
