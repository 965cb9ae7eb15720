rule certificates:
    input:
        snaps=expand("results/{network}/snap/{level}/{{device}}.json", network=NETWORKS, level=LEVELS),
    output:
        "results/devices/{device}/certificates.csv",
    log:
        "results/logs/certificates/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("certificates"),
    script:
        "../workflow/scripts/certificates.py"


rule hazards:
    input:
        latency=expand("results/{network}/latency/{{device}}.parquet", network=NETWORKS),
    output:
        "results/devices/{device}/hazards.csv",
    log:
        "results/logs/hazards/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("hazards"),
    script:
        "../workflow/scripts/hazards.py"
