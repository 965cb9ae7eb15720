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
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        density=density,
        settings=setting("deep_compression/compression"),
        recipe=setting("deep_compression/recipe"),
        device=training_device,
        code=code("deep_compression"),
    message:
        "Compress {wildcards.network}/{wildcards.compressed} by Deep Compression, seed {wildcards.seed}"
    script:
        "../workflow/scripts/deep_compression.py"
