# Samples of every task, stored with their verdicts, and the scores read from them.


rule generate:
    input:
        checkpoint=lambda wildcards: PLAN.whole(PLAN.checkpoint(**wildcards)),
        benchmarks=f"{RESULTS}/benchmarks",
    output:
        directory(EVALUATION),
    log:
        f"{LOGS}/generate/{{domain}}/{{method}}/seed{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    params:
        scale=PLAN.scale.name,
        checkpoint=lambda wildcards: PLAN.checkpoint(**wildcards),
        settings=lambda wildcards: PLAN.tasks_hash(wildcards.domain),
    message:
        "Evaluate: {wildcards.method} on {wildcards.domain}, seed {wildcards.seed}, every task"
    shell:
        "python -m evaluation.generate --checkpoint {params.checkpoint} --domain {wildcards.domain}"
        " --method {wildcards.method} --scale {params.scale} --seed {wildcards.seed}"
        " --benchmarks {input.benchmarks} --out {output} > {log} 2>&1"


rule score:
    input:
        EVALUATION,
    output:
        f"{RESULTS}/scores/{{domain}}/{{method}}/seed{{seed}}.parquet",
    log:
        f"{LOGS}/score/{{domain}}/{{method}}/seed{{seed}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    message:
        "Score: {wildcards.method} on {wildcards.domain}, seed {wildcards.seed}"
    shell:
        "python -m evaluation.score --samples {input} --domain {wildcards.domain} --method {wildcards.method}"
        " --seed {wildcards.seed} --out {output} > {log} 2>&1"
