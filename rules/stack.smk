rule stack:
    input:
        summary="results/summary.parquet",
        predictions=expand("results/devices/{device}/predictions.parquet", device=DEVICES),
    output:
        plot=report(
            "results/stack.pdf",
            caption="../workflow/report/stack.rst",
            category="1 Start",
            subcategory="All devices",
            labels={"result": "4 threads, time, memory and size"},
        ),
        speedups=report(
            "results/speedup.csv",
            caption="../workflow/report/speedup.rst",
            category="2 Why",
            subcategory="All devices",
            labels={"result": "3 speed-up over threads (table)"},
        ),
        hypervolumes=report(
            "results/hypervolume.csv",
            caption="../workflow/report/hypervolume.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "6 hypervolumes (table)"},
        ),
    log:
        "results/logs/stack/stack.log",
    conda:
        "../envs/study.yaml"
    params:
        accuracy=setting("stack/accuracy"),
        boards=boards_by_threads,
        code=code("stack"),
    message:
        "Plot threads, time, memory and size beside accuracy"
    script:
        "../workflow/scripts/stack.py"
