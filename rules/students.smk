rule student:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher="results/{network}/teacher/{seed}.safetensors",
    output:
        checkpoint="results/{network}/students/{arch}/{recipe}-{loss}-{seed}.safetensors",
        metrics="results/{network}/students/{arch}/{recipe}-{loss}-{seed}.csv",
    log:
        "results/logs/student/{network}-{arch}-{recipe}-{loss}-{seed}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        widths=student_widths,
        epochs=setting("students/epochs"),
        recipe=setting("students/recipe"),
        alpha=setting("students/alpha"),
        temperature=setting("students/temperature"),
        attention_scale=setting("students/attention_scale"),
        device=training_device,
        code=code("student"),
    script:
        "../workflow/scripts/student.py"


rule tuned:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=f"results/{{network}}/teacher/{SEARCH_SEED}.safetensors",
        pruned="results/{network}/{criterion}/{level}.safetensors",
        trajectory="results/{network}/{criterion}/{level}.csv",
    output:
        checkpoint="results/{network}/students/{arch}/tuned-{criterion}-{level}-{seed}.safetensors",
        metrics="results/{network}/students/{arch}/tuned-{criterion}-{level}-{seed}.csv",
    log:
        "results/logs/tuned/{network}-{arch}-{criterion}-{level}-{seed}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        widths=student_widths,
        epochs=setting("students/epochs"),
        recipe=setting("students/recipe"),
        lr=setting("students/tuned_lr"),
        device=training_device,
        code=code("tuned"),
    script:
        "../workflow/scripts/tuned.py"
