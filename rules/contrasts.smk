rule contrasts:
    input:
        summary="results/summary.parquet",
        predictions=expand("results/devices/{device}/predictions.parquet", device=DEVICES),
    output:
        table=report(
            "results/contrasts.csv",
            caption="../workflow/report/contrasts.rst",
            category="Tables",
            labels={"table": "declared contrasts"},
        ),
        fronts=report(
            "results/fronts.csv",
            caption="../workflow/report/fronts.rst",
            category="Tables",
            labels={"table": "probability of being on the Pareto front"},
        ),
        plot=report(
            "results/contrasts.pdf",
            caption="../workflow/report/contrasts.rst",
            category="Plots",
            labels={"plot": "declared contrasts"},
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
