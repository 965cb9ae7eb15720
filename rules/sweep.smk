rule sweep:
    input:
        widths=expand("results/{{network}}/{{search}}widths/{level}.json", level=LEVELS),
    output:
        "results/{network}/{search}latency/{device}.parquet",
    log:
        "results/logs/sweep/{search}{network}-{device}.log",
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
        code=code("sweep", skip=MEASURING),
    message:
        "Sweep {wildcards.device}: time the layers of {wildcards.search}{wildcards.network} at many widths"
    script:
        "../workflow/scripts/sweep.py"
