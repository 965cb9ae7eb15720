rule prune:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=f"results/{{network}}/teacher/{SEARCH_SEED}.safetensors",
        above=higher_state,
    output:
        checkpoint="results/{network}/{criterion}/{level}.safetensors",
        trajectory="results/{network}/{criterion}/{level}.csv",
        state="results/{network}/{criterion}/{level}.state",
    log:
        "results/logs/prune/{network}-{criterion}-{level}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        settings=setting("prune"),
        seed=SEARCH_SEED,
        device=training_device,
        code=code("prune"),
    script:
        "../workflow/scripts/prune.py"
