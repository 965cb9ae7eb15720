rule hazards:
    input:
        latency=expand(
            "results/{network}/{search}latency/{{device}}.parquet", network=NETWORKS, search=SEARCHES[:1]
        ),
    output:
        report(
            "results/devices/{device}/hazards.csv",
            caption="../workflow/report/hazards.rst",
            category="2 Why",
            subcategory="{device}",
            labels={"result": "1 how much slower layers can get (table)"},
        ),
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
