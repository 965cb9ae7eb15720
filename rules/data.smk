rule data:
    output:
        train="results/data/train.npz",
        validation="results/data/validation.npz",
        test="results/data/test.npz",
    log:
        "results/logs/data/data.log",
    conda:
        "../envs/study.yaml"
    params:
        settings=data_content,
        places=data_places,
        images=data_images,
        code=code("data"),
    message:
        "Prepare the data set: train, validation and test split"
    script:
        "../workflow/scripts/data.py"
