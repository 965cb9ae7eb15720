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
        code=code("widths"),
    script:
        "../workflow/scripts/widths.py"
