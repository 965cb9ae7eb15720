rule hazards:
    input:
        latency=expand(
            "results/{network}/{search}latency/{{device}}.parquet", network=NETWORKS, search=SEARCHES[:1]
        ),
    output:
        "results/devices/{device}/hazards.csv",
    log:
        "results/logs/hazards/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("hazards"),
    message:
        "Tabulate how much slower the layers can get on {wildcards.device}"
    script:
        "../workflow/scripts/hazards.py"
