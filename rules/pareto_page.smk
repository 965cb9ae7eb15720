rule pareto_page:
    input:
        summary="results/summary.parquet",
        candidates=all_candidates,
    output:
        report(
            "results/pareto.html",
            caption="../workflow/report/pareto_page.rst",
            category="1 Start",
            subcategory="All devices",
            labels={"result": "1 accuracy against latency, interactive"},
        ),
    log:
        "results/logs/pareto_page/pareto_page.log",
    conda:
        "../envs/study.yaml"
    params:
        web=folder_digest("hakd/plots/web"),
        code=code("pareto_page"),
    message:
        "Write the interactive page of accuracy against latency and size, all devices"
    script:
        "../workflow/scripts/pareto_page.py"
