"""The ablations of stage 1: a grid of objectives and seeds, its table, plot and page (docs/ABLATIONS.md).

python -m benchmarks.ablations --data STAGE1 --tokenizer TOKENIZER --evaluation SET ... --output FOLDER
"""
