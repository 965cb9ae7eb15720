rule pareto:
    input:
        summary="results/summary.parquet",
        # Not read: the joint plot brings each device's own files with it, also those of devices that are done while others fail.
        devices=expand("results/devices/{device}/{file}", device=DEVICES, file=DEVICE_FILES),
    output:
        report(
            "results/pareto.pdf",
            caption="../workflow/report/pareto.rst",
            category="Plots",
            labels={"plot": "accuracy against latency and size"},
        ),
    log:
        "results/logs/pareto/pareto.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("pareto"),
    script:
        "../workflow/scripts/pareto.py"


rule device_pareto:
    input:
        summary="results/devices/{device}/summary.parquet",
    output:
        report(
            "results/devices/{device}/pareto.pdf",
            caption="../workflow/report/pareto.rst",
            category="Plots",
            subcategory="{device}",
            labels={"plot": "accuracy against latency and size", "device": "{device}"},
        ),
    log:
        "results/logs/device_pareto/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("pareto"),
    script:
        "../workflow/scripts/pareto.py"


rule widths_plot:
    input:
        summary="results/summary.parquet",
    output:
        report(
            "results/widths.pdf",
            caption="../workflow/report/widths.rst",
            category="Plots",
            labels={"plot": "widths that each method chose"},
        ),
    log:
        "results/logs/widths_plot/widths_plot.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("widths_plot"),
    script:
        "../workflow/scripts/widths_plot.py"
