rule pareto:
    input:
        summary="results/summary.parquet",
        # Not read: the joint plot brings each device's own files with it, also those of devices that are done while others fail.
        devices=expand("results/devices/{device}/{file}", device=DEVICES, file=DEVICE_FILES),
    output:
        report(
            "results/pareto.pdf",
            caption="../workflow/report/pareto.rst",
            category="1 Start",
            subcategory="All devices",
            labels={"result": "2 accuracy against latency and size"},
        ),
    log:
        "results/logs/pareto/pareto.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("pareto"),
    message:
        "Plot accuracy against latency and size, all devices"
    script:
        "../workflow/scripts/pareto.py"


rule device_pareto:
    input:
        summary="results/devices/{device}/summary.parquet",
    output:
        report(
            "results/devices/{device}/pareto.pdf",
            caption="../workflow/report/pareto.rst",
            category="4 Per device",
            subcategory="{device}",
            labels={"result": "1 accuracy against latency and size"},
        ),
    log:
        "results/logs/device_pareto/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("pareto"),
    message:
        "Plot accuracy against latency and size on {wildcards.device}"
    script:
        "../workflow/scripts/pareto.py"


rule widths_plot:
    input:
        summary="results/summary.parquet",
    output:
        report(
            "results/widths.pdf",
            caption="../workflow/report/widths.rst",
            category="2 Why",
            subcategory="All devices",
            labels={"result": "2 widths that each method chose"},
        ),
    log:
        "results/logs/widths_plot/widths_plot.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("widths_plot"),
    message:
        "Plot the widths that each method chose"
    script:
        "../workflow/scripts/widths_plot.py"


rule seeds:
    input:
        summary="results/summary.parquet",
    output:
        report(
            "results/seeds.pdf",
            caption="../workflow/report/seeds.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "4 test accuracy of every seed"},
        ),
    log:
        "results/logs/seeds/seeds.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("seeds"),
    message:
        "Plot the test accuracy of every seed"
    script:
        "../workflow/scripts/seeds.py"
