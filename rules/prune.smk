rule prune:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=search_teacher,
        above=higher_state,
    output:
        checkpoint="results/{network}/{search}{criterion}/{level}.safetensors",
        trajectory="results/{network}/{search}{criterion}/{level}.csv",
        state="results/{network}/{search}{criterion}/{level}.state",
    log:
        "results/logs/prune/{search}{network}-{criterion}-{level}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        settings=setting("prune"),
        seed=search_seed,
        asked=is_asked,
        device=training_device,
        code=code("prune"),
    message:
        "Prune {wildcards.search}{wildcards.network} to level {wildcards.level}, criterion {wildcards.criterion}"
    script:
        "../workflow/scripts/prune.py"
