# Tables, figures (with their captions as JSON), pages, and the page that shows all beside the paper's values. `report`
# marks what Snakemake's own report takes: `snakemake --report out.html`.
PUBLISHED = sorted(str(path) for path in Path("reports/published").glob("*.*"))


rule table:
    input:
        PUBLISHED,
        made=lambda wildcards: PLAN.files.report_sources(wildcards.table),
    output:
        report(
            f"{ASKED}/report/tables/{{table}}.csv",
            caption="captions/table.rst",
            category="Tables",
            labels={"table": "{table}"},
        ),
        multiext(f"{ASKED}/report/tables/{{table}}", ".md", ".tex", ".json"),
    log:
        f"{ASKED_LOGS}/report/{{table}}.log",
    wildcard_constraints:
        table="|".join(PLAN.choice.experiments("table")),
    priority: lambda wildcards: 10 if wildcards.table in PLAN.choice.headline else 0
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        settings=lambda wildcards: PLAN.hashes.experiment(wildcards.table),
        out=subpath(output[0], parent=True),
    message:
        "Report: {wildcards.table}"
    shell:
        "{params.start} reports.tables --table {wildcards.table} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


rule figure:
    input:
        lambda wildcards: PLAN.files.report_sources(wildcards.figure),
    output:
        report(
            f"{ASKED}/report/figures/{{figure}}.svg",
            caption="captions/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        multiext(f"{ASKED}/report/figures/{{figure}}", ".png", ".json", ".csv"),
    log:
        f"{ASKED_LOGS}/report/{{figure}}.log",
    wildcard_constraints:
        figure="|".join(PLAN.choice.experiments("figure")),
    priority: lambda wildcards: 10 if wildcards.figure in PLAN.choice.headline else 0
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        settings=lambda wildcards: PLAN.hashes.experiment(wildcards.figure),
        out=subpath(output[0], parent=True),
    message:
        "Report: {wildcards.figure}"
    shell:
        "{params.start} reports.figures --figure {wildcards.figure} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


# Every φ on one demonstration's tokens, with the probabilities of the policy that training starts from.
rule phi_tokens:
    input:
        data=lambda wildcards: PLAN.files.data_of(wildcards.domain, "main")[-1],
        policy=lambda wildcards: PLAN.files.complete_marker(PLAN.files.policy(wildcards.domain, "main")),
    output:
        f"{RESULTS}/phi/{{domain}}.json",
    log:
        f"{LOGS}/phi/{{domain}}.log",
    conda:
        ENVIRONMENT
    threads: PLAN.options.resources("generate")["threads"]
    resources:
        gpu=PLAN.options.resources("generate")["gpu"],
        mem_mb=PLAN.options.resources("generate")["mem_mb"],
        runtime=PLAN.options.resources("generate")["runtime"],
    params:
        start=PLAN.options.start_sampling(),
        scale=PLAN.choice.scale.asked_as,
        policy=subpath(input.policy, parent=True),
        data=subpath(input.data, parent=True),
    message:
        "φ on a demonstration: {wildcards.domain}"
    shell:
        "{params.start} evaluation.phi_tokens --policy {params.policy} --domain {wildcards.domain} --scale {params.scale}"
        " --data {params.data} --out {output} > {log} 2>&1"


rule phi_figure:
    input:
        f"{RESULTS}/phi/{{domain}}.json",
        runs=lambda wildcards: PLAN.files.phi_sources(wildcards.domain),
    output:
        report(
            f"{ASKED}/report/figures/phi-{{domain}}.svg",
            caption="captions/phi.rst",
            category="Figures",
            labels={"figure": "phi-{domain}"},
        ),
        multiext(f"{ASKED}/report/figures/phi-{{domain}}", ".png", ".json", ".csv"),
    log:
        f"{ASKED_LOGS}/report/phi-{{domain}}.log",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        out=subpath(output[0], parent=True),
    message:
        "Report: what φ does in {wildcards.domain}"
    shell:
        "{params.start} reports.phi_figure --domain {wildcards.domain} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


rule case_page:
    input:
        lambda wildcards: PLAN.files.report_sources(wildcards.case_page),
    output:
        html=f"{ASKED}/report/{{case_page}}.html",
        csv=f"{ASKED}/report/{{case_page}}.csv",
    log:
        f"{ASKED_LOGS}/report/{{case_page}}.log",
    wildcard_constraints:
        case_page="|".join(PLAN.choice.experiments("page")) or "none",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        settings=lambda wildcards: PLAN.hashes.experiment(wildcards.case_page),
    message:
        "Report: {wildcards.case_page}"
    shell:
        "{params.start} reports.cases --scale {params.scale} --results {params.results} --seeds {params.seeds}"
        " --out {output.html} > {log} 2>&1"


rule comparison:
    input:
        PLAN.files.comparison_sources(),
    output:
        multiext(f"{ASKED}/report/compare", ".md", ".json"),
        report(
            f"{ASKED}/report/compare.csv", caption="captions/compare.rst", category="Yours", labels={"what": "table"}
        ),
        f"{ASKED}/report/figures/compare.png",
        report(
            f"{ASKED}/report/figures/compare.svg",
            caption="captions/compare.rst",
            category="Yours",
            labels={"what": "figure"},
        ),
    log:
        f"{ASKED_LOGS}/report/compare.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        methods=list(PLAN.choice.compared),
        settings=PLAN.hashes.labels(PLAN.choice.compared),
        out=subpath(output[0], parent=True),
    message:
        "Report: compare {params.methods}"
    shell:
        "{params.start} reports.against --methods {params.methods} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


rule ranking:
    input:
        PLAN.files.board_sources(),
    output:
        multiext(f"{ASKED}/report/phi_board", ".md", ".json"),
    log:
        f"{ASKED_LOGS}/report/phi_board.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        boards=PLAN.options.boards(),
        settings=PLAN.hashes.labels(
            name for groups in PLAN.choice.boards.values() for names in groups for name in names
        ),
        out=subpath(output[0], parent=True),
    message:
        "Report: every phi, ranked"
    shell:
        "{params.start} reports.phi_board {params.boards} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


# What the paper leaves open, read otherwise: each reading's methods against themselves as they are read here.
rule sensitivity_table:
    input:
        PLAN.files.sensitivity_sources(),
    output:
        multiext(f"{ASKED}/report/sensitivity", ".md", ".csv", ".html"),
    log:
        f"{ASKED_LOGS}/report/sensitivity.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        settings=PLAN.hashes.readings(),
        out=subpath(output[0], parent=True),
    message:
        "Report: what each reading changes"
    shell:
        "{params.start} reports.sensitivity --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {params.out} > {log} 2>&1"


# When does CHORD help: by how new a question is and by how many demonstrations there are, and over a family of φ.
rule help_map:
    input:
        PLAN.files.map_sources(),
    output:
        PLAN.files.map_files(),
    log:
        f"{ASKED_LOGS}/report/map.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        gpu=0,
        mem_mb=1000,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        settings=PLAN.hashes.map(),
        novelty=PLAN.options.novelty(),
        out=subpath(output[0], parent=True),
    message:
        "Report: when does CHORD help"
    shell:
        "{params.start} reports.when --scale {params.scale} --results {params.results} --seeds {params.seeds}"
        " {params.novelty} --out {params.out} > {log} 2>&1"


rule site:
    input:
        PUBLISHED,
        "reports/claims.yaml",
        "docs/fidelity.md",
        made=lambda wildcards: PLAN.files.page_sources(wildcards.page),
    output:
        html=f"{ASKED}/report/{{page}}.html",
        samples=directory(f"{ASKED}/report/{{page}}_samples"),
    log:
        f"{ASKED_LOGS}/report/{{page}}.log",
    wildcard_constraints:
        page="|".join(PAGES),
    # The page that the default target makes comes before the jobs of everything else.
    priority: lambda wildcards: 20 if PAGES[wildcards.page] == "headline" else 0
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        start=PLAN.options.start(),
        scale=PLAN.choice.scale.asked_as,
        results=lambda wildcards: ASKED,
        seeds=list(PLAN.choice.seeds),
        shown=lambda wildcards: PAGES[wildcards.page],
        yours=PLAN.hashes.comparison(ASKED),
    message:
        "Report: the page of {params.shown}, beside the paper's printed values"
    shell:
        "{params.start} reports.site --page {params.shown} --scale {params.scale} --results {params.results}"
        " --seeds {params.seeds} --out {output.html} > {log} 2>&1"
