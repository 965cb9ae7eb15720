rule deep_compression:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        trained=uncompressed,
    output:
        compressed="results/{network}/{compressed}-{seed}.hakdc",
        facts="results/{network}/{compressed}-{seed}.json",
    log:
        "results/logs/deep_compression/{network}/{compressed}-{seed}.log",
    wildcard_constraints:
        compressed=compressed_by("deep_compression", "deep_compression_paper", suffix="coded"),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        density=density,
        settings=compression_settings,
        recipe=setting("deep_compression/recipe"),
        device=training_device,
        code=code("deep_compression"),
    message:
        "Compress {wildcards.network}/{wildcards.compressed} by Deep Compression, seed {wildcards.seed}"
    script:
        "../workflow/scripts/deep_compression.py"


rule weight_pruning:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        trained=uncompressed,
    output:
        compressed="results/{network}/{compressed}-{seed}.hakdc",
        facts="results/{network}/{compressed}-{seed}.json",
    log:
        "results/logs/weight_pruning/{network}/{compressed}-{seed}.log",
    wildcard_constraints:
        compressed=compressed_by("weight_pruning"),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        density=density,
        settings=pruning_settings,
        recipe=setting("deep_compression/recipe"),
        device=training_device,
        code=code("weight_pruning"),
    message:
        "Prune the weights of {wildcards.network}: {wildcards.compressed}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/weight_pruning.py"


rule ternary:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        trained=uncompressed,
    output:
        compressed="results/{network}/{compressed}-{seed}.hakdc",
        facts="results/{network}/{compressed}-{seed}.json",
    log:
        "results/logs/ternary/{network}/{compressed}-{seed}.log",
    wildcard_constraints:
        compressed=compressed_by("ternary", suffix="ternary"),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        settings=setting("ternary/quantisation"),
        recipe=setting("ternary/recipe"),
        device=training_device,
        code=code("ternary"),
    message:
        "Make {wildcards.network}/{wildcards.compressed} ternary, seed {wildcards.seed}"
    script:
        "../workflow/scripts/ternary.py"
