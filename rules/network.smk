rule network:
    input:
        files=network_files,
        train="results/data/train.npz",
    output:
        "results/{network}/network.safetensors",
    log:
        "results/logs/network/{network}.log",
    wildcard_constraints:
        network=one_of(IMPORTED),
    conda:
        "../envs/study.yaml"
    threads: 1
    params:
        network=setting("networks/{network}"),
        folders=module_folders,
        level=lowest_level,
        code=code("network"),
    message:
        "Import the network {wildcards.network}"
    script:
        "../workflow/scripts/network.py"
