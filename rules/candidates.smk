rule candidates:
    input:
        files=candidate_files,
        snap="results/{network}/{search}snap/{level}/{device}.json",
        widths="results/{network}/{search}widths/{level}.json",
        race=race_result,
    output:
        "results/candidates/{network}/{search}{level}/{device}{form}.json",
    log:
        "results/logs/candidates/{search}{network}-{level}-{device}{form}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        methods=selection("run/methods"),
        recipes=selection("students/recipes"),
        losses=selection("students/losses"),
        seeds=selection("run/seeds"),
        search_seeds=search_seeds,
        budgets=budgets if BY_TABLES else [],
        code=code("candidates"),
    message:
        "List the candidates on {wildcards.device} of {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/candidates.py"


rule baseline_candidates:
    input:
        files=baseline_candidate_files,
        widths="results/{network}/{search}widths/{method}/{level}.json",
    output:
        "results/candidates/{network}/{search}{level}/methods/{method}{form}.json",
    log:
        "results/logs/baseline_candidates/{search}{network}-{level}-{method}{form}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        recipes=selection("students/recipes/{method}"),
        losses=selection("students/losses"),
        seeds=selection("run/seeds"),
        search_seeds=search_seeds,
        code=code("baseline_candidates"),
    message:
        "List the candidates of {wildcards.method} of {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/baseline_candidates.py"


rule baselines:
    input:
        files=baseline_files,
    output:
        "results/candidates/{network}/baselines{form}.json",
    log:
        "results/logs/baselines/{network}{form}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        network=setting("networks/{network}"),
        methods=selection("run/methods"),
        densities=selection("deep_compression/densities"),
        pruned_densities=selection("weight_pruning/densities"),
        seeds=selection("run/seeds"),
        code=code("baselines"),
    message:
        "List the teachers and compressed networks of {wildcards.network}"
    script:
        "../workflow/scripts/baselines.py"
