# No inputs: what is there is plotted, and nothing upstream runs for it. The summaries are tracked by their digests.
rule available_pareto:
    output:
        plot=report(
            "results/available/pareto.pdf",
            caption="../workflow/report/pareto.rst",
            category="1 Start",
            subcategory="Devices that have results",
            labels={"result": "1 accuracy against latency and size"},
        ),
        csv="results/available/summary.csv",
        list="results/available/devices.txt",
    log:
        "results/logs/available_pareto/available.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    params:
        states=device_states,
        code=code("available"),
    message:
        "Plot accuracy against latency and size of the devices that have results"
    script:
        "../workflow/scripts/available.py"


# Without an output, so that it says which devices are missing each time it is asked.
rule available:
    input:
        plot="results/available/pareto.pdf",
        list="results/available/devices.txt",
    log:
        "results/logs/available/available.log",
    localrule: True
    conda:
        "../envs/study.yaml"
    message:
        "Report which devices have results"
    shell:
        "tee {log} < {input.list}"
