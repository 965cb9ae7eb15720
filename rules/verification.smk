rule verification:
    input:
        snaps=expand(
            "results/{network}/{search}snap/{level}/{{device}}.json",
            network=NETWORKS,
            search=SEARCHES,
            level=LEVELS,
        ),
        candidates=device_candidates,
        benchmark="results/devices/{device}/benchmark.json",
    output:
        report(
            "results/devices/{device}/verification.csv",
            caption="../workflow/report/verification.rst",
            category="3 How sure",
            subcategory="{device}",
            labels={"result": "2 choices, selected and fresh (table)"},
        ),
    log:
        "results/logs/verification/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("verification"),
    message:
        "Compare the choices on {wildcards.device} with fresh timings"
    script:
        "../workflow/scripts/verification.py"
