rule staircases:
    input:
        latency=expand(
            "results/{network}/{search}latency/{device}.parquet",
            network=NETWORKS,
            search=SEARCHES[:1],
            device=DEVICES,
        ),
        snaps=expand(
            "results/{network}/{search}snap/{level}/{device}.json",
            network=NETWORKS,
            search=SEARCHES[:1],
            level=LEVELS,
            device=DEVICES,
        ),
    output:
        report(
            "results/staircases.pdf",
            caption="../workflow/report/staircases.rst",
            category="2 Why",
            subcategory="All devices",
            labels={"result": "1 latency staircases"},
        ),
    log:
        "results/logs/staircases/staircases.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("staircases"),
    message:
        "Plot latency against width of every layer, all devices"
    script:
        "../workflow/scripts/staircases.py"


rule device_staircases:
    input:
        latency=expand(
            "results/{network}/{search}latency/{{device}}.parquet", network=NETWORKS, search=SEARCHES[:1]
        ),
        snaps=expand(
            "results/{network}/{search}snap/{level}/{{device}}.json",
            network=NETWORKS,
            search=SEARCHES[:1],
            level=LEVELS,
        ),
    output:
        report(
            "results/devices/{device}/staircases.pdf",
            caption="../workflow/report/staircases.rst",
            category="4 Per device",
            subcategory="{device}",
            labels={"result": "2 latency staircases"},
        ),
    log:
        "results/logs/device_staircases/{device}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("staircases"),
    message:
        "Plot latency against width of every layer on {wildcards.device}"
    script:
        "../workflow/scripts/staircases.py"
