# One job per run. A run depends on its starting checkpoint, its domain's prompts, its own set of demonstrations and its
# own configuration, which it gets as a hash: another method's entry cannot touch it.
#
# run.json is written last and is the only output. Snakemake removes the outputs of a job that fails or is killed;
# best/, metrics.jsonl, validation.jsonl and state/ lie beside it, undeclared, so that a run resumes from its state.


rule train:
    input:
        start=lambda wildcards: PLAN.whole(PLAN.start(**wildcards)),
        data=lambda wildcards: PLAN.run_data(wildcards.domain, wildcards.run),
    output:
        f"{RUN}/run.json",
    log:
        f"{LOGS}/train/{{domain}}/{{run}}/seed{{seed}}.log",
    # Before evaluations: runs are long and start from one another, evaluations fill the gaps. The headline first.
    priority: lambda wildcards: 1 + PLAN.urgency(wildcards.domain, wildcards.run)
    conda:
        "../../environment.yml"
    threads: PLAN.resources("train")["threads"]
    resources:
        gpu=PLAN.resources("train")["gpu"],
        mem_mb=PLAN.resources("train")["mem_mb"],
        runtime=PLAN.resources("train")["runtime"],
    params:
        # What the scale says, not what Snakemake may have clipped it to.
        gpu=PLAN.resources("train")["gpu"],
        launcher=PLAN.launcher("train"),
        scale=PLAN.scale.name,
        config_hash=lambda wildcards: PLAN.run_hash(**wildcards),
        start=lambda wildcards: PLAN.start(**wildcards),
        data=lambda wildcards, input: Path(input.data[0]).parent,
        out=subpath(output[0], parent=True),
    message:
        "Train: {wildcards.run} on {wildcards.domain}, seed {wildcards.seed}"
    shell:
        "python -m pipelines.ops.gpu_lease --gpu {params.gpu} -- {params.launcher} reference_impl.train"
        " --run {wildcards.run} --domain {wildcards.domain} --scale {params.scale}"
        " --seed {wildcards.seed} --policy {params.start} --data {params.data} --out {params.out}"
        " --config-hash {params.config_hash} 2>&1 | tee {log}"


rule select:
    input:
        lambda wildcards: PLAN.candidates(**wildcards),
    output:
        f"{SELECTION}/run.json",
    log:
        f"{LOGS}/select/{{domain}}/{{selection}}/seed{{seed}}.log",
    priority: lambda wildcards: 1 + PLAN.urgency(wildcards.domain, wildcards.selection)
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        scale=PLAN.scale.name,
        settings=lambda wildcards: PLAN.selection_hash(wildcards.selection),
        runs=lambda wildcards, input: [str(Path(record).parent) for record in input],
        out=subpath(output[0], parent=True),
    message:
        "Select: {wildcards.selection} on {wildcards.domain}, seed {wildcards.seed}, by validation accuracy"
    shell:
        "python -m reference_impl.select --method {wildcards.selection} --domain {wildcards.domain}"
        " --scale {params.scale} --seed {wildcards.seed} --runs {params.runs} --out {params.out} > {log} 2>&1"


# Only where the scale keeps `selected` checkpoints: every selection from the grid has copied its own by then.
rule prune:
    input:
        lambda wildcards: PLAN.choices(**wildcards),
    output:
        f"{RESULTS}/pruned/{{domain}}/{{grid}}/seed{{seed}}.json",
    log:
        f"{LOGS}/prune/{{domain}}/{{grid}}/seed{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        runs=lambda wildcards: PLAN.grid_folders(**wildcards),
        selections=lambda wildcards, input: [str(Path(record).parent) for record in input],
    message:
        "Prune: checkpoints of {wildcards.grid} on {wildcards.domain}, seed {wildcards.seed}, that nothing needs"
    shell:
        "python -m pipelines.ops.prune --runs {params.runs} --selections {params.selections} --out {output} > {log} 2>&1"
