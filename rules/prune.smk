rule prune:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=f"results/{{network}}/teacher/{SEARCH_SEED}.safetensors",
    output:
        trajectory="results/{network}/fisher/trajectory.csv",
        levels=expand("results/{{network}}/fisher/{level}.safetensors", level=LEVELS),
    log:
        "results/logs/prune/{network}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        settings=setting("prune"),
        levels=selection("run/levels"),
        seed=SEARCH_SEED,
        device=training_device,
        code=code("prune"),
    script:
        "../workflow/scripts/prune.py"
