rule audit:
    input:
        benchmark="results/devices/{device}/benchmark.json",
    output:
        table=report(
            "results/devices/{device}/audit.csv",
            caption="../workflow/report/audit.rst",
            category="Tables",
            subcategory="{device}",
            labels={"table": "predicted against measured latency", "device": "{device}"},
        ),
        plot=report(
            "results/devices/{device}/audit.pdf",
            caption="../workflow/report/audit.rst",
            category="Plots",
            subcategory="{device}",
            labels={"plot": "predicted against measured latency", "device": "{device}"},
        ),
    log:
        "results/logs/audit/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("audit"),
    message:
        "Compare predicted and measured latency on {wildcards.device}"
    script:
        "../workflow/scripts/audit.py"
