rule audit:
    input:
        benchmark="results/devices/{device}/benchmark.json",
    output:
        table=report(
            "results/devices/{device}/audit.csv",
            caption="../workflow/report/audit.rst",
            category="3 How sure",
            subcategory="{device}",
            labels={"result": "4 predicted against measured latency (table)"},
        ),
        plot=report(
            "results/devices/{device}/audit.pdf",
            caption="../workflow/report/audit.rst",
            category="3 How sure",
            subcategory="{device}",
            labels={"result": "3 predicted against measured latency"},
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
