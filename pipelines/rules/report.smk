# Tables, figures (with their captions as JSON) and the page that shows them beside the paper's values.
HEADLINE = PLAN.declarations.experiments["headline"]
PUBLISHED = sorted(str(path) for path in Path("reports/published").glob("*.*"))


rule table:
    input:
        PUBLISHED,
        made=lambda wildcards: PLAN.ingredients(wildcards.table),
    output:
        multiext(f"{RESULTS}/report/tables/{{table}}", ".csv", ".md", ".tex"),
    log:
        f"{LOGS}/report/{{table}}.log",
    wildcard_constraints:
        table="|".join(PLAN.tables),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        results=lambda wildcards: RESULTS,
        seeds=list(PLAN.seeds),
        settings=lambda wildcards: PLAN.experiment_hash(wildcards.table),
        out=subpath(output[0], parent=True),
    message:
        "Report: {wildcards.table}"
    shell:
        "python -m reports.tables --table {wildcards.table} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


rule figure:
    input:
        lambda wildcards: PLAN.ingredients(wildcards.figure),
    output:
        multiext(f"{RESULTS}/report/figures/{{figure}}", ".png", ".svg", ".json"),
    log:
        f"{LOGS}/report/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(PLAN.figures),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        results=lambda wildcards: RESULTS,
        seeds=list(PLAN.seeds),
        settings=lambda wildcards: PLAN.experiment_hash(wildcards.figure),
        out=subpath(output[0], parent=True),
    message:
        "Report: {wildcards.figure}"
    shell:
        "python -m reports.figures --figure {wildcards.figure} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


rule site:
    input:
        PUBLISHED,
        "reports/claims.yaml",
        "reports/readings.yaml",
        "docs/fidelity.md",
        made=[path for experiment in HEADLINE for path in PLAN.report(experiment)],
    output:
        f"{RESULTS}/report/index.html",
    log:
        f"{LOGS}/report/site.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=500,
    params:
        scale=PLAN.scale.name,
        results=lambda wildcards: RESULTS,
        seeds=list(PLAN.seeds),
    message:
        "Report: the page with everything, beside the paper's printed values"
    shell:
        "python -m reports.site --scale {params.scale} --results {params.results} --seeds {params.seeds}"
        " --out {output} > {log} 2>&1"
