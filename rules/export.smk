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
        code=code("export"),
    script:
        "../workflow/scripts/export.py"


rule decode:
    input:
        compressed="results/{network}/deep_compression/{density}-{seed}.hakdc",
        facts="results/{network}/deep_compression/{density}-{seed}.json",
    output:
        "results/{network}/deep_compression/{density}-{seed}.onnx",
    log:
        "results/logs/decode/{network}-{density}-{seed}.log",
    conda:
        "../envs/study.yaml"
    params:
        code=code("decode"),
    script:
        "../workflow/scripts/decode.py"
