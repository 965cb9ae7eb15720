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
        code=code("score", skip=MEASURING),
    message:
        "Classify the test images with every candidate on {wildcards.device}"
    script:
        "../workflow/scripts/score.py"
