rule student:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=teacher_of,
    output:
        checkpoint="results/{network}/students/{arch}/{recipe}-{loss}-{seed}.safetensors",
        metrics="results/{network}/students/{arch}/{recipe}-{loss}-{seed}.csv",
    log:
        "results/logs/student/{network}-{arch}-{recipe}-{loss}-{seed}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        widths=student_widths,
        epochs=setting("students/epochs"),
        recipe=setting("students/recipe"),
        loss=loss_settings,
        device=training_device,
        code=code("student"),
    message:
        "Train student {wildcards.arch} of {wildcards.network}: {wildcards.recipe}, loss {wildcards.loss}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/student.py"


rule tuned:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=search_teacher,
        pruned="results/{network}/{search}{criterion}/{level}.safetensors",
        trajectory="results/{network}/{search}{criterion}/{level}.csv",
    output:
        checkpoint="results/{network}/students/{arch}/{search}{recipe}-{criterion}-{level}-{loss}-{seed}.safetensors",
        metrics="results/{network}/students/{arch}/{search}{recipe}-{criterion}-{level}-{loss}-{seed}.csv",
    log:
        "results/logs/tuned/{search}{network}-{arch}-{recipe}-{criterion}-{level}-{loss}-{seed}.log",
    wildcard_constraints:
        recipe=one_of(OF_PRUNING),
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        widths=student_widths,
        epochs=setting("students/epochs"),
        recipe=setting("students/recipe"),
        lr=largest_lr,
        loss=loss_settings,
        device=training_device,
        code=code("tuned"),
    message:
        "Train student {wildcards.arch} of {wildcards.search}{wildcards.network}: {wildcards.recipe} after {wildcards.criterion} to {wildcards.level}, loss {wildcards.loss}, seed {wildcards.seed}"
    script:
        "../workflow/scripts/tuned.py"
