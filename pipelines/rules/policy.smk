# The policies that methods start from: the sandbox's, which the repository ships, and how they were made; models on the
# hub, or folders of the user's.
POLICY_FILES = [
    "manifest.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
]
SANDBOX_POLICIES = [
    name
    for name in PLAN.choice.policies
    if name not in PLAN.choice.hub_policies and name not in PLAN.choice.random_policies
]


rule policy:
    input:
        weights="pipelines/sandbox/policies/{policy}/model.safetensors",
        manifest="pipelines/sandbox/policies/{policy}/manifest.json",
    output:
        expand(f"{RESULTS}/policies/{{{{policy}}}}/{{file}}", file=POLICY_FILES),
    log:
        f"{LOGS}/policy/{{policy}}.log",
    wildcard_constraints:
        policy="|".join(SANDBOX_POLICIES) or "none",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=1500,
        runtime=30,
    params:
        start=PLAN.options.start(),
        out=subpath(output[0], parent=True),
    message:
        "Policy: check and install {wildcards.policy}"
    shell:
        "{params.start} pipelines.policy.shipped --policy {wildcards.policy} --out {params.out} > {log} 2>&1"


# The manifest is written last and is the only output: it lists all other files with their SHA-256.
rule hub_policy:
    output:
        f"{RESULTS}/policies/{{policy}}/manifest.json",
    log:
        f"{LOGS}/policy/{{policy}}.log",
    wildcard_constraints:
        policy="|".join(PLAN.choice.hub_policies) or "none",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=480,
    params:
        settings=lambda wildcards: PLAN.hashes.policy(wildcards.policy),
        source=lambda wildcards: PLAN.options.policy(wildcards.policy),
        out=subpath(output[0], parent=True),
    message:
        "Policy: bring {wildcards.policy}"
    shell:
        "python -m pipelines.policy.from_hub --model {wildcards.policy} {params.source:q} --out {params.out} > {log} 2>&1"


rule random_policy:
    output:
        f"{RESULTS}/policies/{{policy}}/manifest.json",
    log:
        f"{LOGS}/policy/{{policy}}.log",
    wildcard_constraints:
        policy="|".join(PLAN.choice.random_policies) or "none",
    priority: 30
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=4000,
        runtime=30,
    params:
        settings=lambda wildcards: PLAN.hashes.policy(wildcards.policy),
        out=subpath(output[0], parent=True),
    message:
        "Policy: make {wildcards.policy} with random weights"
    shell:
        "python -m pipelines.policy.random_weights --model {wildcards.policy} --out {params.out} > {log} 2>&1"


rule retrain_policy:
    output:
        directory(f"{RESULTS}/retrained/{{policy}}"),
    log:
        f"{LOGS}/retrain/{{policy}}.log",
    wildcard_constraints:
        policy="[a-z0-9-]+",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        gpu=0,
        mem_mb=1500,
        runtime=600,
    message:
        "Policy: train {wildcards.policy} from nothing (the shipped weights stay as they are)"
    shell:
        "python -m pipelines.sandbox.pretrain --policy {wildcards.policy} --out {output} 2>&1 | tee {log}"


rule retrain_policies:
    input:
        expand(f"{RESULTS}/retrained/{{policy}}", policy=SANDBOX_POLICIES),
