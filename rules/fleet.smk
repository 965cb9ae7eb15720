checkpoint fleet:
    input:
        latency=fleet_tables,
        widths="results/{network}/{search}widths/{level}.json",
        trajectory=deepest_trajectory,
        snaps=fleet_snaps,
    output:
        "results/{network}/{search}fleet/{level}/{fleet}.json",
    log:
        "results/logs/fleet/{search}{network}-{level}-{fleet}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: measuring_threads
    resources:
        **board_tokens(),
    params:
        devices=fleet_settings,
        reach=fleet_reach_settings,
        store=setting("store"),
        protocol=PROTOCOL,
        budgets=fleet_budgets,
        code=code("fleet", skip=MEASURING),
    message:
        "Choose one network for the fleet {wildcards.fleet}: {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/fleet.py"


rule fleet_candidates:
    input:
        files=fleet_candidate_files,
        choice="results/{network}/{search}fleet/{level}/{fleet}.json",
    output:
        "results/candidates/{network}/{search}{level}/fleets/{fleet}{form}.json",
    log:
        "results/logs/fleet_candidates/{search}{network}-{level}-{fleet}{form}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        recipes=selection("students/recipes/joint"),
        losses=selection("students/losses"),
        seeds=selection("run/seeds"),
        search_seeds=search_seeds,
        code=code("fleet_candidates"),
    message:
        "List the candidates of the fleet {wildcards.fleet}: {wildcards.search}{wildcards.network}, level {wildcards.level}"
    script:
        "../workflow/scripts/fleet_candidates.py"
