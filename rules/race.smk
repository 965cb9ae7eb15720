# Hold no board: contestants that were timed in `snap` are trained for some hundred steps, and the better half runs on.
rule race_lap:
    input:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        teacher=search_teacher,
        pruned="results/{network}/{search}fisher/{level}.safetensors",
        trajectory="results/{network}/{search}fisher/{level}.csv",
        before=lap_before,
    output:
        "results/{network}/{search}race/{level}/{arch}-{rung}.safetensors",
    log:
        "results/logs/race_lap/{search}{network}-{level}-{arch}-{rung}.log",
    conda:
        "../envs/study.yaml"
    threads: 1
    resources:
        gpu=training_gpus,
    params:
        widths=student_widths,
        steps=setting("race/steps"),
        recipe=setting("students/recipe"),
        lr=setting("students/tuned_lr"),
        loss=race_loss,
        seed=search_seed,
        device=training_device,
        code=code("race_lap"),
    message:
        "Train contestant {wildcards.arch} of the race for {wildcards.search}{wildcards.network}, level {wildcards.level}, rung {wildcards.rung}"
    script:
        "../workflow/scripts/race_lap.py"


checkpoint race:
    input:
        before=before_race,
        laps=race_laps,
        snap="results/{network}/{search}snap/{level}/{device}.json",
    output:
        "results/{network}/{search}race/{level}/{device}/{rung}.json",
    log:
        "results/logs/race/{search}{network}-{level}-{device}-{rung}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        rungs=setting("race/rungs"),
        code=code("race"),
    message:
        "Keep the better contestants of rung {wildcards.rung} on {wildcards.device} for {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/race.py"


rule race_table:
    input:
        RACE_RESULTS,
    output:
        report(
            "results/devices/{device}/race.csv",
            caption="../workflow/report/race.rst",
            category="2 Why",
            subcategory="{device}",
            labels={"result": "2 how the races ended (table)"},
        ),
    log:
        "results/logs/race_table/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("race_table"),
    message:
        "Tabulate the races on {wildcards.device}"
    script:
        "../workflow/scripts/race_table.py"
