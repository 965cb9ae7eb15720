checkpoint snap:
    input:
        latency="results/{network}/latency/{device}.parquet",
        widths="results/{network}/widths/{level}.json",
        trajectory=LOWEST_TRAJECTORY if BY_TABLES else "results/{network}/fisher/{level}.csv",
    output:
        "results/{network}/snap/{level}/{device}.json",
    log:
        "results/logs/snap/{network}-{level}-{device}.log",
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
        budgets=[settings(config, "choosing/budget")] if BY_TABLES else [],
        contestants=8,
        groups=setting("prune/groups"),
        code=code("snap", skip=MEASURING),
    script:
        "../workflow/scripts/snap.py"
