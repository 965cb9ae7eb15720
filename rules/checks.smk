rule checks:
    input:
        summary="results/summary.parquet",
        fronts=["results/fronts.csv"] if CONTRASTS else [],
        predictions=expand("results/devices/{device}/predictions.parquet", device=DEVICES),
        benchmarks=expand("results/devices/{device}/benchmark.json", device=DEVICES),
        certificates=expand("results/devices/{device}/certificates.csv", device=DEVICES),
        candidates=all_candidates,
        snaps=expand(
            "results/{network}/{search}snap/{level}/{device}.json",
            network=NETWORKS,
            search=SEARCHES,
            level=LEVELS,
            device=DEVICES,
        ),
    output:
        report(
            "results/checks.csv",
            caption="../workflow/report/checks.rst",
            category="3 How sure",
            subcategory="All devices",
            labels={"result": "5 checks of the results (table)"},
        ),
    log:
        "results/logs/checks/checks.log",
    conda:
        "../envs/study.yaml"
    params:
        lists=lists_of_devices,
        expected=expected_candidates,
        code=code("checks"),
    message:
        "Check the results against one another, the configuration and the files"
    script:
        "../workflow/scripts/checks.py"
