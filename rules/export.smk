rule export:
    input:
        "results/{candidate}.safetensors",
    output:
        "results/{candidate}.onnx",
    log:
        "results/logs/export/{candidate}.log",
    wildcard_constraints:
        candidate=r"[^/]+/(teacher|students)/(?!.*(_(coded|ternary)-|\.int8\.)).+",
    conda:
        "../envs/study.yaml"
    params:
        image_side=image_side(config["data"]),
        code=code("export", skip=MEASURING),
    message:
        "Export {wildcards.candidate} to ONNX"
    script:
        "../workflow/scripts/export.py"


rule decode:
    input:
        compressed="results/{network}/{compressed}-{seed}.hakdc",
        facts="results/{network}/{compressed}-{seed}.json",
    output:
        "results/{network}/{compressed}-{seed}.onnx",
    log:
        "results/logs/decode/{network}/{compressed}-{seed}.log",
    conda:
        "../envs/study.yaml"
    params:
        image_side=image_side(config["data"]),
        code=code("decode", skip=MEASURING),
    message:
        "Decode {wildcards.network}/{wildcards.compressed} to ONNX, seed {wildcards.seed}"
    script:
        "../workflow/scripts/decode.py"


rule quantise:
    input:
        network="results/{candidate}.onnx",
        train="results/data/train.npz",
        validation="results/data/validation.npz",
    output:
        "results/{candidate}.int8.{format}",
    log:
        "results/logs/quantise/{candidate}.int8.{format}.log",
    wildcard_constraints:
        candidate=rf"[^/]+/({TRAINED})/.+",
        format="onnx|tflite",
    conda:
        "../envs/study.yaml"
    params:
        images=setting("int8/images"),
        code=code("quantise", skip=MEASURING),
    message:
        "Quantise {wildcards.candidate} to int8 ({wildcards.format})"
    script:
        "../workflow/scripts/quantise.py"
