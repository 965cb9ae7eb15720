checkpoint snap:
    input:
        latency="results/{network}/{search}latency/{device}.parquet",
        widths="results/{network}/{search}widths/{level}.json",
        trajectory=deepest_trajectory if BY_TABLES else "results/{network}/{search}fisher/{level}.csv",
    output:
        "results/{network}/{search}snap/{level}/{device}.json",
    log:
        "results/logs/snap/{search}{network}-{level}-{device}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: measuring_threads
    resources:
        **board_tokens(),
    params:
        device=device_settings,
        reach=device_reach,
        store=setting("store"),
        protocol=PROTOCOL,
        by_tables=BY_TABLES,
        budgets=budgets if BY_TABLES else [],
        contestants=setting("race/contestants") if RACES else 0,
        groups=setting("prune/groups"),
        search_seed=search_seed,
        code=code("snap", skip=MEASURING),
    message:
        "Choose widths on {wildcards.device} for {wildcards.search}{wildcards.network}, level {wildcards.level}, and verify them on fresh timings"
    script:
        "../workflow/scripts/snap.py"
