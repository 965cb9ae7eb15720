rule candidates:
    input:
        files=candidate_files,
        snap="results/{network}/snap/{level}/{device}.json",
        widths="results/{network}/widths/{level}.json",
    output:
        "results/candidates/{network}/{level}/{device}.json",
    log:
        "results/logs/candidates/{network}-{level}-{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        methods=selection("run/methods"),
        recipes=setting("students/recipes"),
        losses=selection("students/losses"),
        seeds=selection("run/seeds"),
        code=code("candidates"),
    script:
        "../workflow/scripts/candidates.py"


rule baselines:
    input:
        files=baseline_files,
    output:
        "results/candidates/{network}/baselines.json",
    log:
        "results/logs/baselines/{network}.log",
    conda:
        "../envs/study.yaml"
    params:
        methods=selection("run/methods"),
        densities=selection("deep_compression/densities"),
        seeds=selection("run/seeds"),
        code=code("baselines"),
    script:
        "../workflow/scripts/baselines.py"
