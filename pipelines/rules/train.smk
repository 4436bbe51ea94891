# One job per run. A run depends on its starting checkpoint, its domain's prompts, its own set of demonstrations and its
# own configuration, which it gets as a hash: another method's entry cannot touch it. Of the code, it depends on what
# decides its numbers: who edits a phi trains the methods that have it again, and no other.
#
# run.json is written last and is the only output. Snakemake removes the outputs of a job that fails or is killed;
# best/, metrics.jsonl, validation.jsonl and state/ lie beside it, undeclared, so that a run resumes from its state.


rule train:
    input:
        start=lambda wildcards: PLAN.files.complete_marker(PLAN.files.initial_checkpoint(**wildcards)),
        # Ancient: rows that have changed are inputs themselves.
        checked=ancient(lambda wildcards: PLAN.files.checked(wildcards.domain, wildcards.run)),
        data=lambda wildcards: PLAN.files.run_data(wildcards.domain, wildcards.run),
    output:
        f"{RUN}/run.json",
    log:
        f"{LOGS}/train/{{domain}}/{{run}}/seed{{seed}}.log",
    priority: lambda wildcards: PLAN.options.train_priority(wildcards.domain, wildcards.run)
    conda:
        ENVIRONMENT
    threads: lambda wildcards: PLAN.options.train_resources(wildcards.domain, wildcards.run)["threads"]
    resources:
        gpu=lambda wildcards: PLAN.options.train_resources(wildcards.domain, wildcards.run)["gpu"],
        mem_mb=lambda wildcards: PLAN.options.train_resources(wildcards.domain, wildcards.run)["mem_mb"],
        runtime=PLAN.options.resources("train")["runtime"],
        disk_mb=PLAN.options.resources("train")["disk_mb"],
    params:
        start=lambda wildcards: PLAN.options.start_training(wildcards.domain, wildcards.run),
        scale=PLAN.choice.scale.asked_as,
        config_hash=lambda wildcards: PLAN.hashes.run(**wildcards),
        code=lambda wildcards: PLAN.hashes.run_code(**wildcards),
        checkpoint=lambda wildcards: PLAN.files.initial_checkpoint(**wildcards),
        data=lambda wildcards, input: Path(input.data[0]).parent,
        results=lambda wildcards: RESULTS,
        out=subpath(output[0], parent=True),
    message:
        "Train: {wildcards.run} on {wildcards.domain}, seed {wildcards.seed}"
    shell:
        "{params.start} reference_impl.train --run {wildcards.run} --domain {wildcards.domain} --scale {params.scale}"
        " --seed {wildcards.seed} --policy {params.checkpoint} --data {params.data} --results {params.results} --out {params.out}"
        " --config-hash {params.config_hash} 2>&1 | tee {log}"


rule select:
    input:
        lambda wildcards: PLAN.files.selection_candidates(**wildcards),
    output:
        f"{SELECTION}/run.json",
    log:
        f"{LOGS}/select/{{domain}}/{{selection}}/seed{{seed}}.log",
    priority: lambda wildcards: 1 + PLAN.options.priority(wildcards.domain, wildcards.selection)
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.name,
        settings=lambda wildcards: PLAN.hashes.selection(wildcards.selection),
        runs=lambda wildcards, input: [str(Path(record).parent) for record in input],
        out=subpath(output[0], parent=True),
    message:
        "Select: {wildcards.selection} on {wildcards.domain}, seed {wildcards.seed}, by validation accuracy"
    shell:
        "{params.start} reference_impl.select --method {wildcards.selection} --domain {wildcards.domain}"
        " --scale {params.scale} --seed {wildcards.seed} --runs {params.runs} --out {params.out} > {log} 2>&1"


# Only where the scale keeps `selected` checkpoints: every selection from the grid has copied its own by then.
rule prune:
    input:
        lambda wildcards: PLAN.files.selections_from(**wildcards),
    output:
        f"{RESULTS}/pruned/{{domain}}/{{grid}}/seed{{seed}}.json",
    log:
        f"{LOGS}/prune/{{domain}}/{{grid}}/seed{{seed}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        runs=lambda wildcards: PLAN.files.grid_folders(**wildcards),
        selections=lambda wildcards, input: [str(Path(record).parent) for record in input],
        results=lambda wildcards: RESULTS,
    message:
        "Prune: checkpoints of {wildcards.grid} on {wildcards.domain}, seed {wildcards.seed}, that nothing needs"
    shell:
        "python -m pipelines.ops.prune --runs {params.runs} --selections {params.selections}"
        " --results {params.results} --out {output} > {log} 2>&1"


# A target of its own: what it writes decides nothing until it is copied to pipelines/config/tuned, as it says itself.
rule tune:
    input:
        PLAN.files.tuning_records(),
    output:
        f"{RESULTS}/tuned.json",
    log:
        f"{LOGS}/tune.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        scale=PLAN.choice.scale.name,
        runs=lambda wildcards, input: [str(Path(record).parent) for record in input],
    message:
        "Tune: every method's learning rate, by validation accuracy with a seed of its own"
    shell:
        "python -m reference_impl.tune --scale {params.scale} --runs {params.runs} --out {output} 2>&1 | tee {log}"
