rule deep_compression:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher="results/{network}/teacher/{seed}.safetensors",
    output:
        compressed="results/{network}/deep_compression/{density}-{seed}.hakdc",
        facts="results/{network}/deep_compression/{density}-{seed}.json",
    log:
        "results/logs/deep_compression/{network}-{density}-{seed}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        settings=setting("deep_compression/compression"),
        recipe=setting("deep_compression/recipe"),
        device=training_device,
        code=code("deep_compression"),
    script:
        "../workflow/scripts/deep_compression.py"
