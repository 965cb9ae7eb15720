rule export:
    input:
        "results/{candidate}.safetensors",
    output:
        "results/{candidate}.onnx",
    log:
        "results/logs/export/{candidate}.log",
    wildcard_constraints:
        candidate=r"[^/]+/(teacher|students)/.+",
    conda:
        "../envs/study.yaml"
    params:
        code=code("hakd.evaluation.export"),
    script:
        "../workflow/scripts/export.py"


rule decode:
    input:
        "results/{network}/deep_compression/{density}-{seed}.hakdc",
    output:
        "results/{network}/deep_compression/{density}-{seed}.onnx",
    log:
        "results/logs/decode/{network}-{density}-{seed}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("hakd.evaluation.export", "hakd.deep_compression.codec"),
    script:
        "../workflow/scripts/decode.py"
