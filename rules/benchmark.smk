rule benchmark:
    input:
        candidates=device_candidates,
    output:
        "results/devices/{device}/benchmark.json",
    log:
        "results/logs/benchmark/{device}.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    threads: measuring_threads
    resources:
        **board_tokens(),
    params:
        device=device_settings,
        reach=device_reach,
        energy=device_energy,
        store=setting("store"),
        protocol=PROTOCOL,
        code=code("benchmark", skip=MEASURING),
    message:
        "Time every candidate end to end on {wildcards.device}"
    script:
        "../workflow/scripts/benchmark.py"
