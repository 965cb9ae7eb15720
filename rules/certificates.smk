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
        report(
            "results/devices/{device}/certificates.csv",
            caption="../workflow/report/certificates.rst",
            category="3 How sure",
            subcategory="{device}",
            labels={"result": "1 certificates of the chosen widths (table)"},
        ),
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
