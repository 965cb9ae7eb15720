rule widths:
    input:
        pruned="results/{network}/fisher/{level}.safetensors",
    output:
        "results/{network}/widths/{level}.json",
    log:
        "results/logs/widths/{network}-{level}.log",
    conda:
        "../envs/study.yaml"
    params:
        seed=SEARCH_SEED,
        groups=setting("prune/groups"),
        counting=setting("prune/count"),
        code=code("widths"),
    script:
        "../workflow/scripts/widths.py"


checkpoint baseline_widths:
    input:
        pruned=pruned_baseline,
    output:
        "results/{network}/widths/{method}/{level}.json",
    log:
        "results/logs/baseline_widths/{network}-{method}-{level}.log",
    conda:
        "../envs/study.yaml"
    params:
        groups=setting("prune/groups"),
        counting=setting("prune/count"),
        code=code("baseline_widths"),
    script:
        "../workflow/scripts/baseline_widths.py"
