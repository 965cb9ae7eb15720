rule widths:
    input:
        pruned="results/{network}/{search}fisher/{level}.safetensors",
    output:
        "results/{network}/{search}widths/{level}.json",
    log:
        "results/logs/widths/{search}{network}-{level}.log",
    conda:
        "../envs/study.yaml"
    params:
        seed=search_seed,
        groups=setting("prune/groups"),
        counting=setting("prune/count"),
        code=code("widths"),
    message:
        "Choose widths without a device for {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/widths.py"


checkpoint baseline_widths:
    input:
        pruned=pruned_baseline,
    output:
        "results/{network}/{search}widths/{method}/{level}.json",
    log:
        "results/logs/baseline_widths/{search}{network}-{method}-{level}.log",
    conda:
        "../envs/study.yaml"
    params:
        groups=setting("prune/groups"),
        counting=setting("prune/count"),
        code=code("baseline_widths"),
    message:
        "Choose widths by {wildcards.method} for {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/baseline_widths.py"
