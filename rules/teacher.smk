rule teacher:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        network=imported_network,
    output:
        checkpoint="results/{network}/teacher/{seed}.safetensors",
        metrics="results/{network}/teacher/{seed}.csv",
    log:
        "results/logs/teacher/{network}-{seed}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        network=setting("networks/{network}"),
        epochs=setting("teacher/epochs"),
        recipe=setting("teacher/recipe"),
        tuned_lr=teacher_lr,
        device=training_device,
        code=code("teacher"),
    message:
        "Train the teacher of {wildcards.network}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/teacher.py"
