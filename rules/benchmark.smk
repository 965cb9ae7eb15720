rule candidates:
    input:
        files=candidate_files,
        snap="results/{network}/snap/{level}/{device}.json",
        widths="results/{network}/widths/{level}.json",
    output:
        "results/candidates/{network}/{level}/{device}.json",
    log:
        "results/logs/candidates/{network}-{level}-{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        methods=setting("run/methods"),
        recipes=setting("students/recipes"),
        losses=setting("students/losses"),
        seeds=setting("run/seeds"),
        code=code("candidates"),
    script:
        "../workflow/scripts/candidates.py"


rule baselines:
    input:
        files=baseline_files,
    output:
        "results/candidates/{network}/baselines.json",
    log:
        "results/logs/baselines/{network}.log",
    conda:
        "../envs/study.yaml"
    params:
        methods=setting("run/methods"),
        densities=setting("deep_compression/densities"),
        seeds=setting("run/seeds"),
        code=code("baselines"),
    script:
        "../workflow/scripts/baselines.py"


rule benchmark:
    input:
        candidates=device_candidates,
    output:
        "results/devices/{device}/benchmark.json",
    log:
        "results/logs/benchmark/{device}.log",
    conda:
        "../envs/study.yaml"
    threads: measuring_threads
    resources:
        **board_tokens(),
    params:
        device=device_settings,
        reach=device_reach,
        store=setting("store"),
        protocol=PROTOCOL,
        code=code("benchmark", skip=MEASURING),
    script:
        "../workflow/scripts/benchmark.py"


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
    script:
        "../workflow/scripts/audit.py"


rule score:
    input:
        candidates=device_candidates,
        test="results/data/test.npz",
    output:
        "results/devices/{device}/predictions.parquet",
    log:
        "results/logs/score/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("score"),
    script:
        "../workflow/scripts/score.py"


rule device_summary:
    input:
        candidates=device_candidates,
        benchmark="results/devices/{device}/benchmark.json",
        predictions="results/devices/{device}/predictions.parquet",
    output:
        "results/devices/{device}/summary.parquet",
    log:
        "results/logs/device_summary/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        data=setting("data/name"),
        code=code("device_summary"),
    script:
        "../workflow/scripts/device_summary.py"


rule verification:
    input:
        snaps=expand("results/{network}/snap/{level}/{{device}}.json", network=NETWORKS, level=LEVELS),
        candidates=device_candidates,
        benchmark="results/devices/{device}/benchmark.json",
    output:
        report(
            "results/devices/{device}/verification.csv",
            caption="../workflow/report/verification.rst",
            category="Tables",
            subcategory="{device}",
            labels={"table": "choices, selected and fresh", "device": "{device}"},
        ),
    log:
        "results/logs/verification/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("verification"),
    script:
        "../workflow/scripts/verification.py"


rule summary:
    input:
        expand("results/devices/{device}/summary.parquet", device=DEVICES),
    output:
        table="results/summary.parquet",
        csv=report(
            "results/summary.csv",
            caption="../workflow/report/summary.rst",
            category="Tables",
            labels={"table": "all candidates on all devices"},
        ),
    log:
        "results/logs/summary/summary.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("summary"),
    script:
        "../workflow/scripts/summary.py"
