# The policies that methods start from: shipped with the repository, and how they were made.
POLICY_FILES = [
    "manifest.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
POLICIES = PLAN.policies


rule policy:
    input:
        weights="pipelines/sandbox/policies/{policy}/model.safetensors",
        manifest="pipelines/sandbox/policies/{policy}/manifest.json",
    output:
        expand(f"{RESULTS}/policies/{{{{policy}}}}/{{file}}", file=POLICY_FILES),
    log:
        f"{LOGS}/policy/{{policy}}.log",
    priority: 30
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    params:
        out=subpath(output[0], parent=True),
    message:
        "Policy: check and install {wildcards.policy}"
    shell:
        "python -m pipelines.sandbox.install_policy --policy {wildcards.policy} --out {params.out} > {log} 2>&1"


rule retrain_policy:
    output:
        directory(f"{RESULTS}/retrained/{{policy}}"),
    log:
        f"{LOGS}/retrain/{{policy}}.log",
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
    message:
        "Policy: train {wildcards.policy} from nothing (the shipped weights stay as they are)"
    shell:
        "python -m pipelines.sandbox.pretrain --policy {wildcards.policy} --out {output} 2>&1 | tee {log}"


rule retrain_policies:
    input:
        expand(f"{RESULTS}/retrained/{{policy}}", policy=POLICIES),
