rule certificates:
    input:
        snaps=expand(
            "results/{network}/{search}snap/{level}/{{device}}.json",
            network=NETWORKS,
            search=SEARCHES,
            level=LEVELS,
        ),
        races=RACE_RESULTS if RACES else [],
    output:
        "results/devices/{device}/certificates.csv",
    log:
        "results/logs/certificates/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("certificates"),
    message:
        "Tabulate the certificates of the widths chosen on {wildcards.device}"
    script:
        "../workflow/scripts/certificates.py"
