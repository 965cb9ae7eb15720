rule contrasts:
    input:
        summary="results/summary.parquet",
        predictions=expand("results/devices/{device}/predictions.parquet", device=DEVICES),
    output:
        table=report(
            "results/contrasts.csv",
            caption="../workflow/report/contrasts.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "2 declared contrasts (table)"},
        ),
        fronts=report(
            "results/fronts.csv",
            caption="../workflow/report/fronts.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "3 probability of being on the Pareto front (table)"},
        ),
        plot=report(
            "results/contrasts.pdf",
            caption="../workflow/report/contrasts.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "1 declared contrasts"},
        ),
    log:
        "results/logs/contrasts/contrasts.log",
    conda:
        "../envs/study.yaml"
    params:
        contrasts=setting("analysis/contrasts"),
        code=code("contrasts"),
    message:
        "Test the declared contrasts"
    script:
        "../workflow/scripts/contrasts.py"
