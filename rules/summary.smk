rule device_summary:
    input:
        candidates=device_candidates,
        benchmark="results/devices/{device}/benchmark.json",
        predictions="results/devices/{device}/predictions.parquet",
    output:
        "results/devices/{device}/summary.parquet",
    log:
        "results/logs/device_summary/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        data=setting("data/name"),
        code=code("device_summary"),
    message:
        "Summarise the candidates on {wildcards.device}"
    script:
        "../workflow/scripts/device_summary.py"


rule summary:
    input:
        expand("results/devices/{device}/summary.parquet", device=DEVICES),
    output:
        table="results/summary.parquet",
        csv=report(
            "results/summary.csv",
            caption="../workflow/report/summary.rst",
            category="1 Start",
            subcategory="All devices",
            labels={"result": "3 all candidates (table)"},
        ),
    log:
        "results/logs/summary/summary.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("summary"),
    message:
        "Summarise the candidates on all devices"
    script:
        "../workflow/scripts/summary.py"
