rule sweep:
    input:
        widths=expand("results/{{network}}/widths/{level}.json", level=LEVELS),
    output:
        "results/{network}/latency/{device}.parquet",
    log:
        "results/logs/sweep/{network}-{device}.log",
    conda:
        "../envs/study.yaml"
    threads: measuring_threads
    resources:
        **board_tokens(),
    params:
        device=setting("devices/{device}"),
        store=setting("store"),
        protocol=PROTOCOL,
        code=code("hakd.sweeping.sweep", skip=MEASURING),
    script:
        "../workflow/scripts/sweep.py"
